"""Two runs side by side, and the yes or no that a nightly job asks for. Pure: the day is handed in."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from enum import Enum
from fnmatch import fnmatchcase
from typing import TypeGuard

from lab.errors import EXIT_LAB, EXIT_PRODUCT
from lab.matrix.model import Matrix, MatrixCell
from lab.verdict import Outcome

__all__ = ["Change", "Decision", "Difference", "Known", "compare", "gate"]


class Change(Enum):
    """What became of a cell between two runs. A skipped or unjudged cell counts as not there."""

    REGRESSED = "regressed"
    FIXED = "fixed"
    CHANGED = "changed"
    NEW = "new"
    GONE = "gone"
    SAME = "same"


@dataclass(frozen=True, slots=True)
class Difference:
    """One cell in both runs; the side on which it does not exist is None."""

    id: str
    change: Change
    base: MatrixCell | None
    run: MatrixCell | None

    def __str__(self) -> str:
        return f"{self.id}: {self.change.value}: {_state(self.base)} -> {_state(self.run)}"


@dataclass(frozen=True, slots=True)
class Known:
    """A failure that is accepted until a day: ``cell`` is an id or a pattern of one (``*``, ``?``)."""

    cell: str
    link: str
    expires: date

    def covers(self, cell_id: str, today: date) -> bool:
        """Whether the failure of this cell is accepted today; the day of expiry still counts."""
        return self.names(cell_id) and today <= self.expires

    def names(self, cell_id: str) -> bool:
        """Whether it is about this cell, expired or not."""
        return cell_id == self.cell or fnmatchcase(cell_id, self.cell)


@dataclass(frozen=True, slots=True)
class Decision:
    """The gate's answer. ``reasons`` are why not; ``notes`` are worth reading either way."""

    product: tuple[str, ...] = ()
    lab: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def yes(self) -> bool:
        """Whether nothing stands against it."""
        return not self.reasons

    @property
    def reasons(self) -> tuple[str, ...]:
        """Everything that stands against it, the product's faults first."""
        return self.product + self.lab

    @property
    def exit_code(self) -> int:
        """0 for yes, 1 when the product is why not, 3 when only evidence is missing."""
        return EXIT_PRODUCT if self.product else EXIT_LAB if self.lab else 0


# Lab trouble has no place in this order: an error says nothing about the product.
_RANK = {Outcome.PASS: 0, Outcome.UNSUPPORTED: 1, Outcome.FAIL: 2}


def compare(base: Matrix, run: Matrix) -> tuple[Difference, ...]:
    """Every cell of both: in the run's order, then those that only the base has."""
    before = {cell.id: cell for cell in base.cells}
    after = {cell.id: cell for cell in run.cells}
    return tuple(
        Difference(cell_id, _change(before.get(cell_id), after.get(cell_id)), before.get(cell_id), after.get(cell_id))
        for cell_id in dict.fromkeys((*after, *before))
    )


def gate(base: Matrix, run: Matrix, known: Iterable[Known] = (), *, today: date) -> Decision:
    """Whether ``run`` is no worse than ``base``: no regression, no new failure that is not accepted, no cell lost,
    no cell without evidence, and at least one pass.
    """
    accepted = tuple(known)
    product: list[str] = []
    lab: list[str] = []
    notes: list[str] = []
    for difference in compare(base, run):
        _judge(difference, accepted, today, (product, lab, notes))
    for entry in accepted:
        # A pattern may name cells that never failed: it is outlived when all of them pass.
        outcomes = {cell.outcome for cell in run.cells if entry.names(cell.id)}
        if outcomes == {Outcome.PASS}:
            notes.append(f"{entry.cell}: passes, though accepted as a failure ({entry.link})")
    if not any(cell.outcome is Outcome.PASS for cell in run.cells):
        lab.append("no cell passed, so the run proves nothing")
    return Decision(tuple(product), tuple(lab), tuple(notes))


def _judge(
    difference: Difference, known: tuple[Known, ...], today: date, answer: tuple[list[str], list[str], list[str]]
) -> None:
    product, lab, notes = answer
    cell = difference.run
    about = [entry for entry in known if entry.names(difference.id)]
    if difference.change is Change.GONE:
        lab.append(f"{difference.id}: was {_state(difference.base)}, now not tried")
    elif cell is None or cell.outcome in {Outcome.SKIPPED, Outcome.PASS}:
        return
    elif cell.outcome is Outcome.ERROR:
        lab.append(f"{difference.id}: no evidence: {_state(cell)}")
    elif accepting := next((entry for entry in about if entry.covers(difference.id, today)), None):
        notes.append(f"{difference.id}: accepted until {accepting.expires} ({accepting.link})")
    elif difference.change is Change.REGRESSED or _new_failure(difference):
        expired = "".join(f"; accepted only until {entry.expires} ({entry.link})" for entry in about)
        product.append(f"{difference}{expired}")
    elif about:
        product.append(f"{difference.id}: still {_state(cell)}; accepted only until {about[0].expires}")
    elif cell.outcome is Outcome.FAIL:
        notes.append(f"{difference.id}: fails as in the baseline: {_state(cell)}")


def _new_failure(difference: Difference) -> bool:
    """A failure where the base shows none: a new cell, or one of which the base had no evidence."""
    cell, base = difference.run, difference.base
    failed_before = base is not None and base.outcome is Outcome.FAIL
    return cell is not None and cell.outcome is Outcome.FAIL and not failed_before


def _change(base: MatrixCell | None, run: MatrixCell | None) -> Change:
    if _tried(base) and _tried(run):
        return _between(base, run)
    if _tried(run):
        return Change.NEW
    return Change.GONE if _tried(base) else Change.SAME


def _between(base: MatrixCell, run: MatrixCell) -> Change:
    if base.outcome in _RANK and run.outcome in _RANK and base.outcome is not run.outcome:
        if _RANK[run.outcome] > _RANK[base.outcome]:
            return Change.REGRESSED
        return Change.FIXED if run.outcome is Outcome.PASS else Change.CHANGED
    before, after = (
        (cell.outcome, cell.finding, cell.expected, {c.name for c in cell.checks if c.outcome is not Outcome.PASS})
        for cell in (base, run)
    )
    return Change.SAME if before == after else Change.CHANGED


def _tried(cell: MatrixCell | None) -> TypeGuard[MatrixCell]:
    return cell is not None and cell.outcome is not Outcome.SKIPPED and cell.judged


def _state(cell: MatrixCell | None) -> str:
    if cell is None:
        return "not there"
    words = cell.outcome.value if cell.finding in {"", "correct"} else f"{cell.outcome.value} ({cell.finding})"
    return f"{words}: {cell.reason}" if cell.reason else words
