"""``lab run``: pytest in this process, with the lab's progress instead of dots and the lab's exit codes."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, TextIO

import pytest

from lab import events
from lab.engine.attempt import INTERRUPTED
from lab.engine.overhear import overheard
from lab.engine.quiet import QuietReporter
from lab.engine.run import VERDICT
from lab.engine.stash import RUN, SUFFIX
from lab.errors import EXIT_LAB, EXIT_PRODUCT, EXIT_USAGE, LabError
from lab.matrix.model import Matrix, MatrixCell
from lab.matrix.tally import exit_code
from lab.report.document import read
from lab.report.progress import Progress
from lab.run_record.places import FILE
from lab.scenario.cell import Cell

__all__ = ["Door", "run"]

# pytest would rewrite the asserts of a plugin's package; in this process that comes too late, and is not needed.
_REWRITE = "ignore:Module already imported so cannot be rewritten:pytest.PytestAssertRewriteWarning"


def run(arguments: Sequence[str], *, terminal: TextIO, command: str, silent: bool = False) -> tuple[int, Door]:
    """Run pytest with these arguments; the exit code of ``lab run``, and what was seen.

    ``terminal`` is where progress goes: not sys.stderr, which pytest captures. ``silent`` prints no matrix.
    """
    door = Door(terminal, command, silent=silent)
    status = pytest.main(["-W", _REWRITE, *arguments], plugins=[door])
    door.close()
    return door.answer(int(status)), door


class Door:
    """A plugin of that session. It sees everything but the steps inside xdist's workers."""

    def __init__(self, terminal: TextIO, command: str, *, silent: bool) -> None:
        self.__name__ = "lab-door"  # what pluggy calls the plugin by
        self.command = command
        self.silent = silent
        self.folder: Path | None = None
        self.matrix: Matrix | None = None
        self.mistakes: list[str] = []
        self._terminal = terminal
        self._progress: Progress | None = None
        self._undo = ExitStack()
        self._interrupted = False
        self._said = ""
        self._failed = False
        self._broken = False

    def close(self) -> None:
        """End the live progress; may be called twice."""
        self._undo.close()
        self._progress = None

    @pytest.hookimpl(trylast=True)  # after pytest's own terminal reporter is there
    def pytest_configure(self, config: pytest.Config) -> None:
        """Silence pytest's own terminal output."""
        QuietReporter.replace(config)

    def pytest_lab_begin(self, config: pytest.Config, folder: Path, cells: Sequence[Cell]) -> None:
        """Show progress from now on."""
        self.folder = folder
        workers = len(getattr(config.option, "tx", None) or ()) or 1
        progress = Progress(file=self._terminal, history=_history(folder), workers=workers)
        self._progress = self._undo.enter_context(progress)
        progress.planned(cells)
        run = config.stash[RUN]
        if run.carried is not None:
            progress.carried(len(run.carried.cells), run.carried.earlier.id, run.notes)
        self._undo.callback(events.subscribe(self._hear))
        if workers > 1:
            self._undo.enter_context(overheard(folder / FILE, self._overhear))

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """A test starts, here or in a worker."""
        if self._progress is not None and SUFFIX in nodeid:
            self._progress.started(nodeid)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """A test went so far."""
        if report.failed and not hasattr(report, "wasxfail"):
            self._failed |= report.when == "call"
            self._broken |= report.when != "call"
        verdict = getattr(report, VERDICT, None)
        if verdict is not None and self._progress is not None:
            self._progress.verdict(MatrixCell.from_json(verdict))

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """A file that cannot be collected; workers of xdist each say it, and it counts once."""
        if report.failed and report.longreprtext not in self.mistakes:
            self.mistakes.append(report.longreprtext)

    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Ctrl-C, SIGTERM; or the session gave up by itself, and said why."""
        if isinstance(excinfo.value, pytest.exit.Exception):
            self._said = str(excinfo.value)
        elif not isinstance(excinfo.value, pytest.Session.Interrupted):
            self._interrupted = True

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self) -> None:
        """Before the fixtures are undone and the summary is printed."""
        self.close()

    def pytest_lab_finish(self, folder: Path, matrix: Matrix) -> None:
        """What came of it."""
        self.folder, self.matrix = folder, matrix

    def answer(self, status: int) -> int:
        """The exit code; why it is not 0 is said on standard error, unless the matrix said it."""
        if self.mistakes:
            _say("\n".join(self.mistakes))
            return EXIT_USAGE
        if self._said:
            _say(self._said)
            return EXIT_USAGE if status == EXIT_USAGE else EXIT_LAB
        if self._interrupted:
            _say(self._interruption())
            return EXIT_LAB
        if status == pytest.ExitCode.USAGE_ERROR:
            return EXIT_USAGE
        if status == pytest.ExitCode.NO_TESTS_COLLECTED:
            _say("error: no cell and no test matches, so nothing was tried")
            return EXIT_USAGE
        return self._outcome(status)

    def _outcome(self, status: int) -> int:
        codes = {exit_code(self.matrix)} if self.matrix is not None else set()
        if self._failed:
            codes.add(EXIT_PRODUCT)
        if self._broken or status not in {pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED}:
            codes.add(EXIT_LAB)
        return EXIT_PRODUCT if EXIT_PRODUCT in codes else max(codes, default=0)

    def _interruption(self) -> str:
        if self.matrix is None or self.folder is None:
            return "interrupted before anything was tried"
        judged = sum(cell.judged and cell.reason != INTERRUPTED for cell in self.matrix.cells)
        said = f"interrupted; {judged} of {len(self.matrix.cells)} cells have verdicts; record at {self.folder}"
        again = f"--continue {shlex.quote(os.path.relpath(self.folder))}"
        return f"{said}\n  hint: the same command with `{again}` runs the rest"

    def _hear(self, event: events.Event) -> None:
        if self._progress is None:
            return
        if event.kind == "making":
            self._making(event.fields)
        elif event.kind == "start":
            self._progress.step(str(event.fields.get("step", "")))
        elif event.kind == "retry":
            self._progress.step(f"again: {event.fields.get('because', '')}")

    def _overhear(self, event: Mapping[str, Any]) -> None:
        if event.get("event") == "making":
            self._making(event)

    def _making(self, fields: Mapping[str, Any]) -> None:
        if self._progress is not None:
            self._progress.counting("making", fields["number"], fields["total"], fields["title"])


def _history(folder: Path) -> Mapping[str, float]:
    """How long each cell took in the run before this one."""
    before = sorted(path for path in folder.parent.glob("*/matrix.json") if path.parent.name < folder.name)
    with suppress(LabError):
        if before:
            return {cell.id: cell.seconds for cell in read(before[-1]).cells if cell.judged}
    return {}


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
