"""A user's image: which NTFS volumes it holds, found without ever writing to it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
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

_SPARE_SECTORS = (512, 1024, 2048, 4096)

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
    """An NTFS volume at ``offset`` of the raw file or device ``raw``. ``origin`` is the file the user named.

    ``room`` is how many bytes there are for it, up to the end of its partition or image. ``boot`` is its boot sector;
    where that is broken, which ``fault`` then says, it is the spare one, or None if there is none either.
    """

    origin: Path
    raw: Path
    offset: int
    room: int
    boot: Boot | None = None
    partition: int = 0
    """0 for a volume that is not in a partition."""
    fault: str = ""

    @property
    def name(self) -> str:
        """How reports call it: ``disk.img``, or ``disk.img:p2`` for what is in a partition."""
        return f"{self.origin.name}:p{self.partition}" if self.partition else self.origin.name

    @property
    def place(self) -> str:
        """How messages call it: as :attr:`name`, but with the whole path."""
        return f"{self.origin}:p{self.partition}" if self.partition else str(self.origin)

    @property
    def sector(self) -> int:
        """Its bytes per sector; what most have where nobody knows."""
        return self.boot.sector if self.boot is not None else 512

    @property
    def size(self) -> int:
        """The bytes to copy: with the spare boot sector, and all that are there where nobody knows how many it has."""
        return self.room if self.boot is None else min(self.room, self.boot.size + self.boot.sector)

    def copy(self, into: Path, deadline: Deadline) -> Path:
        """A raw file of this volume alone, sparse, with its spare boot sector if there is one.

        Raises:
            ImageError: it cannot be read or written.
            DeadlineError: it was not done in time.
        """
        target = into / f"{self.name.replace(':', '-')}.raw"
        try:
            with self.raw.open("rb") as source, target.open("wb") as file:
                _copy(source, file, self.offset, self.size, deadline)
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

    What is not raw is converted to a copy in the folder ``work``; ``path`` is only ever read. A volume whose boot
    sector is broken is one all the same, if it still says that it is NTFS, or its spare boot sector does.

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
    whole = _volume(file, NtfsVolume(origin, raw, 0, size))
    if whole is not None:
        yield whole
        return
    for partition in partitions(file):
        room = min(size - partition.offset, partition.size)
        found = _volume(file, NtfsVolume(origin, raw, partition.offset, room, partition=partition.number))
        if found is not None:
            yield found


def _volume(file: BinaryIO, bare: NtfsVolume) -> NtfsVolume | None:
    """``bare`` with its boot sector, or None if it is no NTFS.

    Raises:
        ImageError: it is truncated.
    """
    if bare.room < BOOT_BYTES:
        return None
    file.seek(bare.offset)
    first, spare = file.read(BOOT_BYTES), _spare(file, bare)
    if first[3:11] != _NTFS and (spare is None or not _has_records(file, bare.offset, spare)):
        return None
    try:
        boot = Boot.parse(first, place=bare.place)
    except ImageError as broken:
        return replace(bare, boot=spare, fault=broken.message)
    if boot.size <= bare.room:
        return replace(bare, boot=boot)
    said = f"the volume has {boot.size} bytes by its boot sector"
    if spare is None:
        raise ImageError(
            f"{bare.place}: truncated: {said}, {bare.room} are there",
            hint="copy it again, whole",
        )
    return replace(bare, boot=spare, fault=f"{bare.place}+0x28: {said}, {spare.size} by the spare one")


def _spare(file: BinaryIO, bare: NtfsVolume) -> Boot | None:
    """The spare boot sector: it stands right behind the volume, which fills all the room but this one sector."""
    for sector in _SPARE_SECTORS:
        file.seek(bare.offset + max(0, bare.room - sector))
        with suppress(ImageError):
            boot = Boot.parse(file.read(BOOT_BYTES), place=bare.place)
            if boot.sector == sector and boot.size + sector == bare.room:
                return boot
    return None


def _has_records(file: BinaryIO, offset: int, boot: Boot) -> bool:
    """Whether $MFT or its mirror is where ``boot`` says: a spare boot sector alone outlives a new file system."""
    for cluster in (boot.mft_cluster, boot.mirror_cluster):
        file.seek(offset + cluster * boot.cluster)
        if file.read(4) == b"FILE":
            return True
    return False


def _copy(source: BinaryIO, target: BinaryIO, offset: int, length: int, deadline: Deadline) -> None:
    """Bytes that are all zero become holes."""
    target.truncate(min(length, source.seek(0, os.SEEK_END) - offset))
    for at, chunk in nonzero_chunks(source, offset, length, deadline):
        target.seek(at)
        target.write(chunk)
