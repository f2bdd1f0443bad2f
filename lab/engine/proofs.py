"""Faults tried in a run of their own: its record, its progress, and ``proofs.json``."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lab.checks.faults import Fault
from lab.checks.proof import CONTROL, Proof
from lab.engine.lone import REVISION, Answer, LoneRun, OpenGround, run_alone
from lab.errors import EXIT_LAB, EXIT_PRODUCT
from lab.matrix.model import MatrixCell
from lab.report.progress import Progress
from lab.run_record import RunRecord
from lab.settings import Settings
from lab.stage.proving import Ground, Trials, rounds
from lab.verdict import Check, Outcome

__all__ = ["FILE", "Asked", "OpenGround", "Proven", "try_faults"]

FILE = "proofs.json"
SCHEMA = "lab.proofs/1"

_SCENARIO = "prove"


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
class Proven(Answer):
    """What came of the faults."""

    proofs: list[Proof] = field(default_factory=list)

    @property
    def exit_code(self) -> int:
        """1 when a fault was missed or the control is red, else 3 when something was not found out, else 0."""
        outcomes = {proof.outcome for proof in self.proofs}
        if Outcome.FAIL in outcomes:
            return EXIT_PRODUCT
        return EXIT_LAB if Outcome.ERROR in outcomes or self.unfinished or not self.proofs else 0

    def to_json(self, asked: Asked, command: str) -> dict[str, Any]:
        """The document of ``proofs.json``."""
        tried = [proof for proof in self.proofs if not proof.control]
        return {
            "schema": SCHEMA,
            "run": self.folder.name,
            "command": command,
            "revision": REVISION,
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

    def begin(record: RunRecord) -> _Run:
        return _Run(asked, record, progress)

    return run_alone(begin, settings, command=command, progress=progress, open_ground=open_ground)


class _Run(LoneRun[Proven]):
    """A run in progress; the first trouble ends it, unless it is to go on."""

    file = FILE

    def __init__(self, asked: Asked, record: RunRecord, progress: Progress) -> None:
        super().__init__(record, progress, Proven(record.folder))
        self._asked = asked

    def cells(self) -> Sequence[MatrixCell]:
        return [self._cell(fault, Outcome.ERROR) for fault in self._asked.order]

    def open(self, settings: Settings, open_ground: OpenGround) -> AbstractContextManager[Ground]:
        asked = self._asked
        return open_ground(settings, asked.source, asked.target, moves=asked.moves)

    def try_all(self, ground: Ground) -> None:
        trials = Trials(ground, self._begun, self._asked.moves)
        with closing(trials.run(self._asked.faults)) as proofs:
            for proof in proofs:
                self.answer.proofs.append(proof)
                fault = next((one for one in self._asked.faults if one.name == proof.fault), None)
                self.judged(self._cell(fault, proof.outcome, proof), ground)
                if proof.outcome is Outcome.ERROR and not self._asked.keep_going:
                    break

    def untried(self) -> tuple[str, ...]:
        done = {proof.fault for proof in self.answer.proofs}
        names = [_name(fault) for fault in self._asked.order]
        return tuple(name for name in names if name not in done)

    def document(self, command: str) -> dict[str, Any]:
        return self.answer.to_json(self._asked, command)

    def _begun(self, fault: Fault | None) -> Path:
        return self.begun(_id(fault))

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
            evidence=self.evidence(_id(fault)),
        )


def _name(fault: Fault | None) -> str:
    return CONTROL if fault is None else fault.name


def _id(fault: Fault | None) -> str:
    return f"{_SCENARIO}::{'control' if fault is None else fault.name}"
