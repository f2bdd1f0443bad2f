"""Whether an outcome is the one that the scenario or known.yaml names, and what pytest is told. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from enum import Enum
from typing import assert_never

from lab.known import Accepted
from lab.matrix.model import MatrixCell
from lab.scenario.cell import Cell
from lab.verdict import Outcome, Verdict

__all__ = ["Answer", "Weighed", "answer", "weigh"]


class Answer(Enum):
    """What an item of pytest does about a verdict."""

    PASS = "passes"  # noqa: S105 - an outcome, not a password
    FAIL = "fails"
    SKIP = "skips"
    ERROR = "errors"


@dataclass(frozen=True, slots=True)
class Weighed:
    """``expected`` for the matrix, and the reason with what was expected or accepted."""

    expected: bool
    reason: str


def weigh(cell: Cell, verdict: Verdict, accepted: Sequence[Accepted], today: date) -> Weighed:
    """The verdict against what the scenario expects of the cell and what is accepted today."""
    covering = [entry for entry in accepted if entry.names(cell.id)]
    if verdict.outcome is Outcome.FAIL and not _as_named(cell, verdict):
        for entry in covering:
            if entry.covers(cell.id, today):
                return Weighed(True, _join(verdict.reason, f"accepted until {entry.expires}: {entry.link}"))
        expired = [f"accepted only until {entry.expires}: {entry.link}" for entry in covering]
        return Weighed(False, _join(verdict.reason, *expired, _against(cell)))
    if verdict.outcome is Outcome.PASS:
        surprise = [f"passes, though accepted as a failure: {entry.link}" for entry in covering]
        if _as_named(cell, verdict):
            return Weighed(True, _join(verdict.reason, *surprise))
        return Weighed(False, _join(verdict.reason, _against(cell), *surprise))
    if cell.expect is not None and _as_named(cell, verdict):
        return Weighed(True, _join(verdict.reason, f"expected: {cell.expect.because}"))
    # Nobody has to foresee a refusal or a skip; but where something else was foreseen, the matrix says so.
    foreseen = cell.expect is None and verdict.outcome in {Outcome.UNSUPPORTED, Outcome.SKIPPED}
    return Weighed(foreseen, _join(verdict.reason, "" if verdict.outcome is Outcome.ERROR else _against(cell)))


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
