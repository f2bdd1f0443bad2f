from __future__ import annotations

from datetime import date

import pytest

from lab.engine.expectation import Answer, Weighed, answer, weigh
from lab.known import Accepted
from lab.matrix.model import MatrixCell
from lab.scenario.cell import BootRequest, Cell, Expectation, GuestRequest, HostRequest, KernelRequest
from lab.verdict import Check, Finding, Outcome, Verdict

GUEST = GuestRequest("web", "bookworm", "i386", KernelRequest("bookworm"))
TODAY = date(2026, 11, 22)
LINK = "https://bugs.example.org/1"


def _cell(expect: Expectation | None = None) -> Cell:
    request = BootRequest(HostRequest("lab", "4.20"), GUEST)
    return Cell("a.lab.yaml", "one", "s", "boot", {}, request, expect=expect)


def _accepted(expires: date) -> Accepted:
    return Accepted("a.lab.yaml::*", LINK, expires, "because", "known.yaml:1:1")


EXPECTED = Expectation("unsupported", "no such driver", "refused", "a.lab.yaml:4:5")
AGAINST = "expected unsupported (refused): no such driver [a.lab.yaml:4:5]"


@pytest.mark.parametrize(
    ("verdict", "expect", "reason", "expected", "said"),
    [
        (Verdict(Outcome.PASS), None, "", True, Answer.PASS),
        (Verdict(Outcome.FAIL, "no"), None, "no", False, Answer.FAIL),
        (Verdict(Outcome.UNSUPPORTED, "no"), None, "no", True, Answer.SKIP),
        (Verdict(Outcome.SKIPPED, "no time"), None, "no time", True, Answer.SKIP),
        (Verdict(Outcome.ERROR, "ssh"), None, "ssh", False, Answer.ERROR),
        (
            Verdict(Outcome.UNSUPPORTED, "no", finding=Finding.REFUSED),
            EXPECTED,
            "no; expected: no such driver",
            True,
            Answer.SKIP,
        ),
        (
            Verdict(Outcome.UNSUPPORTED, "ro", finding=Finding.READ_ONLY),
            EXPECTED,
            f"ro; {AGAINST}",
            False,
            Answer.SKIP,
        ),
        (Verdict(Outcome.PASS, finding=Finding.CORRECT), EXPECTED, AGAINST, False, Answer.FAIL),
        (Verdict(Outcome.FAIL, "hole", finding=Finding.DAMAGED), EXPECTED, f"hole; {AGAINST}", False, Answer.FAIL),
        (Verdict(Outcome.ERROR, "ssh"), EXPECTED, "ssh", False, Answer.ERROR),
        (Verdict(Outcome.FAIL, "no"), Expectation("fail", "bug 7"), "no; expected: bug 7", True, Answer.SKIP),
        (Verdict(Outcome.PASS), Expectation("pass", "it is fixed"), "", True, Answer.PASS),
    ],
)
def test_every_outcome_against_every_expectation(
    verdict: Verdict,
    expect: Expectation | None,
    reason: str,
    expected: bool,  # noqa: FBT001 - a column of the table
    said: Answer,
) -> None:
    weighed = weigh(_cell(expect), verdict, (), TODAY)
    assert weighed == Weighed(reason, expected)
    assert answer(MatrixCell("x", "s", "boot", {}, verdict.outcome, expected=weighed.expected)) is said


def test_an_accepted_failure_expires_the_day_after() -> None:
    failure = Verdict(Outcome.FAIL, "no")
    last_day = weigh(_cell(), failure, (_accepted(TODAY),), TODAY)
    assert last_day == Weighed(f"no; accepted until 2026-11-22: {LINK}", expected=True)
    after = weigh(_cell(), failure, (_accepted(date(2026, 11, 21)),), TODAY)
    assert after == Weighed(f"no; accepted only until 2026-11-21: {LINK}", expected=False)


def test_an_accepted_failure_does_not_excuse_trouble_and_says_when_it_passes() -> None:
    known = (_accepted(TODAY),)
    assert weigh(_cell(), Verdict(Outcome.ERROR, "ssh"), known, TODAY) == Weighed("ssh", expected=False)
    passed = weigh(_cell(), Verdict(Outcome.PASS), known, TODAY)
    assert passed == Weighed(f"passes, though accepted as a failure: {LINK}", expected=True)


def _some(*checks: str, expires: date = TODAY) -> Accepted:
    return Accepted("a.lab.yaml::*", f"{LINK}#{checks[0]}", expires, "because", "known.yaml:1:1", checks=checks)


HOLE = Check("step:append/sparse", Outcome.FAIL, "", "refused: ENXIO")
BUG = Check("kernel-log", Outcome.FAIL, "", "BUG: no address")
WARNING = Check("kernel-log", Outcome.FAIL, "", "WARNING: inode.c")


def _broken(*checks: Check) -> Verdict:
    return Verdict(Outcome.FAIL, "no", (Check("mounted", Outcome.PASS), *checks))


@pytest.mark.parametrize(
    ("entries", "checks", "note"),
    [
        ([_some("kernel-log")], [WARNING], f"accepted until 2026-11-22: {LINK}#kernel-log"),
        ([_some("step:*")], [HOLE], f"accepted until 2026-11-22: {LINK}#step:*"),
        ([_some("step:*: *ENXIO*")], [HOLE], f"accepted until 2026-11-22: {LINK}#step:*: *ENXIO*"),
        (
            [_some("step:*"), _some("kernel-log: WARNING*")],
            [HOLE, WARNING],
            f"accepted until 2026-11-22: {LINK}#step:*; accepted until 2026-11-22: {LINK}#kernel-log: WARNING*",
        ),
        ([_some("step:*"), _accepted(TODAY)], [WARNING], f"accepted until 2026-11-22: {LINK}"),
        ([_some("step:*"), _accepted(TODAY)], [], f"accepted until 2026-11-22: {LINK}"),
    ],
)
def test_a_failure_is_accepted_where_each_of_its_checks_is(
    entries: list[Accepted], checks: list[Check], note: str
) -> None:
    assert weigh(_cell(), _broken(*checks), entries, TODAY) == Weighed(f"no; {note}", expected=True)


@pytest.mark.parametrize(
    ("entries", "checks", "note"),
    [
        ([_some("kernel-log")], [HOLE, WARNING], f"; {LINK}#kernel-log: accepted, but not step:append/sparse"),
        ([_some("kernel-log: BUG*")], [WARNING], ""),
        ([_some("kernel-log: W*")], [BUG, WARNING], f"; {LINK}#kernel-log: W*: accepted, but not kernel-log"),
        ([_some("kernel-log")], [], ""),  # it ended before any check
        ([_some("step:*", expires=date(2026, 11, 21))], [HOLE], f"; accepted only until 2026-11-21: {LINK}#step:*"),
    ],
)
def test_a_failure_beside_an_accepted_one_is_not_excused(
    entries: list[Accepted], checks: list[Check], note: str
) -> None:
    assert weigh(_cell(), _broken(*checks), entries, TODAY) == Weighed(f"no{note}", expected=False)
