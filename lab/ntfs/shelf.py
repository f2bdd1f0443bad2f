"""A shelf: many volumes on one disk, so that a guest gets them all at once.

To plug a disk into a running Xen guest takes 4-7 s under emulation, mostly in the toolstack's scripts; a loop device
over a part of a disk that is there already takes none.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from lab.deadline import Deadline
from lab.ntfs.volumes import Volume
from lab.process import run

__all__ = ["Place", "Shelf", "build_shelf"]

_ALIGNMENT = 1 << 20


@dataclass(frozen=True, slots=True)
class Place:
    """Where a volume stands on a shelf, in bytes."""

    volume: Volume
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class Shelf:
    """The disk and the places on it, by the volumes' names."""

    disk: Path
    places: dict[str, Place]

    def digest(self, name: str) -> str:
        """SHA-256 of a volume as it is on the disk now: whether a read-only use left it alone."""
        place = self.places[name]
        digest = hashlib.sha256()
        with self.disk.open("rb") as disk:
            disk.seek(place.offset)
            left = place.size
            while left:
                block = disk.read(min(left, 1 << 20))
                if not block:
                    break
                digest.update(block)
                left -= len(block)
        return digest.hexdigest()


def build_shelf(volumes: Iterable[Volume], disk: Path, *, deadline: Deadline) -> Shelf:
    """Copy ``volumes`` onto a new sparse image ``disk``, each on a border of 1 MiB."""
    places: dict[str, Place] = {}
    end = 0
    for volume in volumes:
        size = volume.path.stat().st_size
        seek = f"seek={end // _ALIGNMENT}"
        copy = ("dd", f"if={volume.path}", f"of={disk}", "bs=1M", seek, "conv=sparse,notrunc", "status=none")
        run(*copy, deadline=deadline).check()
        places[volume.recipe.name] = Place(volume, end, size)
        end += -(-size // _ALIGNMENT) * _ALIGNMENT
    with disk.open("ab") as file:
        file.truncate(max(end, _ALIGNMENT))
    return Shelf(disk, places)
