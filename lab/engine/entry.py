"""The rows of a comparison: one for each volume that the user's images hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lab import events
from lab.deadline import Deadline
from lab.engine.files import ImageFile, at_fault, find_files, moving_seconds
from lab.errors import LabError, UsageError
from lab.ntfs.foreign import Foreign, labels
from lab.ntfs.images.image import Disk, NtfsVolume, open_image
from lab.ntfs.images.source import look
from lab.ntfs.naming import spelled
from lab.scenario.cell import Cell

__all__ = ["Entry", "Found", "open_entries"]


@dataclass(slots=True)
class Entry:
    """One row: a volume, or what should have been one; then ``trouble`` is why it is none.

    ``foreign`` is the volume once the readers were asked about it, ``testimony`` what they said, ``cells`` what
    is to be tried on it. ``digest`` is of all its bytes; ``told`` is what a run that is continued had heard of them.
    """

    name: str
    volume: NtfsVolume | None = None
    trouble: LabError | None = None
    foreign: Foreign | None = None
    testimony: Mapping[str, Any] = field(default_factory=dict)
    digest: str = ""
    told: Mapping[str, Any] | None = None
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

    A folder stands for the images below it, an archive for those in it. What is not there at all, cannot be an image,
    or is being written to is the user's mistake and gets no row. An image that is named twice, by whatever names, is
    tried once.
    """
    files = find_files(images, work)
    found = Found(troubles=files.troubles, notes=files.notes)
    names = labels(image.label for image in files.images)
    for number, image in enumerate(files.images):
        folder = work / str(number)
        folder.mkdir()
        try:
            disk = _open(image, folder, allow_mounted=allow_mounted)
        except Exception as trouble:  # noqa: BLE001 - whatever an image does to the lab, the others have their rows
            told = at_fault(trouble, spelled(str(image.origin)))
            found.troubles.append(told)
            if not isinstance(told, UsageError):
                found.add(names[image.label], trouble=told)
        else:
            _take(found, names[image.label], disk)
    return found


def _open(image: ImageFile, folder: Path, *, allow_mounted: bool) -> Disk:
    if image.trouble is not None:
        raise image.trouble
    origin, deadline = image.origin if image.is_ours else None, Deadline(moving_seconds(_bytes(image.path)))
    try:
        with events.step("open an image", image=spelled(str(image.origin))):
            return open_image(image.path, folder, deadline, origin=origin, allow_mounted=allow_mounted)
    except LabError as trouble:
        # Where the lab has unpacked it to is gone when this is read.
        trouble.message = trouble.message.replace(spelled(str(image.path)), spelled(str(image.origin)))
        raise


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


def _bytes(image: Path) -> int:
    try:
        return look(image).size
    except LabError:
        return 0
