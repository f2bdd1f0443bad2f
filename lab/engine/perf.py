"""Drivers timed next to each other: rounds in which they take turns, in one guest a kernel, and the record of that."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from lab import events
from lab.engine.alarm import terminate_like_interrupt
from lab.engine.lone import REVISION
from lab.engine.perf_question import PerfQuestion
from lab.engine.perf_trial import KernelTrial, PerfStage
from lab.errors import EXIT_LAB, EXIT_PRODUCT, LabError
from lab.matrix.model import HostFacts, MatrixCell
from lab.ntfs.perf import Figure, KernelResult, Measure, PerfResult, Stamp, Taken
from lab.report import perf_markdown
from lab.report.perf_text import spoken
from lab.report.progress import Progress
from lab.report.write import write_reports
from lab.run_record import RecordError, RunRecord, read_matrix
from lab.settings import Settings
from lab.verdict import Check, Outcome

__all__ = ["FILE", "PAGE", "OpenPerfStage", "PerfAnswer", "perf"]

FILE, PAGE = "perf.json", "perf.md"
"""What is written beside the record's other files."""

_PATH, _SCENARIO = "ntfs-perf", "ntfs perf"


class OpenPerfStage(Protocol):
    """Opens a stage for drivers to be timed on, such as :func:`lab.stage.perf.open_perf_stage`."""

    def __call__(self, settings: Settings, *, host: str) -> AbstractContextManager[PerfStage]:
        """The stage, up to the end of the ``with``; ``host`` is the Xen below it, or empty."""
        ...


@dataclass(slots=True)
class PerfAnswer:
    """What came of it, also where it was broken off."""

    result: PerfResult
    folder: Path
    troubles: list[LabError] = field(default_factory=list)
    interrupted: bool = False

    @property
    def exit_code(self) -> int:
        """1 when a driver does it wrong, 3 when the lab was in trouble or there is not one figure, else 0."""
        outcomes = {figure.outcome for figure in self.result.figures}
        if Outcome.FAIL in outcomes:
            return EXIT_PRODUCT
        unfinished = self.interrupted or self.troubles or outcomes & {Outcome.ERROR, Outcome.SKIPPED}
        return EXIT_LAB if unfinished or not outcomes else 0


def perf(
    asked: PerfQuestion, settings: Settings, *, command: str, progress: Progress, open_stage: OpenPerfStage
) -> PerfAnswer:
    """Measure, and keep the record of a run; whatever ends it, the record is ended in order.

    Raises:
        RecordError: there is nowhere to keep the record.
    """
    started = datetime.now(UTC)
    with ExitStack() as undo:
        undo.enter_context(terminate_like_interrupt())
        create = RunRecord.create(settings.reports, command=command, revision=REVISION, started=started)
        record = undo.enter_context(create)
        stamp = Stamp(
            record.id, started.isoformat(timespec="seconds"), 0.0, command, REVISION, asked.stage.value, asked.host
        )
        stamp = replace(stamp, rounds=asked.rounds, load=(_load(), 0.0), cpus=os.cpu_count() or 0)
        run = _Run(asked, record, progress, stamp)
        undo.callback(events.subscribe(record.hear))
        undo.callback(events.subscribe(run.hear))
        begun = time.monotonic()
        try:
            undo.enter_context(progress)
            run.plan()
            with open_stage(settings, host=asked.host) as stage:
                run.go(stage)
        except KeyboardInterrupt:
            run.interrupted = True
        except LabError as trouble:
            run.troubles.append(trouble)
        finally:
            answer = run.finish(time.monotonic() - begun)
        return answer


@dataclass(frozen=True, slots=True)
class _Lap:
    """A driver's turn in a round, as progress counts."""

    id: str
    kind: str = "perf"

    def over(self, outcome: Outcome, reason: str, seconds: float) -> MatrixCell:
        expected = outcome is not Outcome.FAIL
        return MatrixCell(self.id, _SCENARIO, self.kind, {}, outcome, reason=reason, expected=expected, seconds=seconds)


