"""Faults tried in a run of their own: its record, its progress, and ``proofs.json``."""

from __future__ import annotations

import json
import time
from contextlib import AbstractContextManager, ExitStack, closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

from lab import __version__, events
from lab.checks.faults import Fault
from lab.checks.proof import CONTROL, Proof
from lab.deadline import Deadline
from lab.engine.alarm import terminate_like_interrupt
from lab.errors import EXIT_LAB, EXIT_PRODUCT, LabError
from lab.matrix.model import HostFacts, MatrixCell
from lab.report.progress import Progress
from lab.report.write import write_reports
from lab.run_record import RecordError, RunRecord, read_matrix
from lab.settings import Settings
from lab.stage.proving import Ground, Trials, rounds
from lab.verdict import Check, Outcome

__all__ = ["FILE", "Asked", "OpenGround", "Proven", "try_faults"]

FILE = "proofs.json"
SCHEMA = "lab.proofs/1"

_SCENARIO = "prove"
_PLAN_SECONDS = 3600.0
"""For the images and snapshots of a cold cache, as in lab.engine.run."""


class OpenGround(Protocol):
    """Opens a ground, such as :func:`lab.stage.proving.open_ground`."""

    def __call__(self, settings: Settings, source: str, target: str, *, moves: bool) -> AbstractContextManager[Ground]:
        """The ground, up to the end of the ``with``."""
        ...


@dataclass(frozen=True, slots=True)
class Asked:
    """Which faults, on hosts of which versions, and how."""

    faults: tuple[Fault, ...]
    source: str
    target: str
    moves: bool = False
    keep_going: bool = False

    @property
    def order(self) -> tuple[Fault | None, ...]:
        """In which order they are tried, with the control."""
        return tuple(fault for group in rounds(self.faults, moves=self.moves) for fault in group)


@dataclass(slots=True)
class Proven:
    """The answer. ``untried`` are the faults that were asked for and not got to."""

    folder: Path
    proofs: list[Proof] = field(default_factory=list)
    untried: tuple[str, ...] = ()
    accelerator: str = ""
    hosts: tuple[HostFacts, ...] = ()
    troubles: list[LabError] = field(default_factory=list)
    interrupted: bool = False

    @property
    def exit_code(self) -> int:
        """1 when a fault was missed or the control is red, else 3 when something was not found out, else 0."""
        outcomes = {proof.outcome for proof in self.proofs}
        if Outcome.FAIL in outcomes:
            return EXIT_PRODUCT
        unknown = Outcome.ERROR in outcomes or self.untried or self.troubles or self.interrupted
        return EXIT_LAB if unknown or not self.proofs else 0

    def to_json(self, asked: Asked, command: str) -> dict[str, Any]:
        """The document of ``proofs.json``."""
        tried = [proof for proof in self.proofs if not proof.control]
        return {
            "schema": SCHEMA,
            "run": self.folder.name,
            "command": command,
            "revision": _revision(),
            "accelerator": self.accelerator,
            "source": asked.source,
            "target": asked.target,
            "moving": asked.moves,
            "hosts": [asdict(host) for host in self.hosts],
            "caught": sum(proof.outcome is Outcome.PASS for proof in tried),
            "of": len(asked.faults),
            "proofs": [proof.to_json() for proof in self.proofs],
            "untried": list(self.untried),
        }


def try_faults(
    asked: Asked, settings: Settings, *, command: str, progress: Progress, open_ground: OpenGround
) -> Proven:
    """Try each fault on a real guest, and keep the record of a run.

    Raises:
        RecordError: there is nowhere to keep the record.
    """
    with ExitStack() as undo:
        undo.enter_context(terminate_like_interrupt())
        record = undo.enter_context(RunRecord.create(settings.reports, command=command, revision=_revision()))
        run = _Run(asked, record, progress, Proven(record.folder))
        undo.callback(events.subscribe(record.hear))
        undo.callback(events.subscribe(run.hear))
        begin = time.monotonic()
        try:
            undo.enter_context(progress)
            run.plan()
            run.try_all(settings, open_ground)
        except KeyboardInterrupt:
            run.answer.interrupted = True
        except LabError as trouble:
            run.answer.troubles.append(trouble)
        finally:
            run.finish(command, time.monotonic() - begin)
        return run.answer


