"""The rows of a comparison: one for each volume that the user's images hold."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from lab import events
from lab.deadline import Deadline
from lab.errors import LabError, UsageError
from lab.ntfs.foreign import Foreign, labels
from lab.ntfs.image import Disk, NtfsVolume, open_image
from lab.ntfs.naming import spelled
from lab.ntfs.source import look
from lab.scenario.cell import Cell

__all__ = ["Entry", "Found", "moving_seconds", "open_entries"]


@dataclass(slots=True)
class Entry:
    """One row: a volume, or what should have been one; then ``trouble`` is why it is none.

    ``foreign`` is the volume once the readers were asked about it, ``cells`` what is tried on it.
    """

    name: str
    volume: NtfsVolume | None = None
    trouble: LabError | None = None
    foreign: Foreign | None = None
    cells: list[Cell] = field(default_factory=list)


@dataclass(slots=True)
class Found:
    """The rows, what was wrong with any image, and what a reader may want to know of the others."""

    entries: list[Entry] = field(default_factory=list)
    troubles: list[LabError] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, name: str, volume: NtfsVolume | None = None, trouble: LabError | None = None) -> None:
        """A row of its own name: an image may be called as another one's partition is."""
        taken = {entry.name for entry in self.entries}
        number, unique = 1, name
        while unique in taken:
            number += 1
            unique = f"{name}#{number}"
        self.entries.append(Entry(unique, volume, trouble))


def open_entries(images: Sequence[Path], work: Path, *, allow_mounted: bool = False) -> Found:
    """A row a volume, and one for each image or partition that should have held one.

    What is not there at all, cannot be an image, or is being written to is the user's mistake and gets no row. An
    image that is named twice, by whatever names, is tried once.
    """
    found = Found()
    once = _once(images, found.notes)
    names = labels(once)
    for number, image in enumerate(once):
        folder = work / str(number)
        folder.mkdir()
        try:
            with events.step("open an image", image=spelled(str(image))):
                disk = open_image(image, folder, Deadline(moving_seconds(_bytes(image))), allow_mounted=allow_mounted)
        except LabError as trouble:
            found.troubles.append(trouble)
            if not isinstance(trouble, UsageError):
                found.add(names[image], trouble=trouble)
        else:
            _take(found, names[image], disk)
    return found


def moving_seconds(size: int) -> float:
    """Time to copy or convert ``size`` bytes; a disk that does less than 5 MB/s is at its end."""
    return 300.0 + size / 5_000_000


def _take(found: Found, name: str, disk: Disk) -> None:
    found.notes += disk.notes
    found.troubles += (trouble.error for trouble in disk.troubles)
    rows: dict[int, tuple[NtfsVolume | None, LabError | None]] = {
        volume.partition: (volume, None) for volume in disk.volumes
    }
    broken = [trouble for trouble in disk.troubles if not isinstance(trouble.error, UsageError)]
    rows |= {trouble.partition: (None, trouble.error) for trouble in broken if trouble.partition}
    if not rows and broken:
        rows = {0: (None, broken[0].error)}
    for partition, (volume, trouble) in sorted(rows.items()):
        found.add(f"{name}:p{partition}" if partition else name, volume, trouble)


def _once(images: Iterable[Path], notes: list[str]) -> list[Path]:
    """Each image by the first of its names. One that cannot be looked at is told when it is opened."""
    first: dict[tuple[int, ...], Path] = {}
    kept = []
    for image in dict.fromkeys(images):
        with suppress(LabError):
            known = first.setdefault(look(image).identity, image)
            if known is not image:
                notes.append(f"{spelled(str(image))}: {spelled(str(known))} by another name; tried once")
                continue
        kept.append(image)
    return kept


def _bytes(image: Path) -> int:
    try:
        return look(image).size
    except LabError:
        return 0
