"""What a run takes over from the one that it continues: verdicts that still stand, their evidence, its hosts.

A verdict stands where it is one (pass, fail, unsupported) and its cell asks today for what it asked for then. Knows
nothing of pytest.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import date
from pathlib import Path

from lab.cache import fingerprint
from lab.engine.evidence import bring, is_there
from lab.engine.expectation import weigh
from lab.errors import UsageError
from lab.known import Accepted
from lab.matrix.model import FROM, MatrixCell
from lab.run_record import Record, RecordError, RunRecord, is_being_written, read_record, resolve_run
from lab.scenario.cell import Cell
from lab.scenario.iterations import FACT
from lab.verdict import Finding, Outcome, Verdict

__all__ = ["Carried", "Earlier", "carry", "fingerprint_of", "listed"]

DECIDED = frozenset({Outcome.PASS, Outcome.FAIL, Outcome.UNSUPPORTED})
"""Outcomes that say something about the product: the same again would be said by another try."""

_SUFFIX = ".lab.yaml"
_NAMED = 5
"""Cells that a note names before it only counts them."""


def fingerprint_of(cell: Cell) -> str:
    """A name for what a cell asks for and the limits it sets; not for what is expected of it."""
    return fingerprint(type(cell.request).__name__, asdict(cell.request), asdict(cell.limits))


@dataclass(frozen=True, slots=True)
class Earlier:
    """A run that another continues, as its record in ``folder`` says it."""

    folder: Path
    record: Record
    decided: Mapping[str, MatrixCell] = field(init=False)

    def __post_init__(self) -> None:
        decided = {cell.id: cell for cell in self.record.matrix.cells if cell.outcome in DECIDED}
        object.__setattr__(self, "decided", decided)  # frozen, and this is still its making

    @classmethod
    def find(cls, reports: Path, name: str) -> Earlier:
        """The run of that name or in that folder, which is about scenario files.

        Raises:
            UsageError: there is none, or it is none that can be continued.
        """
        earlier = cls.resolve(reports, name)
        if not earlier.files:
            raise UsageError(
                f"run {earlier.id}: none of its cells is of a scenario file",
                hint="what can be continued are runs of `lab run` and of pytest; one of `lab ntfs compare` by itself",
            )
        return earlier

    @classmethod
    def resolve(cls, reports: Path, name: str) -> Earlier:
        """The run of that name or in that folder, whatever it is about.

        Raises:
            UsageError: there is none, or it is still being written.
        """
        if Path(name).is_file():
            raise UsageError(f"{name}: a file, not a run", hint=f"name its folder: {Path(name).parent}")
        try:
            earlier = cls.read(resolve_run(reports, name))
        except RecordError as broken:
            raise UsageError(broken.message, hint=broken.hint) from broken
        if is_being_written(earlier.folder):
            raise UsageError(
                f"run {earlier.id}: it is still being written", hint="wait until it has ended, or end it first"
            )
        return earlier

    @classmethod
    def read(cls, folder: Path) -> Earlier:
        """The run that was found there before.

        Raises:
            RecordError: its record cannot be read any more.
        """
        return cls(folder, read_record(folder))

    @property
    def id(self) -> str:
        """The run's name."""
        return self.record.matrix.run.id

    @property
    def files(self) -> tuple[str, ...]:
        """The scenario files that it was about, as ids name them."""
        planned = (cell_id.partition("::")[0] for cell_id in self.record.plans)
        return tuple(sorted({file for file in (*planned, *self.record.files) if file.endswith(_SUFFIX)}))

    def files_below(self, root: Path) -> tuple[Path, ...]:
        """Where they are.

        Raises:
            UsageError: some are no longer there.
        """
        gone = [file for file in self.files if not (root / file).is_file()]
        if gone:
            raise UsageError(
                f"run {self.id}: no longer there: {', '.join(gone)}",
                hint=f"they were looked for in {root}; name the scenario files to go on with",
            )
        return tuple(root / file for file in self.files)

    def standing(self, cell: Cell) -> MatrixCell | None:
        """The verdict on ``cell``, if there is one and the cell still asks for the same."""
        verdict = self.decided.get(cell.id)
        plan = self.record.plans.get(cell.id)
        if verdict is None or plan is None or (plan.kind, dict(plan.axes)) != (cell.kind, dict(cell.axes)):
            return None
        if plan.fingerprint:
            return verdict if plan.fingerprint == fingerprint_of(cell) else None
        # Of an older lab: all that it wrote beside the axes is whether the user set the number of moves.
        return verdict if verdict.axes.get(FACT) == cell.facts.get(FACT) else None

    def admit(self, accelerator: str) -> None:
        """Let this accelerator go on with the run.

        Raises:
            UsageError: it was made under another one.
        """
        before = self.record.matrix.run.accelerator
        if self.decided and before and before != accelerator:
            setting = f"LAB_ACCELERATOR={before} goes on as it began" if before in {"tcg", "kvm"} else ""
            raise UsageError(
                f"run {self.id} was made under {before}, and hosts run under {accelerator} now; one matrix does not mix"
                " the two, for what holds under the one need not hold under the other",
                hint="; ".join(filter(None, (setting, "without --continue a run of its own begins"))),
            )