class _Run:
    """A run in progress. It hears of what becomes of each kernel's trial (:class:`lab.engine.perf_trial.Observer`)."""

    def __init__(self, asked: PerfQuestion, record: RunRecord, progress: Progress, stamp: Stamp) -> None:
        self.troubles: list[LabError] = []
        self.interrupted = False
        self._asked = asked
        self._record = record
        self._progress = progress
        self._stamp = stamp
        self._trials: list[KernelTrial] = []
        self._hosts: dict[str, HostFacts] = {}
        self._evidence: dict[str, Path] = {}

    def hear(self, event: events.Event) -> None:
        """Show what is being done."""
        if event.kind == "start":
            self._progress.step(str(event.fields.get("step", "")))
        elif event.kind == "repeat on a fresh guest":
            self._progress.step(f"again: {event.fields.get('why', '')}")

    def plan(self) -> None:
        """Name all that will be tried."""
        self._record.planned(
            [
                _cell(
                    self._asked, KernelResult(each.kernel), measure, Figure(measure.name, driver.name, Outcome.SKIPPED)
                )
                for each in self._asked.fields
                for measure in self._asked.measures
                for driver in (*each.entrants, *each.absent)
            ]
        )
        self._progress.planned(
            [
                _lap(each.kernel, number + 1, driver.name)
                for each in self._asked.fields
                for number in range(self._asked.rounds)
                for driver in each.entrants
            ]
        )

    def go(self, stage: PerfStage) -> None:
        """One kernel after the other; trouble with one takes no other with it."""
        self._stamp = replace(self._stamp, accelerator=stage.accelerator, sizes=stage.sizes)
        self._record.accelerator(stage.accelerator)
        for each in self._asked.fields:
            trial = KernelTrial(self._asked, each, stage, self)
            self._trials.append(trial)
            try:
                trial.run()
            finally:
                self._note_hosts(stage)
            if trial.trouble is not None:
                self.troubles.append(trial.trouble)

    @contextmanager
    def lap(self, kernel: str, number: int, driver: str) -> Iterator[Callable[[Outcome, str], None]]:
        """See :class:`lab.engine.perf_trial.Observer`."""
        lap, begun = _lap(kernel, number, driver), time.monotonic()
        self._progress.started(lap.id)

        def told(outcome: Outcome, reason: str) -> None:
            self._progress.verdict(lap.over(outcome, reason, time.monotonic() - begun))

        yield told

    def sample(self, kernel: str, number: int, driver: str, measure: str, found: Taken) -> None:
        """See :class:`lab.engine.perf_trial.Observer`."""
        self._record.append(
            "sample",
            kernel=kernel,
            round=number,
            driver=driver,
            measure=measure,
            outcome=found.outcome.value,
            value=found.value,
            reason=found.reason,
        )

    def evidence(self, kernel: str, driver: str, measure: str) -> Path:
        """See :class:`lab.engine.perf_trial.Observer`."""
        cell = _id(kernel, driver, measure)
        self._evidence[cell] = self._record.evidence_folder(cell)
        return self._evidence[cell]

    def _note_hosts(self, stage: PerfStage) -> None:
        for host in stage.hosts():
            if self._hosts.get(host.name) != host:
                self._hosts[host.name] = host
                self._record.host(host)

    def finish(self, seconds: float) -> PerfAnswer:
        """End the record, write the reports, say what it all comes to."""
        self._stamp = replace(self._stamp, seconds=seconds, load=(self._stamp.load[0], _load()))
        kernels = tuple(trial.result() for trial in self._trials)
        result = PerfResult(self._stamp, self._asked.measures, kernels)
        folder = self._record.folder
        try:
            for kernel in kernels:
                for figure in kernel.figures:
                    measure = next(each for each in result.measures if each.name == figure.measure)
                    self._record.verdict(self._judged(kernel, measure, figure))
            self._record.finish(seconds)
            _write(folder / FILE, json.dumps(result.to_json(), ensure_ascii=False, indent=1) + "\n")
            _write(folder / PAGE, perf_markdown.render(result))
            write_reports(folder, read_matrix(folder))
        except LabError as trouble:
            self.troubles.append(trouble)
        return PerfAnswer(result, folder, self.troubles, self.interrupted)

    def _judged(self, kernel: KernelResult, measure: Measure, figure: Figure) -> MatrixCell:
        cell = _cell(self._asked, kernel, measure, figure)
        folder = self._evidence.get(cell.id)
        files = sorted(path for path in folder.rglob("*") if path.is_file()) if folder else []
        evidence = tuple(path.relative_to(self._record.folder).as_posix() for path in files)
        return replace(cell, evidence=evidence)


def _lap(kernel: str, number: int, driver: str) -> _Lap:
    return _Lap(f"{_PATH}::{kernel} round {number} {driver}")


def _id(kernel: str, driver: str, measure: str) -> str:
    return f"{_PATH}::{driver}-{kernel}-{measure}"


def _cell(asked: PerfQuestion, kernel: KernelResult, measure: Measure, figure: Figure) -> MatrixCell:
    """A figure as a square of a matrix: it passes when there is one."""
    entrant = next((each for each in kernel.entrants if each.name == figure.driver), None)
    axes = {
        "host": asked.host or asked.stage.value,
        "kernel": kernel.release,
        "driver": figure.driver,
        "volume": measure.volume,
        "operation": measure.name,
        **({"driver_version": entrant.version} if entrant and entrant.version else {}),
        **({"kernel_version": kernel.version, "kernel_package": kernel.package} if kernel.version else {}),
    }
    check = Check(measure.name, figure.outcome, "done, and right afterwards", spoken(figure, measure) or figure.reason)
    return MatrixCell(
        _id(kernel.release, figure.driver, measure.name),
        _SCENARIO,
        "ntfs",
        axes,
        figure.outcome,
        finding=figure.finding,
        reason=figure.reason,
        expected=figure.outcome is not Outcome.FAIL,
        checks=(check,),
    )


def _load() -> float:
    """How many wanted a CPU of this machine, over the last minute."""
    return os.getloadavg()[0]


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8", errors="backslashreplace")
    except OSError as broken:
        raise RecordError(f"{path}: cannot be written: {broken.strerror}", hint="is there room?") from broken
