"""The rows of a comparison: one for each volume that the user's images hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lab import events
from lab.deadline import Deadline
from lab.errors import LabError, UsageError
from lab.ntfs.foreign import Foreign, labels
from lab.ntfs.image import NtfsVolume, open_image
from lab.scenario.cell import Cell

__all__ = ["Entry", "moving_seconds", "open_entries"]


@dataclass(slots=True)
class Entry:
    """One row: a volume, or an image in which none could be found; then ``trouble`` is why.

    ``foreign`` is the volume once the readers were asked about it, ``cells`` what is tried on it.
    """

    name: str
    volume: NtfsVolume | None = None
    trouble: LabError | None = None
    foreign: Foreign | None = None
    cells: list[Cell] = field(default_factory=list)


def open_entries(images: Sequence[Path], work: Path, troubles: list[LabError]) -> list[Entry]:
    """A row a volume; what is wrong with an image is added to ``troubles``.

    What is not there at all is the user's mistake and gets no row.
    """
    entries: list[Entry] = []
    names = labels(images)
    for number, image in enumerate(images):
        if not image.exists() or image.is_dir():
            what = "a folder, not an image" if image.is_dir() else "no such file"
            troubles.append(UsageError(f"{image}: {what}", hint="name images of NTFS volumes or of whole disks"))
            continue
        folder = work / str(number)
        folder.mkdir()
        try:
            with events.step("open an image", image=str(image)):
                found = open_image(image, folder, Deadline(moving_seconds(image.stat().st_size)))
        except LabError as trouble:
            troubles.append(trouble)
            entries.append(Entry(names[image], trouble=trouble))
            continue
        for volume in found:
            part = f":p{volume.partition}" if volume.partition else ""
            entries.append(Entry(names[image] + part, volume))
    return entries


def moving_seconds(size: int) -> float:
    """Time to copy or convert ``size`` bytes; a disk that does less than 5 MB/s is at its end."""
    return 300.0 + size / 5_000_000
