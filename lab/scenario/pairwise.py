"""Greedy all-pairs: few combinations that together hold every pair of values that any combination holds."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from itertools import combinations

__all__ = ["cover"]

Pair = tuple[tuple[str, str], ...]


def cover(rows: Sequence[Mapping[str, str]]) -> list[int]:
    """Indices of rows that cover all pairs, ascending; deterministic.

    Choosing among the rows that exist, instead of making up new ones, keeps ``exclude`` and impossible combinations
    out by construction. Ties go to the earlier row.
    """
    pairs = [_pairs(row) for row in _varying(rows)]
    uncovered = set().union(*pairs) if pairs else set()
    chosen = []
    # A row's gain only ever shrinks, so a stale entry is re-weighed when it comes up, not on every choice.
    queue = [(-len(held), index) for index, held in enumerate(pairs)]
    heapq.heapify(queue)
    while uncovered:
        weight, index = heapq.heappop(queue)
        gain = len(pairs[index] & uncovered)
        if gain < -weight:
            heapq.heappush(queue, (-gain, index))
            continue
        chosen.append(index)
        uncovered -= pairs[index]
    return sorted(chosen)


def _varying(rows: Sequence[Mapping[str, str]]) -> list[tuple[tuple[str, str], ...]]:
    """The rows without the axes on which all of them agree."""
    axes = list(dict.fromkeys(axis for row in rows for axis in row))
    varying = [axis for axis in axes if len({row.get(axis, "") for row in rows}) > 1]
    return [tuple((axis, row.get(axis, "")) for axis in varying) for row in rows]


def _pairs(row: tuple[tuple[str, str], ...]) -> frozenset[Pair]:
    return frozenset(combinations(row, min(2, len(row))))
