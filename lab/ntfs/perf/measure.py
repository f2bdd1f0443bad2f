"""What is measured, as data. How it is done stands in the guest's own program, ``lab/ntfs/perf_probe.py``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from lab.ntfs.perf.sizes import MIB, Sizes
from lab.ntfs.registry import Registry

__all__ = ["LARGE_FILE", "MEASURES", "SMALL_FOLDER", "Measure", "chosen", "measures"]

LARGE_FILE, SMALL_FOLDER = "large.bin", "small"
"""What the volume holds that is read."""

PLAIN, TERABYTE, CROWDED = "perf", "size-1t", "directory-10000"
"""Volumes: one of the measures' own, and two of the recipes that everybody has."""


@dataclass(frozen=True, slots=True)
class Measure:
    """One thing that is timed, on a fresh copy of ``volume``.

    ``unit`` is what a figure counts; ``more`` says whether more of it is better. ``per`` is how much of what the probe
    counts (bytes, names) makes one of them; 0 for what is a time itself. ``seconds`` is how long it may take, with all
    that is not timed, before the driver counts as hung: some ten times what the slowest takes under emulation.
    """

    name: str
    unit: str
    does: str
    volume: str = PLAIN
    more: bool = True
    per: int = 1
    writes: bool = False
    seconds: float = 180.0

    def work(self, sizes: Sizes) -> Mapping[str, Any]:
        """What the probe is told to do, of these sizes."""
        match self.name:
            case "read-sequential":
                return {"file": LARGE_FILE, "size": sizes.large}
            case "write-sequential":
                return {"size": sizes.large}
            case "read-small":
                return {"folder": SMALL_FOLDER, "count": sizes.small, "each": sizes.each}
            case "write-small":
                return {"count": sizes.small, "each": sizes.each}
            case "metadata":
                return {"count": sizes.names, "kept": sizes.kept}
            case _:
                return {}

    def amount(self, sizes: Sizes) -> int | None:
        """How much the probe must count; None where that is not laid down by the sizes."""
        match self.name:
            case "read-sequential" | "write-sequential":
                return sizes.large
            case "read-small" | "write-small":
                return sizes.small * sizes.each
            case "metadata":
                return sizes.operations
            case _:
                return None

    def value(self, amount: float, seconds: float) -> float:
        """The figure, in its unit."""
        return amount / self.per / seconds if self.per else seconds * 1000

    @property
    def better(self) -> str:
        """``more`` or ``less``."""
        return "more" if self.more else "less"


MEASURES = (
    Measure("mount", "ms", "mount a small volume, until its root can be looked at", more=False, per=0),
    Measure("mount-1t", "ms", "the same with a volume of 1 TB", volume=TERABYTE, more=False, per=0),
    Measure("walk", "names/s", "stat every name of a directory of 10 000", volume=CROWDED, seconds=300.0),
    Measure("read-sequential", "MiB/s", "read one large file (fio)", per=MIB),
    Measure("read-small", "files/s", "open and read small files one after the other (fio)", per=Sizes().each),
    Measure("write-sequential", "MiB/s", "write one large file, fsync included (fio)", per=MIB, writes=True),
    Measure(
        "write-small", "files/s", "make and write small files, syncfs included (fio)", per=Sizes().each, writes=True
    ),
    Measure("metadata", "operations/s", "make, rename and remove empty files, syncfs included", writes=True),
)
"""In the order in which they are taken."""

measures: Registry[Measure] = Registry("measure")
for _measure in MEASURES:
    measures.add(_measure)


def chosen(names: Iterable[str]) -> tuple[Measure, ...]:
    """Those of these names, in the order in which they are taken; all of them where none is named.

    Raises:
        UnknownNameError: there is no such measure.
    """
    wanted = {measures[name].name for name in names}
    return tuple(measure for measure in MEASURES if not wanted or measure.name in wanted)
