from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest

from lab.matrix.compare import Change, Decision, Known, compare, gate
from lab.matrix.model import NO_VERDICT, Matrix, MatrixCell
from lab.verdict import Check, Outcome
from tests.unit.report.example import RUN, example

TODAY = date(2026, 11, 22)
PASS, FAIL, UNSUPPORTED, ERROR, SKIPPED = (
    Outcome.PASS, Outcome.FAIL, Outcome.UNSUPPORTED, Outcome.ERROR, Outcome.SKIPPED,
)  # fmt: skip
GREEN = MatrixCell("x::green", "s", "boot", {}, PASS)


def _cell(outcome: Outcome, reason: str = "why", finding: str = "") -> MatrixCell:
    return MatrixCell("x::1", "s", "boot", {}, outcome, reason="" if outcome is PASS else reason, finding=finding)


def _matrix(*cells: MatrixCell | None) -> Matrix:
    return Matrix(RUN, (GREEN, *(cell for cell in cells if cell)))


@pytest.mark.parametrize(
    ("base", "run", "change"),
    [
        (PASS, PASS, Change.SAME),
        (PASS, FAIL, Change.REGRESSED),
        (PASS, UNSUPPORTED, Change.REGRESSED),
        (UNSUPPORTED, FAIL, Change.REGRESSED),
        (FAIL, PASS, Change.FIXED),
        (UNSUPPORTED, PASS, Change.FIXED),
        (FAIL, UNSUPPORTED, Change.CHANGED),
        (PASS, ERROR, Change.CHANGED),
        (ERROR, PASS, Change.CHANGED),
        (ERROR, ERROR, Change.SAME),
        (None, PASS, Change.NEW),
        (SKIPPED, FAIL, Change.NEW),
        (PASS, None, Change.GONE),
        (PASS, SKIPPED, Change.GONE),
        (SKIPPED, SKIPPED, Change.SAME),
        (SKIPPED, None, Change.SAME),
    ],
)
def test_what_became_of_a_cell(base: Outcome | None, run: Outcome | None, change: Change) -> None:
    found = compare(_matrix(_cell(base) if base else None), _matrix(_cell(run) if run else None))
    assert [difference.change for difference in found if difference.id == "x::1"] == [change]


def test_another_finding_or_another_broken_check_is_a_change() -> None:
    assert _one(_cell(FAIL, finding="wrong-data"), _cell(FAIL, finding="damaged")) is Change.CHANGED
    checks = (Check("a", FAIL), Check("b", FAIL))
    first, second = (MatrixCell("x::1", "s", "boot", {}, FAIL, reason="why", checks=(check,)) for check in checks)
    assert _one(first, second) is Change.CHANGED
    assert _one(_cell(FAIL, "one wording"), _cell(FAIL, "another wording")) is Change.SAME


def _one(base: MatrixCell, run: MatrixCell) -> Change:
    return compare(Matrix(RUN, (base,)), Matrix(RUN, (run,)))[0].change


def test_a_difference_reads_as_a_sentence() -> None:
    (_, difference) = compare(_matrix(_cell(PASS)), _matrix(_cell(FAIL, "bytes differ", "wrong-data")))
    assert str(difference) == "x::1: regressed: pass -> fail (wrong-data): bytes differ"


def test_a_run_against_itself_is_the_same_throughout() -> None:
    assert {difference.change for difference in compare(example(), example())} == {Change.SAME}


def _gate(base: MatrixCell | None, run: MatrixCell | None, *known: Known) -> Decision:
    return gate(_matrix(base), _matrix(run), known, today=TODAY)


def test_the_gate_opens_when_nothing_is_worse() -> None:
    decision = _gate(_cell(PASS), _cell(PASS))
    assert (decision.yes, decision.reasons, decision.notes, decision.exit_code) == (True, (), (), 0)
    assert _gate(_cell(FAIL), _cell(PASS)).yes
    assert _gate(None, _cell(UNSUPPORTED)).yes


def test_the_gate_says_no_to_a_regression() -> None:
    decision = _gate(_cell(PASS), _cell(FAIL, "bytes differ"))
    assert decision.reasons == ("x::1: regressed: pass -> fail: bytes differ",)
    assert (decision.yes, decision.exit_code) == (False, 1)


def test_the_gate_says_no_to_a_new_failure() -> None:
    assert _gate(None, _cell(FAIL)).reasons == ("x::1: new: not there -> fail: why",)
    assert _gate(_cell(ERROR, "ssh"), _cell(FAIL)).reasons == ("x::1: changed: error: ssh -> fail: why",)