@dataclass(frozen=True, slots=True)
class Carried:
    """What a run takes over. ``plan`` are its cells, carried or to be run, in the order in which reports show them.

    ``notes`` say, in a sentence each, which verdicts of the earlier run do not count any more.
    """

    earlier: Earlier
    cells: tuple[MatrixCell, ...]
    plan: tuple[Cell, ...]
    notes: tuple[str, ...]

    def into(self, record: RunRecord, *, revision: str) -> tuple[str, ...]:
        """Write it into the record of the new run, with the evidence; the answer is :attr:`notes`, and what came up.

        Raises:
            UsageError: it is the record of the earlier run itself.
            RecordError: it cannot be written.
        """
        earlier, run = self.earlier, self.earlier.record.matrix.run
        if record.folder.samefile(earlier.folder):
            raise UsageError(f"run {earlier.id} cannot continue itself")
        gone = [cell.name for cell in self.cells if not is_there(cell, earlier.folder)]
        notes = [*self.notes]
        if gone:
            notes.append(f"{listed(gone)} carried without evidence, which is gone from run {earlier.id}")
        if self.cells and run.revision != revision:
            notes.append(f"run {earlier.id} is of revision {run.revision}, this one of {revision}")
        record.continues(earlier.id, files=earlier.files, carried=len(self.cells), notes=notes)
        if self.cells:
            if run.accelerator:
                record.accelerator(run.accelerator, **{FROM: earlier.id})
            for host in run.hosts:
                record.host(host, **{FROM: earlier.id})
        # Verdicts first: a copy to another file system takes its time, and may be interrupted or find no room.
        for cell in self.cells:
            record.verdict(cell)
        for cell in self.cells:
            bring(cell, earlier.folder, record.folder)
        return tuple(notes)


def carry(
    earlier: Earlier, chosen: Sequence[Cell], present: Iterable[Cell], accepted: Sequence[Accepted], today: date
) -> Carried:
    """What stands of the earlier run. ``chosen`` are going to be run; ``present`` are the cells, chosen or not, of all
    scenario files that are still there.

    What is expected of a carried cell, or accepted, is what is so today.
    """
    now = {cell.id: cell for cell in present} | {cell.id: cell for cell in chosen}
    to_run = {cell.id for cell in chosen}
    standing: dict[str, MatrixCell] = {}
    again, changed, lost = [], [], []
    for cell_id, verdict in earlier.decided.items():
        cell = now.get(cell_id)
        if cell is None:
            lost.append(verdict.name)
        elif cell_id in to_run:
            again.append(verdict.name)
        elif earlier.standing(cell) is None:
            changed.append(verdict.name)
        else:
            standing[cell_id] = _today(verdict, cell, earlier.id, accepted, today)
    plan = tuple(cell for cell in _in_order(now.values()) if cell.id in to_run or cell.id in standing)
    cells = tuple(standing[cell.id] for cell in plan if cell.id in standing)
    old = cells and not all(earlier.record.plans[cell.id].fingerprint for cell in cells)
    notes = (
        f"{listed(again)} run again: changed since run {earlier.id}" if again else "",
        f"{listed(changed)} left out: changed since run {earlier.id}, and not selected now" if changed else "",
        f"{listed(lost)} left out: in no scenario file any more" if lost else "",
        f"run {earlier.id} does not say what its cells asked for, so they are known by their axes alone" if old else "",
    )
    return Carried(earlier, cells, plan, tuple(note for note in notes if note))


def _today(verdict: MatrixCell, cell: Cell, run: str, accepted: Sequence[Accepted], today: date) -> MatrixCell:
    """The verdict with its origin, weighed anew: a failure may have been accepted since, or no longer be."""
    finding = next((each for each in Finding if each.value == verdict.finding), None)
    weighed = weigh(cell, Verdict(verdict.outcome, verdict.reason, verdict.checks, finding), accepted, today)
    if weighed.expected != verdict.expected:
        verdict = replace(verdict, expected=weighed.expected, reason=weighed.reason)
    return replace(verdict, scenario=cell.scenario, axes={**verdict.axes, FROM: verdict.origin or run})


def _in_order(cells: Iterable[Cell]) -> list[Cell]:
    """File by file; within a file as they come."""
    return sorted(cells, key=lambda cell: cell.path)


def listed(names: Sequence[str]) -> str:
    """So many cells, and the names of the first few."""
    shown = ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")
    return f"{len(names)} cell{'s' * (len(names) != 1)} ({shown})"
