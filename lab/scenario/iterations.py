"""Moves made more often, or less often, than their scenario says. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from lab.scenario.cell import Cell, MigrationRequest

__all__ = ["FACT", "with_iterations"]

FACT = "iterations"
"""Under which name a cell says that its number is not the scenario's."""

_RUNNING = frozenset({"save-restore", "live"})
"""The ways in which a guest lives on while it moves; in the others it has no downtime to repeat."""


def with_iterations(cells: Iterable[Cell], iterations: int | None) -> tuple[Cell, ...]:
    """The cells, those that move a guest which lives on as often as ``iterations`` says; all as they are for None.

    A cell's time grows with them, for it is for all iterations together. It never shrinks: a guest that moves once is
    brought up as slowly as one that moves thirty times.
    """
    if iterations is None:
        return tuple(cells)
    return tuple(_repeated(cell, iterations) for cell in cells)


def _repeated(cell: Cell, iterations: int) -> Cell:
    request = cell.request
    if not isinstance(request, MigrationRequest) or request.how not in _RUNNING or request.iterations == iterations:
        return cell
    return replace(
        cell,
        request=replace(request, iterations=iterations),
        limits=replace(cell.limits, cell=cell.limits.cell * max(1.0, iterations / request.iterations)),
        facts={**cell.facts, FACT: str(iterations)},
    )
