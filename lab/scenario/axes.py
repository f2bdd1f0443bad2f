"""What the cells of each scenario vary: for ``lab list``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from lab.scenario.cell import Cell

__all__ = ["Summary", "summary"]


@dataclass(frozen=True, slots=True)
class Summary:
    """One scenario: its axes with their values in order, and how many cells it has."""

    path: str
    line: int
    scenario: str
    kind: str
    axes: Mapping[str, tuple[str, ...]]
    count: int


def summary(cells: Iterable[Cell]) -> tuple[Summary, ...]:
    """One summary a scenario, in the order in which they come up."""
    groups: dict[tuple[str, int, str, str], list[Cell]] = {}
    for cell in cells:
        groups.setdefault((cell.path, cell.line, cell.scenario, cell.kind), []).append(cell)
    return tuple(Summary(*key, _values(group), len(group)) for key, group in groups.items())


def _values(cells: Iterable[Cell]) -> dict[str, tuple[str, ...]]:
    found: dict[str, dict[str, None]] = {}
    for cell in cells:
        for axis, label in cell.axes.items():
            found.setdefault(axis, {})[label] = None
    return {axis: tuple(labels) for axis, labels in found.items()}
