"""The lab's own eyes as one more reader: names, sizes and bytes, by the structures, with no process to start.

It shares no code with any driver, nor with the readers; what it cannot read it is unsure of.
"""

from __future__ import annotations

import struct
from pathlib import Path

from lab.deadline import Deadline
from lab.errors import ImageError
from lab.ntfs.manifest import Entry, Feature, Kind, Manifest
from lab.ntfs.observation import is_system_name
from lab.ntfs.operations.layout import Layout, terrain_of
from lab.ntfs.operations.plan import KINDS
from lab.ntfs.operations.stored import Stored

__all__ = ["OWN", "read_stored"]

OWN = "structures"
"""What it is called among the readers."""

_SEES = frozenset({Feature.NAMES, Feature.SIZES, Feature.BYTES})
_DIRECTORIES = frozenset({"small", "indexed", "compressed-directory"})


def read_stored(volume: Path, deadline: Deadline) -> Manifest:
    """What a volume file holds. Of what is neither a plain file nor a directory, only that it is there.

    Raises:
        ImageError: it is no NTFS volume.
        DeadlineError: it was not done in time.
    """
    stored = Stored(volume, terrain_of(volume, deadline))
    entries: list[Entry] = []
    unsure: set[str] = set(stored.terrain.unlisted)
    for path, layout in stored.terrain.layouts.items():
        if is_system_name(path):
            continue
        deadline.check(f"reading {volume}")
        try:
            entries.append(_entry(path, layout, stored))
        except (ImageError, struct.error):
            unsure.add(path)
    return Manifest(tuple(entries), _SEES, frozenset(unsure))


def _entry(path: str, layout: Layout, stored: Stored) -> Entry:
    if layout.kind in _DIRECTORIES:
        return Entry(path, Kind.DIRECTORY)
    if layout.kind not in KINDS:
        return Entry(path, Kind.UNKNOWN)
    content = stored.content(path)
    sha256, blocks = content.digest()
    return Entry(path, Kind.FILE, size=content.size, sha256=sha256, blocks=blocks)
