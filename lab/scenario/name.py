"""Names of cells: readable, unique in their file, made of ``[A-Za-z0-9._-]`` only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lab.scenario.candidate import THERE_AND_BACK

__all__ = ["names"]

Axes = Mapping[str, str]


def names(cells: Sequence[tuple[str, Axes]]) -> list[str]:
    """The name of each cell, given its kind and all of its axes.

    The short name is used where it is unique; where it is not, those axes are appended that tell the cells apart.
    Cells that agree on every axis get the same name, for the caller to report.
    """
    found = [_short(kind, axes) for kind, axes in cells]
    for group in _alike(found):
        for index, suffix in zip(group, _suffixes([cells[index][1] for index in group]), strict=True):
            found[index] += suffix
    return found


def _short(kind: str, axes: Axes) -> str:
    match kind:
        case "migration":
            way = f"{axes['how']}-{axes['source']}-to-{axes['target']}"
            back = "-and-back" if axes.get("trip") == THERE_AND_BACK else ""
            arrives = f"-as-{axes['arrives']}" if "arrives" in axes else ""
            return f"{way}{back}-{axes['guest']}-{axes['type']}{arrives}"
        case "ntfs":
            written = f"-by-{axes['writer']}" if "writer" in axes else ""
            return f"{axes['driver']}-{axes['kernel']}-{axes['volume']}-{axes['operation']}{written}"
        case _:
            return f"{kind}-{axes['host']}-{axes['guest']}-{axes['type']}"


def _alike(found: Sequence[str]) -> list[list[int]]:
    groups: dict[str, list[int]] = {}
    for index, name in enumerate(found):
        groups.setdefault(name, []).append(index)
    return [group for group in groups.values() if len(group) > 1]


def _suffixes(group: Sequence[Axes]) -> list[str]:
    """For each cell the values of as few axes, from the first on, as tell the cells of the group apart."""
    suffixes = [""] * len(group)
    for axis in dict.fromkeys(axis for axes in group for axis in axes):
        apart = len(set(suffixes))
        if apart == len(group):
            break
        longer = [f"{suffix}-{axes.get(axis, 'none')}" for suffix, axes in zip(suffixes, group, strict=True)]
        if len(set(longer)) > apart:
            suffixes = longer
    return suffixes
