"""What a user names as an image: a file or a block device, opened for reading and nothing else."""

from __future__ import annotations

import errno
import fcntl
import io
import os
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from lab.errors import ImageError, UsageError
from lab.ntfs.naming import spelled

__all__ = ["Source", "look", "reading"]

_BLKSSZGET = 0x1268
"""Linux: the logical sector size of a block device (linux/fs.h)."""

_WHAT = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a character device",
}

_HINT = "name images of NTFS volumes or of whole disks"

_GONE = frozenset({errno.ENXIO, errno.ENODEV, errno.ENOMEDIUM})


@dataclass(frozen=True, slots=True)
class Source:
    """A file or a block device at ``path``, of ``size`` bytes.

    ``sector`` is what a device says of its sectors, 0 for a file, which cannot tell. ``identity`` is the same for two
    names of one thing.
    """

    path: Path
    size: int
    sector: int = 0
    identity: tuple[int, ...] = ()

    @property
    def is_device(self) -> bool:
        """Whether it is a block device."""
        return self.sector > 0


def look(path: Path) -> Source:
    """What there is at ``path``; a symbolic link stands for what it leads to.

    Raises:
        UsageError: there is nothing, or nothing that can be an image: a folder, a pipe, a character device.
        ImageError: it cannot be read, or is empty.
    """
    place = spelled(str(path))
    try:
        found = path.stat()  # before it is opened: to open a pipe means to wait for a writer, a tape winds
    except OSError as missing:
        raise _missing(path, missing) from missing
    if not (stat.S_ISREG(found.st_mode) or stat.S_ISBLK(found.st_mode)):
        raise UsageError(f"{place}: {_WHAT.get(stat.S_IFMT(found.st_mode), 'a device')}, not an image", hint=_HINT)
    with reading(path) as file:
        size = file.seek(0, os.SEEK_END)
        sector = _sector(file.fileno()) if stat.S_ISBLK(found.st_mode) else 0
    if not size:
        hint = "is there a medium in it?" if sector else "was it copied whole?"
        raise ImageError(f"{place}: empty: 0 bytes", hint=hint)
    identity = (found.st_rdev,) if stat.S_ISBLK(found.st_mode) else (found.st_dev, found.st_ino)
    return Source(path, size, sector, identity)


@contextmanager
def reading(path: Path) -> Iterator[BinaryIO]:
    """``path``, open for reading alone. Whatever goes wrong with it in the block is told as an error of the image.

    Raises:
        ImageError: it cannot be opened, or not be read any further.
    """
    place = spelled(str(path))
    try:
        # O_NONBLOCK: a pipe that took the place of the file since it was looked at must not make anybody wait.
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as refused:
        raise ImageError(f"{place}: cannot be opened: {refused.strerror}", hint=_help(refused)) from refused
    with io.FileIO(file, "rb") as raw, io.BufferedReader(_Named(raw, place)) as buffered:
        yield buffered


class _Named(io.RawIOBase):
    """A file whose failures to read say where, and are of the lab's own family."""

    def __init__(self, raw: io.FileIO, place: str) -> None:
        super().__init__()
        self._raw = raw
        self.name = place

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._raw.fileno()

    def tell(self) -> int:
        return self._raw.tell()

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        return self._raw.seek(offset, whence)

    def readinto(self, buffer: bytearray | memoryview, /) -> int | None:  # type: ignore[override] # typeshed's WriteableBuffer is private
        at = self._raw.tell()
        try:
            return self._raw.readinto(buffer)
        except OSError as broken:
            raise ImageError(
                f"{self.name}: cannot be read at byte {at}: {broken.strerror}", hint=_help(broken)
            ) from broken


def _sector(file: int) -> int:
    try:
        return int(struct.unpack("i", fcntl.ioctl(file, _BLKSSZGET, bytes(4)))[0])
    except OSError:
        return 512


def _missing(path: Path, missing: OSError) -> UsageError | ImageError:
    place = spelled(str(path))
    if missing.errno == errno.EACCES:
        return ImageError(f"{place}: cannot be opened: {missing.strerror}", hint=_help(missing))
    if missing.errno != errno.ENOENT:
        return UsageError(f"{place}: {missing.strerror}", hint=_HINT)
    if path.is_symlink():
        return UsageError(
            f"{place}: a symbolic link to {spelled(str(path.readlink()))}, which is not there", hint=_HINT
        )
    return UsageError(f"{place}: no such file", hint=_HINT)


def _help(broken: OSError) -> str:
    if broken.errno in {errno.EACCES, errno.EPERM}:
        return "run it as root, or let your user read it; it is never written"
    if broken.errno in _GONE:
        return "is it still plugged in?"
    if broken.errno == errno.EIO:
        return "is it still plugged in? A disk that fails is best copied with ddrescue first; then name the copy"
    return ""
