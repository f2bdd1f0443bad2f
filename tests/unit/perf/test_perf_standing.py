"""Ranks and ratios: what they say, and what they must not."""

from __future__ import annotations

from itertools import pairwise
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.ntfs.perf import Figure, Standing, rotated, standings
from lab.verdict import Outcome

VALUES = st.floats(min_value=0.001, max_value=1e6, allow_nan=False, allow_infinity=False)


def figure(driver: str, *samples: float, outcome: Outcome = Outcome.PASS) -> Figure:
    return Figure("mount", driver, outcome, "" if outcome is Outcome.PASS else "why", samples=samples)


def fields(least: int = 3) -> st.SearchStrategy[list[Figure]]:
    """Some drivers, each with as many samples as the others."""

    def of(rounds: int) -> st.SearchStrategy[list[Figure]]:
        samples = st.lists(st.lists(VALUES, min_size=rounds, max_size=rounds), min_size=1, max_size=6)
        return samples.map(lambda each: [figure(f"d{number}", *values) for number, values in enumerate(each)])

    return st.integers(least, 6).flatmap(of)


def test_the_fastest_has_ratio_one_and_the_others_say_how_many_times_slower_they_are() -> None:
    found = standings([figure("a", 10, 11, 12), figure("b", 30, 33, 36), figure("c", 100, 110, 120)], more=False)
    assert found == {"a": Standing(1.0, 1), "b": Standing(3.0, 2), "c": Standing(10.0, 3)}


def test_where_more_is_better_the_order_is_the_other_way_round() -> None:
    found = standings([figure("a", 10, 11, 12), figure("b", 30, 33, 36), figure("c", 100, 110, 120)], more=True)
    assert found == {"c": Standing(1.0, 1), "b": Standing(110 / 33, 2), "a": Standing(10.0, 3)}


def test_ranges_that_overlap_share_a_rank_and_the_next_one_counts_them() -> None:
    found = standings([figure("a", 10, 12, 20), figure("b", 18, 21, 25), figure("c", 26, 27, 28)], more=False)
    assert [(driver, one.rank, one.tied) for driver, one in found.items()] == [
        ("a", 1, True),
        ("b", 1, True),
        ("c", 3, False),
    ]
    # The ratio says what was seen all the same.
    assert found["b"].ratio == pytest.approx(21 / 12)


def test_a_chain_of_overlaps_is_one_rank() -> None:
    found = standings([figure("a", 1, 2, 3), figure("b", 2.5, 4, 5), figure("c", 4.5, 6, 7)], more=False)
    assert {one.rank for one in found.values()} == {1}


def test_ranges_that_touch_overlap() -> None:
    found = standings([figure("a", 1, 1, 2), figure("b", 2, 3, 3)], more=True)
    assert {one.rank for one in found.values()} == {1}


def test_with_fewer_than_three_samples_there_are_ratios_and_no_ranks() -> None:
    found = standings([figure("a", 1, 1), figure("b", 4, 4)], more=False)
    assert found == {"a": Standing(1.0), "b": Standing(4.0)}


def test_who_has_no_figure_stands_nowhere_and_is_in_nobodys_way() -> None:
    wrong = figure("wrong", 0.1, 0.1, 0.1, outcome=Outcome.FAIL)
    found = standings([wrong, figure("a", 1, 1, 1), Figure("mount", "b", Outcome.UNSUPPORTED, "read-only")], more=False)
    assert found == {"a": Standing(1.0, 1)}
    assert standings([wrong], more=False) == {}


@settings(max_examples=60, deadline=None)
@given(fields(), st.booleans())
def test_ratios_are_one_for_the_best_median_and_more_for_the_others(entrants: list[Figure], more: bool) -> None:  # noqa: FBT001 - hypothesis gives it
    found = standings(entrants, more=more)
    medians = {each.driver: each.median for each in entrants}
    best = (max if more else min)(medians.values())
    for driver, one in found.items():
        assert one.ratio >= 1
        assert (one.ratio == 1) == (medians[driver] == best) or one.ratio == pytest.approx(1)
        assert one.ratio * (medians[driver] if more else best) == pytest.approx(best if more else medians[driver])


@settings(max_examples=60, deadline=None)
@given(fields(), st.booleans())
def test_overlapping_ranges_share_a_rank_and_every_better_rank_beats_every_worse_one(
    entrants: list[Figure],
    more: bool,  # noqa: FBT001 - hypothesis gives it
) -> None:
    found = standings(entrants, more=more)
    assert set(found) == {each.driver for each in entrants}
    for a in entrants:
        for b in entrants:
            if a.low <= b.high and b.low <= a.high:
                assert found[a.driver].rank == found[b.driver].rank
            if found[a.driver].rank < found[b.driver].rank:  # type: ignore[operator] # there are samples enough
                assert a.low > b.high if more else a.high < b.low
    ranks = sorted(one.rank or 0 for one in found.values())
    assert ranks[0] == 1
    for position, (before, after) in enumerate(pairwise(ranks), 1):
        assert after in {before, position + 1}
    assert all(one.tied == (ranks.count(one.rank or 0) > 1) for one in found.values())


@settings(max_examples=60, deadline=None)
@given(fields(), st.booleans(), st.randoms())
def test_the_order_in_which_drivers_are_named_does_not_matter(
    entrants: list[Figure],
    more: bool,  # noqa: FBT001 - hypothesis gives it
    chance: Random,
) -> None:
    shuffled = list(entrants)
    chance.shuffle(shuffled)
    assert standings(shuffled, more=more) == standings(entrants, more=more)


@settings(max_examples=60, deadline=None)
@given(fields(), VALUES)
def test_the_unit_does_not_matter(entrants: list[Figure], factor: float) -> None:
    scaled = [figure(each.driver, *(sample * factor for sample in each.samples)) for each in entrants]
    for more in (False, True):
        before, after = standings(entrants, more=more), standings(scaled, more=more)
        assert {driver: one.ratio for driver, one in after.items()} == pytest.approx(
            {driver: one.ratio for driver, one in before.items()}
        )


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(), unique=True, max_size=7), st.integers(0, 30))
def test_every_round_has_every_driver_once_and_begins_with_the_next_one(names: list[int], number: int) -> None:
    order = rotated(names, number)
    assert sorted(order) == sorted(names)
    if names:
        assert order[0] == names[number % len(names)]
        assert rotated(names, number + len(names)) == order
        turns = [rotated(names, each).index(names[0]) for each in range(len(names))]
        assert sorted(turns) == list(range(len(names)))
