"""What a volume must show for a measure to count: from its recipe, and from what fio writes where nobody doubts it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lab.ntfs.manifest import Entry, Kind, Manifest
from lab.ntfs.perf.measure import LARGE_FILE, SMALL_FOLDER, Measure
from lab.ntfs.perf.sizes import Sizes

__all__ = ["FOLDER", "Content", "Truth", "line_of", "truth_of"]

FOLDER = "lab-perf"
"""Where the probe writes: a test holds the two together."""

Content = tuple[int, tuple[int, ...]]
"""Size and the CRC-32 of each block."""


@dataclass(frozen=True, slots=True)
class Truth:
    """``root`` are the names in the volume's root afterwards; ``walked`` how many names there are, and their digest;
    ``read`` and ``written`` the files by their names, those that are written as they are found in their folder.
    """

    root: tuple[str, ...]
    amount: int | None = None
    walked: tuple[int, str] | None = None
    read: Mapping[str, Content] | None = None
    written: Mapping[str, Content] | None = None


def truth_of(measure: Measure, sizes: Sizes, manifest: Manifest, reference: Mapping[str, Any]) -> Truth:
    """What must be seen. ``reference`` is the probe's own document on what fio writes.

    Raises:
        KeyError: the reference has nothing on this measure.
    """
    root = {entry.path.partition("/")[0] for entry in manifest.entries} | ({FOLDER} if measure.writes else set())
    return Truth(
        tuple(sorted(root)),
        measure.amount(sizes),
        _walked(manifest) if measure.name == "walk" else None,
        _read(measure, manifest),
        _written(measure, sizes, reference),
    )


def line_of(entry: Entry) -> str:
    """A name as it goes into the digest of a walk: as in lab/ntfs/perf_probe.py."""
    return f"d {entry.path}" if entry.kind is Kind.DIRECTORY else f"f {entry.path} {entry.size}"


def _walked(manifest: Manifest) -> tuple[int, str]:
    lines = sorted(line_of(entry) for entry in manifest.entries)
    return len(lines), hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()


def _read(measure: Measure, manifest: Manifest) -> Mapping[str, Content] | None:
    match measure.name:
        case "read-sequential":
            return {entry.path: _content(entry) for entry in manifest.entries if entry.path == LARGE_FILE}
        case "read-small":
            below = f"{SMALL_FOLDER}/"
            return {entry.path: _content(entry) for entry in manifest.entries if entry.path.startswith(below)}
        case _:
            return None


def _content(entry: Entry) -> Content:
    return entry.size or 0, entry.blocks or ()


def _written(measure: Measure, sizes: Sizes, reference: Mapping[str, Any]) -> Mapping[str, Content] | None:
    if not measure.writes:
        return None
    if measure.name == "metadata":
        return {f"renamed {number:05d}": (0, ()) for number in range(0, sizes.names, sizes.kept)}
    files = reference["reference"][measure.name]["files"]
    return {name: (size, tuple(blocks)) for name, (size, blocks) in files.items()}
