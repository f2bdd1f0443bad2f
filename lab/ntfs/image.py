"""A user's image: which NTFS volumes it holds, found without ever writing to it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from lab.deadline import Deadline
from lab.errors import ImageError
from lab.ntfs.nonzero import nonzero_chunks
from lab.ntfs.ondisk.boot import BOOT_BYTES, Boot
from lab.ntfs.ondisk.volume_information import DIRTY, read_flags
from lab.ntfs.partitions import partitions
from lab.ntfs.volumes.recipe import State
from lab.process import run

__all__ = ["NtfsVolume", "open_image", "sniff", "state_of"]

_NTFS = b"NTFS    "

_MAGIC = (
    (0, b"QFI\xfb", "qcow2"),
    (0, b"conectix", "vpc"),
    (0, b"vhdxfile", "vhdx"),
    (0, b"KDMV", "vmdk"),
    (0, b"# Disk DescriptorFile", "vmdk"),
    (0x40, b"\x7f\x10\xda\xbe", "vdi"),
)
"""Offset, bytes, and what qemu-img calls the format (docs/interop in QEMU's sources)."""


@dataclass(frozen=True, slots=True)
class NtfsVolume:
    """An NTFS volume at ``offset`` of the raw file or device ``raw``. ``origin`` is the file the user named."""

    origin: Path
    raw: Path
    offset: int
    boot: Boot
    partition: int = 0
    """0 for a volume that is not in a partition."""

    @property
    def name(self) -> str:
        """How reports call it: ``disk.img``, or ``disk.img:p2`` for what is in a partition."""
        return f"{self.origin.name}:p{self.partition}" if self.partition else self.origin.name

    def copy(self, into: Path, deadline: Deadline) -> Path:
        """A raw file of this volume alone, sparse, with its spare boot sector if there is one.

        Raises:
            ImageError: it cannot be read or written.
            DeadlineError: it was not done in time.
        """
        target = into / f"{self.name.replace(':', '-')}.raw"
        try:
            with self.raw.open("rb") as source, target.open("wb") as file:
                _copy(source, file, self.offset, self.boot.size + self.boot.sector, deadline)
        except OSError as broken:
            if broken.errno is None:  # one of our own family
                raise
            raise ImageError(f"{self.origin}: cannot be copied: {broken.strerror}", hint="is there room?") from broken
        return target


def sniff(file: BinaryIO) -> str:
    """What qemu-img calls the format: qcow2, vpc, vhdx, vmdk, vdi, or raw for anything else."""
    for offset, magic, name in _MAGIC:
        file.seek(offset)
        if file.read(len(magic)) == magic:
            return name
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - 512))  # a VHD of fixed size has nothing but a footer
    return "vpc" if size >= 512 and file.read(8) == b"conectix" else "raw"


def open_image(path: Path, work: Path, deadline: Deadline) -> tuple[NtfsVolume, ...]:
    """The NTFS volumes in ``path``: a raw volume, a whole disk, or either as qcow2, VHD, VHDX, VMDK or VDI.

    What is not raw is converted to a copy in the folder ``work``; ``path`` is only ever read.

    Raises:
        ImageError: missing, empty, truncated, or without NTFS.
        MissingToolError: qemu-img is needed and not installed.
        DeadlineError: the conversion was not done in time.
    """
    try:
        with path.open("rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode) and not stat.S_ISBLK(os.fstat(file.fileno()).st_mode):
                raise ImageError(f"{path}: neither a file nor a block device")
            size, form = file.seek(0, os.SEEK_END), sniff(file)
    except OSError as broken:
        if broken.errno is None:  # one of our own family
            raise
        raise ImageError(f"{path}: {broken.strerror}") from broken
    if not size:
        raise ImageError(f"{path}: empty: 0 bytes", hint="was it copied whole?")
    raw = path if form == "raw" else _convert(path, form, work, deadline)
    with raw.open("rb") as file:
        found = tuple(_volumes(file, path, raw))
    if not found:
        raise ImageError(
            f"{path}: no NTFS volume in {size} bytes ({form}), neither at its start nor in a partition",
            hint="name a raw volume, a whole disk, or a qcow2, vhd, vhdx, vmdk or vdi image",
        )
    return found


def state_of(volume: Path) -> State:
    """The state of a raw volume as far as its flags tell; damaged if they cannot be read."""
    try:
        return State.DIRTY if read_flags(volume) & DIRTY else State.CLEAN
    except ImageError:
        return State.DAMAGED


def _convert(path: Path, form: str, work: Path, deadline: Deadline) -> Path:
    target = work / f"{path.name}.whole.raw"  # not what a copy of its volume in the same folder is called
    said = run("qemu-img", "convert", "-f", form, "-O", "raw", path, target, deadline=deadline)
    if not said:
        raise ImageError(f"{path}: qemu-img cannot convert it from {form}: {_said(said.stderr)}", hint="is it whole?")
    return target


def _said(stderr: bytes) -> str:
    return stderr.decode("utf-8", "backslashreplace").strip().partition("\n")[0]


def _volumes(file: BinaryIO, origin: Path, raw: Path) -> Iterator[NtfsVolume]:
    size = file.seek(0, os.SEEK_END)
    if _is_ntfs(file, 0):
        yield NtfsVolume(origin, raw, 0, _boot(file, 0, size, str(origin)))
        return
    for partition in partitions(file):
        if _is_ntfs(file, partition.offset):
            place = f"{origin}:p{partition.number}"
            boot = _boot(file, partition.offset, min(size, partition.offset + partition.size), place)
            yield NtfsVolume(origin, raw, partition.offset, boot, partition.number)


def _is_ntfs(file: BinaryIO, offset: int) -> bool:
    file.seek(offset + 3)
    return file.read(len(_NTFS)) == _NTFS


def _boot(file: BinaryIO, offset: int, end: int, place: str) -> Boot:
    file.seek(offset)
    boot = Boot.parse(file.read(BOOT_BYTES), place=place)
    if end - offset < boot.size:
        raise ImageError(
            f"{place}: truncated: the volume has {boot.size} bytes by its boot sector, {end - offset} are there",
            hint="copy it again, whole",
        )
    return boot


def _copy(source: BinaryIO, target: BinaryIO, offset: int, length: int, deadline: Deadline) -> None:
    """Bytes that are all zero become holes."""
    target.truncate(min(length, source.seek(0, os.SEEK_END) - offset))
    for at, chunk in nonzero_chunks(source, offset, length, deadline):
        target.seek(at)
        target.write(chunk)
