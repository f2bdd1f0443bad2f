"""A shelf: many volumes on one disk, so that a guest gets them all at once.

To plug a disk into a running Xen guest takes 4-7 s under emulation, mostly in the toolstack's scripts; a loop device
over a part of a disk that is there already takes none.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from lab.deadline import Deadline
from lab.errors import ImageError
from lab.ntfs.nonzero import nonzero_chunks
from lab.ntfs.specimen import Specimen

__all__ = ["Place", "Shelf", "build_shelf"]

_ALIGNMENT = 1 << 20


@dataclass(frozen=True, slots=True)
class Place:
    """Where a volume stands on a shelf, in bytes."""

    specimen: Specimen
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class Shelf:
    """The disk and the places on it, by the volumes' names."""

    disk: Path
    places: dict[str, Place]

    def digest(self, name: str, deadline: Deadline) -> str:
        """A digest of a volume as it is on the disk now: whether a read-only use left it alone.

        It covers every byte, but is not the file's SHA-256: pieces that are all zero add nothing to it.

        Raises:
            DeadlineError: it was not done in time.
        """
        place = self.places[name]
        digest = hashlib.sha256()
        with self.disk.open("rb") as disk:
            for offset, chunk in nonzero_chunks(disk, place.offset, place.size, deadline):
                digest.update(offset.to_bytes(8, "little"))
                digest.update(chunk)
        return digest.hexdigest()


def build_shelf(specimens: Iterable[Specimen], disk: Path, *, deadline: Deadline) -> Shelf:
    """Copy ``specimens`` onto a new sparse image ``disk``, each on a border of 1 MiB.

    Raises:
        ImageError: one of them cannot be read, or the disk cannot be written.
        DeadlineError: it was not done in time.
    """
    places: dict[str, Place] = {}
    end = 0
    try:
        with disk.open("wb") as file:
            for specimen in specimens:
                size = _copy(specimen.path, file, end, deadline)
                places[specimen.name] = Place(specimen, end, size)
                end += -(-size // _ALIGNMENT) * _ALIGNMENT
            file.truncate(max(end, _ALIGNMENT))
    except OSError as broken:
        if broken.errno is None:  # one of our own family
            raise
        raise ImageError(f"{disk}: cannot be written: {broken.strerror}", hint="is there room?") from broken
    return Shelf(disk, places)


def _copy(source: Path, disk: BinaryIO, at: int, deadline: Deadline) -> int:
    size = source.stat().st_size
    with source.open("rb") as file:
        for offset, chunk in nonzero_chunks(file, 0, size, deadline):
            disk.seek(at + offset)
            disk.write(chunk)
    return size
