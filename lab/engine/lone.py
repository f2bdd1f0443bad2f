"""A run that no session of pytest carries: its record, its progress, and what is written of it at the end."""

from __future__ import annotations

import json
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from lab import __version__, events
from lab.deadline import Deadline
from lab.engine.alarm import terminate_like_interrupt
from lab.errors import LabError
from lab.matrix.model import HostFacts, MatrixCell
from lab.report.progress import Progress
from lab.report.write import write_reports
from lab.run_record import RecordError, RunRecord, read_matrix
from lab.settings import Settings
from lab.stage.proving import Ground

__all__ = ["REVISION", "Answer", "LoneRun", "OpenGround", "run_alone"]

REVISION = f"crossroads-lab {__version__}"

_PLAN_SECONDS = 3600.0
"""For the images and snapshots of a cold cache, as in lab.engine.run."""


class OpenGround(Protocol):
    """Opens a ground, such as :func:`lab.stage.proving.open_ground`."""

    def __call__(self, settings: Settings, source: str, target: str, *, moves: bool) -> AbstractContextManager[Ground]:
        """The ground, up to the end of the ``with``."""
        ...


@dataclass(slots=True)
class Answer:
    """What such a run has to say. ``untried`` are the names that were asked for and not got to."""

    folder: Path
    untried: tuple[str, ...] = ()
    accelerator: str = ""
    hosts: tuple[HostFacts, ...] = ()
    troubles: list[LabError] = field(default_factory=list)
    interrupted: bool = False

    @property
    def unfinished(self) -> bool:
        """Whether something was not found out, for want of time, hosts or patience."""
        return bool(self.untried or self.troubles or self.interrupted)


AnswerT = TypeVar("AnswerT", bound=Answer)


class LoneRun(ABC, Generic[AnswerT]):
    """A run in progress. What is tried, and in which words it is told, is its subclass's."""

    file: ClassVar[str]
    """The name of its document in the run's folder."""

    def __init__(self, record: RunRecord, progress: Progress, answer: AnswerT) -> None:
        self.answer = answer
        self._record = record
        self._progress = progress

    @abstractmethod
    def cells(self) -> Sequence[MatrixCell]:
        """Everything that will be tried."""

    @abstractmethod
    def open(self, settings: Settings, open_ground: OpenGround) -> AbstractContextManager[Ground]:
        """The ground to try it on."""

    @abstractmethod
    def try_all(self, ground: Ground) -> None:
        """Try it; :meth:`begun` before each and :meth:`judged` after it."""

    @abstractmethod
    def untried(self) -> tuple[str, ...]:
        """The names of what was not got to."""

    @abstractmethod
    def document(self, command: str) -> dict[str, Any]:
        """What is written to :attr:`file`."""

    def begun(self, cell: str) -> Path:
        """A trial begins; where its evidence goes."""
        self._record.cell_started(cell)
        self._progress.started(cell)
        return self._record.evidence_folder(cell)

    def judged(self, cell: MatrixCell, ground: Ground) -> None:
        """What came of one."""
        for host in ground.hosts():
            if host not in self.answer.hosts:
                self._record.host(host)
        self.answer.hosts = ground.hosts()
        self._record.verdict(cell)
        self._progress.verdict(cell)

    def evidence(self, cell: str) -> tuple[str, ...]:
        """The files that a trial has left, relative to the run's folder."""
        files = sorted(path for path in self._record.evidence_folder(cell).rglob("*") if path.is_file())
        return tuple(path.relative_to(self._record.folder).as_posix() for path in files)

    def hear(self, event: events.Event) -> None:
        """Show what is being done."""
        if event.kind == "start":
            self._progress.step(str(event.fields.get("step", "")))

    def go(self, settings: Settings, open_ground: OpenGround) -> None:
        """Name everything, bring up the ground, try.

        Raises:
            LabError: there are no hosts.
        """
        cells = self.cells()
        self._record.planned(cells)
        self._progress.planned(cells)
        with self.open(settings, open_ground) as ground:
            self.answer.accelerator = ground.accelerator
            self._record.accelerator(ground.accelerator)
            ground.plan(Deadline(_PLAN_SECONDS))
            self.try_all(ground)

    def finish(self, command: str, seconds: float) -> None:
        """End the record, and write what is to be read of it."""
        self.answer.untried = self.untried()
        try:
            self._record.finish(seconds)
            _write(self.answer.folder / self.file, self.document(command))
            write_reports(self.answer.folder, read_matrix(self.answer.folder))
        except LabError as trouble:
            self.answer.troubles.append(trouble)


def run_alone(
    begin: Callable[[RunRecord], LoneRun[AnswerT]],
    settings: Settings,
    *,
    command: str,
    progress: Progress,
    open_ground: OpenGround,
) -> AnswerT:
    """Carry out what ``begin`` makes of a record; whatever ends it, the record is ended in order.

    Raises:
        RecordError: there is nowhere to keep the record.
    """
    with ExitStack() as undo:
        undo.enter_context(terminate_like_interrupt())
        record = undo.enter_context(RunRecord.create(settings.reports, command=command, revision=REVISION))
        run = begin(record)
        undo.callback(events.subscribe(record.hear))
        undo.callback(events.subscribe(run.hear))
        start = time.monotonic()
        try:
            undo.enter_context(progress)
            run.go(settings, open_ground)
        except KeyboardInterrupt:
            run.answer.interrupted = True
        except LabError as trouble:
            run.answer.troubles.append(trouble)
        finally:
            run.finish(command, time.monotonic() - start)
        return run.answer


def _write(path: Path, document: dict[str, Any]) -> None:
    try:
        path.write_text(json.dumps(document, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    except OSError as broken:
        raise RecordError(f"{path}: cannot be written: {broken.strerror}", hint="is there room?") from broken
