"""A user's image: which NTFS volumes it holds, found without ever writing to it."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from lab.deadline import Deadline
from lab.errors import ImageError, LabError, UsageError
from lab.ntfs.images.busy import Machine, locked_for_writing
from lab.ntfs.images.container import FORMATS, Raw, raw_of
from lab.ntfs.images.partitions import partition_table
from lab.ntfs.images.signature import Kind, recognise
from lab.ntfs.images.source import Source, look, reading
from lab.ntfs.images.table import Partition
from lab.ntfs.naming import spelled
from lab.ntfs.nonzero import digest, nonzero_chunks
from lab.ntfs.ondisk.boot import BOOT_BYTES, Boot

__all__ = ["Disk", "NtfsVolume", "Trouble", "open_image"]

_NTFS = b"NTFS    "

_SPARE_SECTORS = (512, 1024, 2048, 4096)


@dataclass(frozen=True, slots=True)
class NtfsVolume:
    """An NTFS volume at ``offset`` of the raw file or device ``raw``. ``origin`` is the file the user named.

    ``room`` is how many bytes there are for it, up to the end of its partition or image. ``boot`` is its boot sector;
    where that is broken, it is the spare one, or None if there is none either. ``fault`` says what is wrong with that,
    or that the image ends before the volume does. ``mounted`` is where it is mounted for writing at this moment.
    """

    origin: Path
    raw: Path
    offset: int
    room: int
    boot: Boot | None = None
    partition: int = 0
    """0 for a volume that is not in a partition."""
    fault: str = ""
    mounted: str = ""

    @property
    def name(self) -> str:
        """How reports call it: ``disk.img``, or ``disk.img:p2`` for what is in a partition."""
        return spelled(self.origin.name) + self._part

    @property
    def place(self) -> str:
        """How messages call it: as :attr:`name`, but with the whole path."""
        return spelled(str(self.origin)) + self._part

    @property
    def _part(self) -> str:
        return f":p{self.partition}" if self.partition else ""

    @property
    def sector(self) -> int:
        """Its bytes per sector; what most have where nobody knows."""
        return self.boot.sector if self.boot is not None else 512

    @property
    def is_cut(self) -> bool:
        """Whether the image ends before the volume does."""
        return self.boot is not None and self.boot.size > self.room

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
        target = into / f"volume{self._part.replace(':', '-')}.raw"
        with reading(self.raw) as source:
            try:
                with target.open("wb") as file:
                    _copy(source, file, self.offset, self.size, deadline)
            except OSError as broken:
                if isinstance(broken, LabError):
                    raise
                hint = "free some space in the cache folder, or name another one with LAB_CACHE"
                raise ImageError(f"{self.place}: cannot be copied: {broken.strerror}", hint=hint) from broken
        return target

    def digest(self, deadline: Deadline) -> str:
        """A name for what is in it now, and for how much that is: zeros at its end are not in the digest of its bytes
        (:func:`lab.ntfs.nonzero.digest`), and an image that was cut there is another one.

        Raises:
            ImageError: it cannot be read.
            DeadlineError: it was not done in time.
        """
        with reading(self.raw) as source:
            return f"{digest(source, self.offset, self.size, deadline)}-{self.size}"


@dataclass(frozen=True, slots=True)
class Trouble:
    """What is wrong with a disk, or with one of its partitions."""

    error: LabError
    partition: int = 0


@dataclass(frozen=True, slots=True)
class Disk:
    """What was found in an image. ``troubles`` keep no volume from being tried, ``notes`` are for the reader alone."""

    volumes: tuple[NtfsVolume, ...]
    troubles: tuple[Trouble, ...] = ()
    notes: tuple[str, ...] = ()


def open_image(  # noqa: PLR0913 - what is opened and how it is called, where and how long, and what is allowed
    path: Path,
    work: Path,
    deadline: Deadline,
    *,
    origin: Path | None = None,
    allow_mounted: bool = False,
    machine: Machine | None = None,
) -> Disk:
    """The NTFS volumes in ``path``: a raw volume, a whole disk, or either in one of the formats of images.

    What is not there byte for byte is converted to a copy in the folder ``work``; ``path`` is only ever read. A volume
    whose boot sector is broken is one all the same, if it still says that it is NTFS, or its spare boot sector does;
    and so is one that the image does not hold to its end, of which a note tells. Without ``allow_mounted``, one that is
    mounted for writing is a trouble and no volume. ``origin`` is how the user knows what is in a file of the lab's own.

    Raises:
        UsageError: there is no such file, it cannot be an image, or another program is writing to it.
        ImageError: it cannot be read, is not whole, or holds no NTFS.
        MissingToolError: qemu-img is needed and not installed.
        DeadlineError: the conversion was not done in time.
    """
    source = look(path)
    if locked_for_writing(path):
        raise UsageError(f"{spelled(str(path))}: a QEMU has it open for writing", hint="shut it down, or name a copy")
    raw = raw_of(source, work, deadline)
    with reading(raw.path) as file:
        disk = _disk(file, replace(source, path=origin or path), raw)
    disk = replace(disk, notes=(*disk.notes, *(volume.fault for volume in disk.volumes if volume.is_cut)))
    if raw.path != path or origin is not None:
        return disk
    return _unless_mounted(disk, machine or Machine(), allow_mounted=allow_mounted)


def _disk(file: BinaryIO, source: Source, raw: Raw) -> Disk:
    whole = _volume(file, NtfsVolume(source.path, raw.path, 0, raw.size))
    if whole is not None:
        return Disk((whole,))
    place = spelled(str(source.path))
    table = partition_table(file, raw.size, source.sector)
    kind = recognise(file, 0, raw.size)
    if table is None or (kind is not None and not table.faults and not table.partitions):
        raise _no_ntfs(place, raw, kind)
    found = [
        _Part.of(file, source.path, raw, partition) for partition in table.partitions if partition.offset < raw.size
    ]
    faults = [Trouble(ImageError(f"{place}+{one.at:#x}: {one.what}", hint=_MEND)) for one in table.faults]
    volumes = tuple(part.volume for part in found if part.volume is not None)
    troubles = (*faults, *(part.trouble for part in found if part.trouble is not None))
    others = ", ".join(f"p{part.number} is {part.what}" for part in found if part.what)
    if not volumes and not troubles:
        if kind is not None:
            raise _no_ntfs(place, raw, kind)
        raise ImageError(f"{place}: no NTFS volume in its partitions ({table.form}): {others}", hint=_WOULD_DO)
    notes = [f"{place}: {note}" for note in table.notes]
    notes += [f"{place}: no NTFS: {others}"] if others else []
    return Disk(volumes, troubles, tuple(notes))


_WOULD_DO = f"name a raw volume, a whole disk, or either as {FORMATS}"
_MEND = "the other partitions are tried; `sfdisk --verify` on a copy says more"


def _no_ntfs(place: str, raw: Raw, kind: Kind | None) -> ImageError:
    if kind is not None:
        return ImageError(f"{place}: {kind.sentence}", hint=kind.hint or _WOULD_DO)
    where = "neither at its start nor in a partition"
    return ImageError(f"{place}: no NTFS volume in {raw.size} bytes ({raw.form}), {where}", hint=_WOULD_DO)


@dataclass(frozen=True, slots=True)
class _Part:
    """A partition once it was looked at: a volume, a trouble, or ``what`` it is instead."""

    number: int
    volume: NtfsVolume | None = None
    trouble: Trouble | None = None
    what: str = ""

    @classmethod
    def of(cls, file: BinaryIO, origin: Path, raw: Raw, partition: Partition) -> _Part:
        number, room = partition.number, min(raw.size - partition.offset, partition.size)
        bare = NtfsVolume(origin, raw.path, partition.offset, room, partition=number)
        volume = _volume(file, bare)
        if volume is not None:
            return cls(number, volume)
        kind = recognise(file, partition.offset, room)
        if kind is not None and kind.hides:
            return cls(number, trouble=Trouble(ImageError(f"{bare.place}: {kind.sentence}", hint=kind.hint), number))
        if partition.end > raw.size:
            said = f"{bare.place}: truncated: it ends at byte {partition.end}, and the disk has {raw.size}"
            return cls(number, trouble=Trouble(ImageError(said, hint="copy it again, whole")))
        return cls(number, what=kind.name if kind else "nothing known")


def _unless_mounted(disk: Disk, machine: Machine, *, allow_mounted: bool) -> Disk:
    volumes, troubles = list[NtfsVolume](), list(disk.troubles)
    for volume in disk.volumes:
        point = spelled(machine.mounted_for_writing(volume.origin, volume.offset))
        if point and not allow_mounted:
            said = f"{volume.place}: mounted for writing at {point}: what is in it changes while it is copied"
            hint = "unmount it, or mount it read-only; --allow-mounted takes it as it is, half-written or not"
            troubles.append(Trouble(UsageError(said, hint=hint), volume.partition))
            continue
        volumes.append(replace(volume, mounted=point))
    return replace(disk, volumes=tuple(volumes), troubles=tuple(troubles))


def _volume(file: BinaryIO, bare: NtfsVolume) -> NtfsVolume | None:
    """``bare`` with its boot sector, or None if it is no NTFS."""
    if bare.room < BOOT_BYTES:
        return None
    file.seek(bare.offset)
    first, spare = file.read(BOOT_BYTES), _spare(file, bare)
    if first[3:11] != _NTFS and not _lost_its_boot_sector(file, bare, spare):
        return None
    try:
        boot = Boot.parse(first, place=bare.place)
    except ImageError as broken:
        return replace(bare, boot=spare, fault=broken.message)
    if boot.size <= bare.room:
        return replace(bare, boot=boot)
    said = f"the volume has {boot.size} bytes by its boot sector"
    if spare is None:
        fault = f"{bare.place}: truncated: {said}, {bare.room} are there; copy it again, whole, if you can"
        return replace(bare, boot=boot, fault=fault)
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


def _lost_its_boot_sector(file: BinaryIO, bare: NtfsVolume, spare: Boot | None) -> bool:
    """Whether it is NTFS by its spare boot sector; $MFT or its mirror must be where that says.

    Both outlive a new file system, for it need not be as large, nor write everywhere: then it is that one.
    """
    if spare is None or recognise(file, bare.offset, bare.room) is not None:
        return False
    for cluster in (spare.mft_cluster, spare.mirror_cluster):
        file.seek(bare.offset + cluster * spare.cluster)
        if file.read(4) == b"FILE":
            return True
    return False


def _copy(source: BinaryIO, target: BinaryIO, offset: int, length: int, deadline: Deadline) -> None:
    """Bytes that are all zero become holes."""
    target.truncate(min(length, source.seek(0, os.SEEK_END) - offset))
    for at, chunk in nonzero_chunks(source, offset, length, deadline):
        target.seek(at)
        target.write(chunk)
