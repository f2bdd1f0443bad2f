"""Two runs side by side, and the yes or no that a nightly job asks for. Pure: the day is handed in."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date
from enum import Enum
from fnmatch import fnmatchcase
from typing import TypeGuard

from lab.errors import EXIT_LAB, EXIT_PRODUCT
from lab.matrix.model import Matrix, MatrixCell
from lab.verdict import Check, Outcome, amiss

__all__ = ["Acceptance", "Change", "Decision", "Difference", "Known", "acceptance", "compare", "gate"]


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
    """A failure that is accepted until a day, which still counts: ``cell`` is an id or a pattern of one (``*``, ``?``).

    ``checks`` are names of the checks whose failure is accepted, or patterns of these names, or of ``name: what was
    observed``; without any, whatever fails is accepted.
    """

    cell: str
    link: str
    expires: date
    checks: tuple[str, ...] = field(default=(), kw_only=True)

    def names(self, cell_id: str) -> bool:
        """Whether it is about this cell, expired or not."""
        return _is_like(cell_id, self.cell)

    def accepts(self, check: Check) -> bool:
        """Whether it is about this check of a cell that it names."""
        said = (check.name, f"{check.name}: {check.observed}")
        return not self.checks or any(_is_like(text, pattern) for pattern in self.checks for text in said)


@dataclass(frozen=True, slots=True)
class Acceptance:
    """Which entries accept what failed in a cell, the names of the checks that none of them accepts, and which entries
    did accept some of it, up to a day that is over.
    """

    by: tuple[Known, ...] = ()
    left: tuple[str, ...] = ()
    late: tuple[Known, ...] = ()

    @property
    def whole(self) -> bool:
        """Whether the cell's failure is accepted: all of it."""
        return bool(self.by) and not self.left

    @property
    def but_for(self) -> str:
        """What is not accepted, in a few words; nothing where all is, or none."""
        if not self.by or not self.left:
            return ""
        return f"{', '.join(entry.link for entry in self.by)}: accepted, but not {_some(self.left)}"


def acceptance(cell_id: str, failed: Sequence[Check], known: Iterable[Known], today: date) -> Acceptance:
    """Weigh what failed in a cell against what is accepted today. Several entries may do it together, each for some
    of the checks; where no check failed (the cell ended before any), only entries that accept all checks do.
    """
    about = [
        entry
        for entry in known
        if entry.names(cell_id) and (any(map(entry.accepts, failed)) if failed else not entry.checks)
    ]
    now = [entry for entry in about if today <= entry.expires]
    late = tuple(entry for entry in about if today > entry.expires)
    if not failed:
        return Acceptance(tuple(now[:1]), late=late)
    by = [(check.name, next((entry for entry in now if entry.accepts(check)), None)) for check in failed]
    return Acceptance(
        tuple(dict.fromkeys(entry for _, entry in by if entry)),
        tuple(dict.fromkeys(name for name, entry in by if not entry)),
        late,
    )


def _is_like(text: str, pattern: str) -> bool:
    return text == pattern or fnmatchcase(text, pattern)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")


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


_NAMED = 5
"""Checks that are named before they are only counted."""

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
    """Whether ``run`` is no worse than ``base``: no regression, no new failure that is not accepted, not of one more
    check either, no cell lost, no cell without evidence, and at least one pass.
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
    elif (accepted := acceptance(difference.id, amiss(cell.checks, cell.outcome), about, today)).whole:
        until = ", ".join(f"until {entry.expires} ({entry.link})" for entry in accepted.by)
        notes.append(f"{difference.id}: accepted {until}")
    elif difference.change is Change.REGRESSED or _new_failure(difference):
        product.append("; ".join(filter(None, (str(difference), accepted.but_for, *_expired(accepted.late)))))
    elif expired := _expired(accepted.late):
        product.append(f"{difference.id}: still {_state(cell)}; {'; '.join(expired)}")
    elif cell.outcome is not Outcome.FAIL:
        return
    elif more := sorted(set(accepted.left) - _failed(difference.base)):
        product.append(f"{difference.id}: fails in more than in the baseline, {_some(more)}: {_state(cell)}")
    else:
        notes.append(f"{difference.id}: fails as in the baseline: {_state(cell)}")


def _failed(cell: MatrixCell | None) -> set[str]:
    return {check.name for check in amiss(cell.checks, Outcome.FAIL)} if cell is not None else set()


def _expired(late: Iterable[Known]) -> list[str]:
    return [f"accepted only until {entry.expires} ({entry.link})" for entry in late]


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
