"""The order in which cells run."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from lab.scenario.cell import Cell, MigrationRequest, NtfsRequest

__all__ = ["order"]


def order(cells: Sequence[Cell]) -> tuple[Cell, ...]:
    """Quick verdicts first: everything before migrations, in the order given.

    NTFS cells that want the same guest on the same host follow the first of them, so that one guest serves them all.
    """
    first: dict[Hashable, int] = {}
    ranks = []
    for index, cell in enumerate(cells):
        request = cell.request
        group: Hashable = index
        if isinstance(request, NtfsRequest):
            group = (request.stage, request.host, request.guest)
        ranks.append((isinstance(request, MigrationRequest), first.setdefault(group, index), index))
    return tuple(cells[index] for _, _, index in sorted(ranks))
