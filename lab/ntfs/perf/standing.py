"""Who comes out ahead, and by how much."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from lab.ntfs.perf.figure import Figure

__all__ = ["LEAST_ROUNDS", "Standing", "standings"]

LEAST_ROUNDS = 3
"""Samples below which there is a ratio, and no rank. With so few, ranges of two equals lie apart one time in ten; with
five, one time in 126.
"""


@dataclass(frozen=True, slots=True)
class Standing:
    """``ratio`` is how many times as good the best median is: 1 for whoever has it. ``rank`` is 1 for the best, the
    same for whoever cannot be told apart, and None where there are too few samples. ``tied`` says that it is shared.
    """

    ratio: float
    rank: int | None = None
    tied: bool = False


def standings(figures: Iterable[Figure], *, more: bool) -> Mapping[str, Standing]:
    """The standing of each driver that has a figure; ``more`` says whether more is better.

    Drivers whose ranges (the least to the most of their samples) overlap share a rank, and so does whoever overlaps
    with one of them: every sample of a better rank is better than every sample of a worse one.
    """
    entrants = [figure for figure in figures if figure.counts]
    if not entrants:
        return {}
    medians = [figure.median for figure in entrants]
    best = max(medians) if more else min(medians)
    ratios = {figure.driver: (best / figure.median if more else figure.median / best) for figure in entrants}
    if any(len(figure.samples) < LEAST_ROUNDS for figure in entrants):
        return {driver: Standing(ratio) for driver, ratio in ratios.items()}
    found, rank = {}, 1
    for group in _groups(entrants, more=more):
        found.update({one.driver: Standing(ratios[one.driver], rank, len(group) > 1) for one in group})
        rank += len(group)
    return found


def _groups(entrants: Sequence[Figure], *, more: bool) -> list[list[Figure]]:
    """Who cannot be told apart, the best first."""
    groups: list[list[Figure]] = []
    ordered = sorted(entrants, key=lambda one: -one.high if more else one.low)
    for one in ordered:
        last = groups[-1] if groups else []
        if last and (
            one.high >= min(each.low for each in last) if more else one.low <= max(each.high for each in last)
        ):
            last.append(one)
        else:
            groups.append([one])
    return groups
