"""Whether an outcome is the one that the scenario or known.yaml names, and what pytest is told. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from enum import Enum
from typing import assert_never

from lab.known import Accepted
from lab.matrix.compare import acceptance
from lab.matrix.model import MatrixCell
from lab.scenario.cell import Cell
from lab.verdict import Outcome, Verdict, amiss

__all__ = ["Answer", "Weighed", "answer", "weigh"]


class Answer(Enum):
    """What an item of pytest does about a verdict."""

    PASS = "passes"  # noqa: S105 - an outcome, not a password
    FAIL = "fails"
    SKIP = "skips"
    ERROR = "errors"


@dataclass(frozen=True, slots=True)
class Weighed:
    """The reason with what was expected or accepted, and ``expected`` for the matrix."""

    reason: str
    expected: bool


def weigh(cell: Cell, verdict: Verdict, accepted: Sequence[Accepted], today: date) -> Weighed:
    """The verdict against what the scenario expects of the cell and what is accepted today."""
    about = [entry for entry in accepted if entry.names(cell.id)]
    if _as_named(cell, verdict):
        notes = [f"expected: {cell.expect.because}"] if cell.expect and verdict.outcome is not Outcome.PASS else []
        if verdict.outcome is Outcome.PASS:
            notes += [f"passes, though accepted as a failure: {entry.link}" for entry in about]
        return Weighed(_join(verdict.reason, *notes), expected=True)
    match verdict.outcome:
        case Outcome.FAIL:
            return _failure(cell, verdict, about, today)
        case Outcome.ERROR:
            return Weighed(verdict.reason, expected=False)
        case Outcome.PASS | Outcome.UNSUPPORTED | Outcome.SKIPPED:
            # Nobody has to foresee a refusal; but where something else was foreseen, the matrix says so.
            return Weighed(_join(verdict.reason, _against(cell)), expected=cell.expect is None)
        case _ as never:
            assert_never(never)


def _failure(cell: Cell, verdict: Verdict, about: Sequence[Accepted], today: date) -> Weighed:
    """A failure that the scenario does not name; known.yaml may."""
    accepted = acceptance(cell.id, amiss(verdict.checks, verdict.outcome), about, today)
    if accepted.whole:
        until = (f"accepted until {entry.expires}: {entry.link}" for entry in accepted.by)
        return Weighed(_join(verdict.reason, *until), expected=True)
    expired = [f"accepted only until {entry.expires}: {entry.link}" for entry in accepted.late]
    return Weighed(_join(verdict.reason, accepted.but_for, *expired, _against(cell)), expected=False)


def answer(cell: MatrixCell) -> Answer:
    """What pytest is told about a weighed cell."""
    match cell.outcome:
        case Outcome.PASS:
            return Answer.PASS if cell.expected else Answer.FAIL
        case Outcome.FAIL:
            return Answer.SKIP if cell.expected else Answer.FAIL
        case Outcome.UNSUPPORTED | Outcome.SKIPPED:
            return Answer.SKIP
        case Outcome.ERROR:
            return Answer.ERROR
        case _ as never:
            assert_never(never)


def _as_named(cell: Cell, verdict: Verdict) -> bool:
    if cell.expect is None:
        return verdict.outcome is Outcome.PASS
    finding = verdict.finding.value if verdict.finding else ""
    return verdict.outcome.value == cell.expect.outcome and cell.expect.finding in {"", finding}


def _against(cell: Cell) -> str:
    """What was expected instead, and where that is written."""
    if cell.expect is None:
        return ""
    named = f"{cell.expect.outcome} ({cell.expect.finding})" if cell.expect.finding else cell.expect.outcome
    return f"expected {named}: {cell.expect.because}" + (f" [{cell.expect.place}]" if cell.expect.place else "")


def _join(*parts: str) -> str:
    return "; ".join(part for part in parts if part)
