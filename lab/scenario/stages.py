"""NTFS cells tried on another stage than their scenario says. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from enum import Enum

from lab.errors import ScenarioError
from lab.scenario.candidate import MICROVM
from lab.scenario.cell import Cell, NtfsRequest, Request

__all__ = ["Stage", "on_stage"]


class Stage(Enum):
    """Where the guests of NTFS cells run."""

    XEN = "xen"
    MICROVM = "microvm"


def on_stage(cells: Iterable[Cell], stage: str | None) -> tuple[Cell, ...]:
    """The cells, those of NTFS on ``stage``; all as they are for None.

    A cell keeps its name, so that a run on one stage can be held against one on the other. Cells of one scenario that
    are the same there become one: those that are there anyway come first, then those that came first.

    Raises:
        ScenarioError: a cell is to run on Xen, and names no host.
    """
    given = tuple(cells)
    if stage is None:
        return given
    taken = {_mark(cell) for cell in given if _is_on(cell, stage)}
    found = []
    for cell in given:
        if _is_on(cell, stage):
            found.append(cell)
            continue
        if _mark(cell) not in taken:
            taken.add(_mark(cell))
            found.append(_moved(cell, stage))
    return tuple(found)


def _is_on(cell: Cell, stage: str) -> bool:
    return not isinstance(cell.request, NtfsRequest) or cell.request.stage == stage


def _mark(cell: Cell) -> tuple[str, int, Request]:
    """What tells a cell from others of its run, wherever it runs."""
    request = cell.request
    return (
        cell.path,
        cell.line,
        replace(request, host=MICROVM, stage="") if isinstance(request, NtfsRequest) else request,
    )


def _moved(cell: Cell, stage: str) -> Cell:
    request = cell.request
    assert isinstance(request, NtfsRequest)  # noqa: S101 - the others are on every stage
    if stage != MICROVM.name:
        raise ScenarioError(
            f"{cell.path}:{cell.line}:1: {cell.name} has no Xen host to run on",
            hint='give its scenario hosts: {lab: {xen: "4.20"}}',
        )
    axes = {**cell.axes, "host": MICROVM.label, "stage": stage}
    return replace(cell, request=replace(request, host=MICROVM, stage=stage), axes=axes)