class _Run:
    """A run in progress."""

    def __init__(self, asked: Asked, record: RunRecord, progress: Progress, answer: Proven) -> None:
        self.answer = answer
        self._asked = asked
        self._record = record
        self._progress = progress

    def hear(self, event: events.Event) -> None:
        """Show what is being done."""
        if event.kind == "start":
            self._progress.step(str(event.fields.get("step", "")))

    def plan(self) -> None:
        """Name everything that will be tried."""
        cells = [self._cell(fault, Outcome.ERROR) for fault in self._asked.order]
        self._record.planned(cells)
        self._progress.planned(cells)

    def try_all(self, settings: Settings, open_ground: OpenGround) -> None:
        """Try them; the first trouble ends it, unless it is to go on.

        Raises:
            LabError: there are no hosts.
        """
        asked = self._asked
        with open_ground(settings, asked.source, asked.target, moves=asked.moves) as ground:
            self.answer.accelerator = ground.accelerator
            self._record.accelerator(ground.accelerator)
            ground.plan(Deadline(_PLAN_SECONDS))
            trials = Trials(ground, self._begun, asked.moves)
            with closing(trials.run(asked.faults)) as proofs:
                for proof in proofs:
                    self._note(proof, ground)
                    if proof.outcome is Outcome.ERROR and not asked.keep_going:
                        break

    def _begun(self, fault: Fault | None) -> Path:
        cell = _id(fault)
        self._record.cell_started(cell)
        self._progress.started(cell)
        return self._record.evidence_folder(cell)

    def _note(self, proof: Proof, ground: Ground) -> None:
        for host in ground.hosts():
            if host not in self.answer.hosts:
                self._record.host(host)
        self.answer.hosts = ground.hosts()
        self.answer.proofs.append(proof)
        fault = next((one for one in self._asked.faults if one.name == proof.fault), None)
        cell = self._cell(fault, proof.outcome, proof)
        self._record.verdict(cell)
        self._progress.verdict(cell)

    def _cell(self, fault: Fault | None, outcome: Outcome, proof: Proof | None = None) -> MatrixCell:
        """A fault as a square of a matrix: it passes when it is caught."""
        axes = {
            "invariant": fault.invariant if fault else "control",
            "fault": _name(fault),
            "source": self._asked.source,
            "target": self._asked.target,
            "how": "moving" if self._asked.moves else "in place",
        }
        if proof is None:
            return MatrixCell(_id(fault), _SCENARIO, _SCENARIO, axes, outcome)
        wanted = "nothing red" if proof.control else "red"
        check = Check(axes["invariant"], outcome, wanted, proof.trouble or proof.seen or "nothing red")
        return MatrixCell(
            _id(fault),
            _SCENARIO,
            _SCENARIO,
            axes,
            outcome,
            reason="" if outcome is Outcome.PASS else f"{proof.word}: {check.observed}",
            expected=outcome is not Outcome.FAIL,
            seconds=proof.seconds,
            checks=(check,),
            evidence=self._evidence(fault),
        )

    def _evidence(self, fault: Fault | None) -> tuple[str, ...]:
        files = sorted(path for path in self._record.evidence_folder(_id(fault)).rglob("*") if path.is_file())
        return tuple(path.relative_to(self._record.folder).as_posix() for path in files)

    def finish(self, command: str, seconds: float) -> None:
        """End the record, and write what is to be read of it."""
        answer = self.answer
        done = {proof.fault for proof in answer.proofs}
        names = [_name(fault) for fault in self._asked.order]
        answer.untried = tuple(name for name in names if name not in done)
        try:
            self._record.finish(seconds)
            text = json.dumps(answer.to_json(self._asked, command), ensure_ascii=False, indent=1) + "\n"
            _write(answer.folder / FILE, text)
            write_reports(answer.folder, read_matrix(answer.folder))
        except LabError as trouble:
            answer.troubles.append(trouble)


def _name(fault: Fault | None) -> str:
    return CONTROL if fault is None else fault.name


def _id(fault: Fault | None) -> str:
    return f"{_SCENARIO}::{'control' if fault is None else fault.name}"


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as broken:
        raise RecordError(f"{path}: cannot be written: {broken.strerror}", hint="is there room?") from broken


def _revision() -> str:
    return f"crossroads-lab {__version__}"