def test_the_gate_says_no_without_evidence() -> None:
    decision = _gate(_cell(PASS), _cell(ERROR, "no host"))
    assert decision.reasons == ("x::1: no evidence: error: no host",)
    assert decision.exit_code == 3
    assert _gate(_cell(PASS), None).reasons == ("x::1: was pass, now not tried",)
    assert _gate(_cell(PASS), _cell(ERROR, f"{NO_VERDICT}killed")).reasons == ("x::1: was pass, now not tried",)


def test_a_product_failure_outweighs_lab_trouble() -> None:
    base = Matrix(RUN, (GREEN, _cell(PASS), MatrixCell("x::2", "s", "boot", {}, PASS)))
    run = Matrix(RUN, (GREEN, _cell(ERROR, "no host"), MatrixCell("x::2", "s", "boot", {}, FAIL, reason="bytes")))
    decision = gate(base, run, today=TODAY)
    assert decision.reasons == ("x::2: regressed: pass -> fail: bytes", "x::1: no evidence: error: no host")
    assert decision.exit_code == 1


def test_the_gate_says_no_when_nothing_passed() -> None:
    decision = gate(Matrix(RUN), Matrix(RUN), today=TODAY)
    assert decision.reasons == ("no cell passed, so the run proves nothing",)


def test_a_failure_of_the_baseline_is_noted() -> None:
    decision = _gate(_cell(FAIL), _cell(FAIL))
    assert decision.yes
    assert decision.notes == ("x::1: fails as in the baseline: fail: why",)


def test_a_known_failure_is_accepted_until_its_day() -> None:
    known = Known("x::*", "https://bugs.example/1", TODAY)
    decision = _gate(_cell(PASS), _cell(FAIL), known)
    assert decision.yes
    assert decision.notes == ("x::1: accepted until 2026-11-22 (https://bugs.example/1)",)
    expired = Known("x::1", "https://bugs.example/1", date(2026, 11, 21))
    assert _gate(_cell(PASS), _cell(FAIL), expired).reasons == (
        "x::1: regressed: pass -> fail: why; accepted only until 2026-11-21 (https://bugs.example/1)",
    )
    assert _gate(_cell(FAIL), _cell(FAIL), expired).reasons == (
        "x::1: still fail: why; accepted only until 2026-11-21 (https://bugs.example/1)",
    )


def test_a_failure_beside_a_known_one_is_none_that_is_known() -> None:
    known = Known("x::1", "https://bugs.example/1", TODAY, checks=("kernel-log",))
    warned, lost = (Check(name, FAIL, "", "bad") for name in ("kernel-log", "reader:structures"))
    assert _gate(_cell(PASS), replace(_cell(FAIL), checks=(warned,)), known).notes == (
        "x::1: accepted until 2026-11-22 (https://bugs.example/1)",
    )
    both = replace(_cell(FAIL), checks=(warned, lost))
    left = "https://bugs.example/1: accepted, but not reader:structures"
    assert _gate(_cell(PASS), both, known).reasons == (f"x::1: regressed: pass -> fail: why; {left}",)
    assert _gate(both, both, known).yes  # as in the baseline


def test_one_more_check_that_fails_is_worse_than_the_baseline() -> None:
    warned, lost = (Check(name, FAIL, "", "bad") for name in ("kernel-log", "reader:structures"))
    one, both = replace(_cell(FAIL), checks=(warned,)), replace(_cell(FAIL), checks=(warned, lost))
    assert _gate(one, both).reasons == ("x::1: fails in more than in the baseline, reader:structures: fail: why",)
    assert _gate(both, one).yes
    known = Known("x::1", "https://bugs.example/1", TODAY, checks=("reader:*",))
    assert _gate(one, both, known).yes


@pytest.mark.parametrize("outcome", [PASS, FAIL, UNSUPPORTED, SKIPPED])
def test_a_run_is_no_worse_than_itself(outcome: Outcome) -> None:
    cell = replace(_cell(outcome), checks=(Check("streams", outcome, "", "not shown"),))
    assert _gate(cell, cell).yes
    assert _gate(cell, cell, Known("x::1", "https://bugs.example/1", TODAY, checks=("other",))).yes


def test_an_accepted_failure_that_passes_is_reported() -> None:
    decision = _gate(_cell(PASS), _cell(PASS), Known("x::1", "https://bugs.example/1", TODAY))
    assert decision.yes
    assert decision.notes == ("x::1: passes, though accepted as a failure (https://bugs.example/1)",)
