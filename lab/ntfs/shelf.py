"""A shelf: many volumes on one disk, so that a guest gets them all at once.

To plug a disk into a running Xen guest takes 4-7 s under emulation, mostly in the toolstack's scripts; a loop device
over a part of a disk that is there already takes none.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from lab.deadline import Deadline
from lab.errors import ImageError
from lab.ntfs.nonzero import digest, nonzero_chunks
from lab.ntfs.specimen import Specimen
from lab.process import last_line, run

__all__ = ["SHELF_BYTES", "Place", "Shelf"]

SHELF_BYTES = 4 << 40
"""The size that a guest sees; ext4 holds files of up to 16 TiB, and only what is written takes room."""

_GAP = 16 << 20


@dataclass(frozen=True, slots=True)
class Place:
    """Where a volume stands on a shelf, in bytes."""

    specimen: Specimen
    offset: int
    size: int


@dataclass
class Shelf:
    """A sparse raw image ``disk`` with room for :data:`SHELF_BYTES`, and the ``places`` on it by the volumes' names.

    Volumes are put on it while a guest has it, which therefore must not have looked at the place before: places are
    apart by more than a kernel reads ahead, and none is used twice.
    """

    disk: Path
    places: dict[str, Place] = field(default_factory=dict)
    _end: int = _GAP
    _copies: int = 0

    @classmethod
    def empty(cls, disk: Path) -> Shelf:
        """A new shelf.

        Raises:
            ImageError: the file cannot be made.
        """
        with _image_errors(disk), disk.open("wb") as file:
            file.truncate(SHELF_BYTES)
        return cls(disk)

    def has_room(self, specimen: Specimen) -> bool:
        """Whether the volume is on it or can be put there, and a copy to be written to besides."""
        span = _span(specimen.path.stat().st_size)
        wanted = span if specimen.name in self.places else 2 * span
        return self._end + wanted <= SHELF_BYTES

    def put(self, specimen: Specimen, deadline: Deadline) -> Place:
        """Copy a volume onto the shelf, unless it is there.

        Raises:
            ImageError: it cannot be read, there is no place for it, or the disk cannot be written.
            DeadlineError: it was not done in time.
        """
        if specimen.name not in self.places:
            self.places[specimen.name] = self._place(specimen, deadline)
        return self.places[specimen.name]

    def put_fresh(self, specimen: Specimen, deadline: Deadline) -> str:
        """Copy a volume onto the shelf once more, to be written to; the name of that copy.

        Raises:
            ImageError, DeadlineError: as :meth:`put`.
        """
        self._copies += 1
        name = f"{specimen.name}#{self._copies}"
        self.places[name] = self._place(specimen, deadline)
        return name

    def take(self, name: str, into: Path, deadline: Deadline) -> Path:
        """A copy of a volume as it is on the disk now, as a sparse file in the folder ``into``.

        Raises:
            ImageError: it cannot be written.
            DeadlineError: it was not done in time.
        """
        place, copy = self.places[name], into / "volume.img"
        with _image_errors(copy), self.disk.open("rb") as disk, copy.open("wb") as file:
            file.truncate(place.size)
            for offset, chunk in nonzero_chunks(disk, place.offset, place.size, deadline):
                file.seek(offset)
                file.write(chunk)
        return copy

    def discard(self, name: str, deadline: Deadline) -> None:
        """Take a volume off; what it took on this machine's disk is free again. Its place is not used a second time.

        Raises:
            ImageError: the disk cannot be written.
            DeadlineError: it was not done in time.
        """
        place = self.places.pop(name)
        span = ("--offset", str(place.offset), "--length", str(place.size))
        done = run("fallocate", "--punch-hole", *span, self.disk, deadline=deadline)
        if not done:
            raise ImageError(f"{self.disk}: {name} cannot be taken off: {last_line(done.stderr)}")

    def _place(self, specimen: Specimen, deadline: Deadline) -> Place:
        with _image_errors(self.disk), self.disk.open("r+b") as file:
            at, size = self._end, specimen.path.stat().st_size
            if at + size > SHELF_BYTES:
                free = max(0, SHELF_BYTES - at)
                said = f"{self.disk}: no place for {specimen.name}: it has {size} bytes, and {free} are left"
                raise ImageError(said, hint=f"a shelf has {SHELF_BYTES} bytes in all")
            # Before anything is written: where a copy was broken off, its bytes would show through the next one.
            self._end += _span(size)
            _copy(specimen.path, file, at, size, deadline)
        return Place(specimen, at, size)

    def digest(self, name: str, deadline: Deadline) -> str:
        """A digest of a volume as it is on the disk now: whether a read-only use left it alone.

        Raises:
            DeadlineError: it was not done in time.
        """
        place = self.places[name]
        with self.disk.open("rb") as disk:
            return digest(disk, place.offset, place.size, deadline)


def _span(size: int) -> int:
    """How far behind a volume of that size the next one may begin."""
    return -(-size // _GAP) * _GAP + _GAP


@contextmanager
def _image_errors(disk: Path) -> Iterator[None]:
    try:
        yield
    except OSError as broken:
        if broken.errno is None:  # one of our own family
            raise
        raise ImageError(f"{disk}: cannot be written: {broken.strerror}", hint="is there room?") from broken


def _copy(source: Path, disk: BinaryIO, at: int, size: int, deadline: Deadline) -> None:
    with source.open("rb") as file:
        for offset, chunk in nonzero_chunks(file, 0, size, deadline):
            disk.seek(at + offset)
            disk.write(chunk)
