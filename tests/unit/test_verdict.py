"""Outcomes, checks and what verdict follows from them."""

from __future__ import annotations

from itertools import permutations

import pytest

from lab.verdict import FINDING_OUTCOMES, Check, Finding, Outcome, Verdict, worst

HELD = Check.equal("same-boot", "7d0c", "7d0c")
BROKEN = Check.equal("clocksource", "xen", "tsc")
OTHER = Check.that("identity", holds=False, expected="as before", observed="vcpus: 1 -> 2")


def test_the_worst_of_all_orders_is_the_same() -> None:
    for order in permutations([Outcome.PASS, Outcome.UNSUPPORTED, Outcome.SKIPPED]):
        assert worst(order) is Outcome.UNSUPPORTED
    assert worst([Outcome.FAIL, Outcome.ERROR]) is Outcome.ERROR
    assert worst([Outcome.FAIL, Outcome.UNSUPPORTED]) is Outcome.FAIL


def test_no_outcome_at_all_is_an_error() -> None:
    assert worst([]) is Outcome.ERROR
    assert Verdict.of([]) == Verdict(Outcome.ERROR, "no check ran")


def test_all_checks_hold() -> None:
    assert Verdict.of([HELD]) == Verdict(Outcome.PASS, "", (HELD,))


def test_the_reason_names_the_checks_that_broke_and_only_them() -> None:
    verdict = Verdict.of([BROKEN, HELD, OTHER])
    assert verdict.outcome is Outcome.FAIL
    assert verdict.reason == (
        "clocksource: fail (expected xen, observed tsc); identity: fail (expected as before, observed vcpus: 1 -> 2)"
    )
    assert verdict.checks == (BROKEN, HELD, OTHER)


def test_a_reason_that_is_given_stands() -> None:
    assert Verdict.of([BROKEN], reason="as known").reason == "as known"


def test_a_check_keeps_what_it_compared_as_text() -> None:
    assert Check.equal("userland-bits", 32, 64) == Check("userland-bits", Outcome.FAIL, "32", "64")
    assert Check.equal("userland-bits", 32, 32).outcome is Outcome.PASS
    assert Check.that("clock", holds=True, expected=1, observed=2) == Check("clock", Outcome.PASS, "1", "2")


@pytest.mark.parametrize("finding", Finding)
def test_every_finding_has_an_outcome_and_only_harm_is_a_failure(finding: Finding) -> None:
    harm = {Finding.WRONG_DATA, Finding.DAMAGED, Finding.CRASH, Finding.HANG}
    assert (FINDING_OUTCOMES[finding] is Outcome.FAIL) == (finding in harm)
    assert (FINDING_OUTCOMES[finding] is Outcome.PASS) == (finding is Finding.CORRECT)
