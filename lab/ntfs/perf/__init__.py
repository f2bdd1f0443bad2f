"""How fast drivers are, next to each other: what is measured, what of it counts, and who comes out ahead. Pure.

The figures are relative: drivers take turns in one guest, and what is told apart is their order, not their speed. A
driver that does a thing fast and wrong has no figure.
"""

from __future__ import annotations

from lab.ntfs.perf.figure import Figure
from lab.ntfs.perf.measure import MEASURES, Measure, measures
from lab.ntfs.perf.order import rotated
from lab.ntfs.perf.result import SCHEMA, Entrant, KernelResult, PerfResult, Stamp
from lab.ntfs.perf.sizes import Sizes, sizes_for
from lab.ntfs.perf.standing import LEAST_ROUNDS, Standing, standings
from lab.ntfs.perf.taken import Taken, taken
from lab.ntfs.perf.truth import Truth, truth_of
from lab.ntfs.perf.volume import manifest_of, volumes

__all__ = [
    "LEAST_ROUNDS",
    "MEASURES",
    "SCHEMA",
    "Entrant",
    "Figure",
    "KernelResult",
    "Measure",
    "PerfResult",
    "Sizes",
    "Stamp",
    "Standing",
    "Taken",
    "Truth",
    "manifest_of",
    "measures",
    "rotated",
    "sizes_for",
    "standings",
    "taken",
    "truth_of",
    "volumes",
]
