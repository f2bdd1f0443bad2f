"""Greedy all-pairs: few combinations that together hold every pair of values that any combination holds."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations

__all__ = ["Pair", "cover", "untested"]

Pair = tuple[tuple[str, str], ...]
"""Two axes with a value each; only one where only one axis varies."""


def cover(rows: Sequence[Mapping[str, str]]) -> list[int]:
    """Indices of rows that cover all pairs, ascending; deterministic.

    Choosing among the rows that exist, instead of making up new ones, keeps ``exclude`` and impossible combinations
    out by construction. Ties go to the earlier row.
    """
    axes = _varying(rows)
    pairs = [frozenset(_pairs(row, axes)) for row in rows]
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


def untested(rows: Sequence[Mapping[str, str]], chosen: Sequence[Mapping[str, str]]) -> tuple[Pair, ...]:
    """The pairs that any of ``rows`` holds and none of ``chosen`` does, in the order in which they come up."""
    axes = _varying(rows)
    tested = {pair for row in chosen for pair in _pairs(row, axes)}
    return tuple(dict.fromkeys(pair for row in rows for pair in _pairs(row, axes) if pair not in tested))


def _varying(rows: Sequence[Mapping[str, str]]) -> list[str]:
    """The axes on which not all rows agree."""
    axes = list(dict.fromkeys(axis for row in rows for axis in row))
    return [axis for axis in axes if len({row.get(axis, "") for row in rows}) > 1]


def _pairs(row: Mapping[str, str], axes: Sequence[str]) -> Iterator[Pair]:
    return combinations([(axis, row.get(axis, "")) for axis in axes], min(2, len(axes)))
