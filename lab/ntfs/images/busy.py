"""Who may be writing to an image or a device at this moment: what is read then was never a volume as it stands.

Sources: proc(5) on mountinfo, Documentation/admin-guide/sysfs-rules.rst, and block/file-posix.c of QEMU, which locks
byte 100 + N of an image for each permission N that it uses (1 is to write).
"""

from __future__ import annotations

import fcntl
import os
import re
import stat
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lab.ntfs.images.source import reading

__all__ = ["Machine", "locked_for_writing"]

_QEMU_WRITES = 101
_SECTOR = 512
"""sysfs counts in these, whatever the device has."""


@dataclass(frozen=True, slots=True)
class Machine:
    """Where this machine tells of its mounts and block devices."""

    mounts: Path = Path("/proc/self/mountinfo")
    system: Path = Path("/sys")

    def mounted_for_writing(self, path: Path, offset: int) -> str:
        """Where the volume at ``offset`` of a file or device is mounted read-write, or an empty string.

        The whole, a partition of it, a loop device over it, and what device mapper makes of any of these all count.
        """
        devices = set(self._devices(path, offset))
        for mount in self._mounts():
            writable = "rw" in mount.options.split(",")
            if writable and (mount.device in devices or _is_of_file(mount, path)):
                return mount.point
        return ""

    def mounts_below(self, folder: Path) -> tuple[str, ...]:
        """Where something is mounted below ``folder``; asks no file system, for its daemon may be dead."""
        return tuple(mount.point for mount in self._mounts() if mount.point.startswith(f"{folder}/"))

    def _mounts(self) -> Iterator[_Mount]:
        try:
            text = self.mounts.read_text(encoding="utf-8", errors="surrogateescape")
        except OSError:
            return
        for line in text.splitlines():
            before, _, after = line.partition(" - ")
            if len(words := before.split(" ")) >= 6 and len(more := after.split(" ")) >= 3:
                yield _Mount(words[2], _unescaped(words[4]), _unescaped(more[1]), more[2])

    def _devices(self, path: Path, offset: int) -> Iterator[str]:
        """Device numbers, as ``8:1``, that show the volume."""
        try:
            found = path.stat()
        except OSError:
            return
        if stat.S_ISBLK(found.st_mode):
            number = f"{os.major(found.st_rdev)}:{os.minor(found.st_rdev)}"
            yield from self._showing(self.system / "dev/block" / number, offset)
            return
        for loop in self.system.glob("block/loop*/loop"):
            if _same(_word(loop / "backing_file"), path):
                yield from self._showing(loop.parent, offset - int(_word(loop / "offset") or 0))

    def _showing(self, device: Path, offset: int) -> Iterator[str]:
        if offset == 0:
            yield _word(device / "dev")
        for partition in device.glob("*/partition"):
            if int(_word(partition.parent / "start") or -1) * _SECTOR == offset:
                yield _word(partition.parent / "dev")
                yield from self._holders(partition.parent)
        yield from self._holders(device)

    def _holders(self, device: Path) -> Iterator[str]:
        for holder in device.glob("holders/*"):
            yield _word(holder / "dev")
            yield from self._holders(holder)


@dataclass(frozen=True, slots=True)
class _Mount:
    device: str
    point: str
    source: str
    options: str


def locked_for_writing(path: Path) -> bool:
    """Whether a QEMU of this machine has ``path`` open for writing."""
    wanted = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, _QEMU_WRITES, 1, 0)
    with reading(path) as file:
        try:
            held = fcntl.fcntl(file.fileno(), fcntl.F_OFD_GETLK, wanted)
        except OSError:  # a file system without locks
            return False
    kind, _, start, *_ = struct.unpack("hhqqi4x", held)
    return bool(kind != fcntl.F_UNLCK and start > 0)  # ntfs-3g locks all of what it mounts, from the first byte on


def _is_of_file(mount: _Mount, path: Path) -> bool:
    """FUSE mounts a plain file without a device."""
    return mount.source.startswith("/") and _same(mount.source, path)


def _same(name: str, path: Path) -> bool:
    try:
        return bool(name) and path.samefile(name)
    except OSError:
        return False


def _word(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="surrogateescape").strip("\n")
    except OSError:
        return ""


def _unescaped(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), text)
