"""A run inside a session of pytest: runs the cells' items, records their verdicts, writes the reports at the end."""

from __future__ import annotations

import sys
import time
from collections.abc import Generator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace

import pytest
from _pytest.runner import call_and_report

from lab import events
from lab.deadline import Deadline
from lab.engine import allure
from lab.engine.attempt import Attempt
from lab.engine.carried import Carried
from lab.engine.configured import accelerator_of, settings_of
from lab.engine.expectation import Answer, answer
from lab.engine.items import CellItem
from lab.engine.stash import ATTEMPT, CONTINUED
from lab.errors import LabError
from lab.known import Accepted, outlived
from lab.matrix.model import HostFacts, Matrix, MatrixCell
from lab.run_record import RunRecord, read_matrix
from lab.scenario.inventory import Inventory
from lab.staging import Stage
from lab.verdict import Outcome, Verdict

__all__ = ["VERDICT", "LabRun"]

PLAN_SECONDS = 3600.0
"""For building every image and snapshot of a run; a full cold build of the lab's own scenarios takes 10 minutes."""

VERDICT = "lab_verdict"
"""The attribute of a cell's last report that holds its verdict as JSON; it travels from xdist's workers."""


@dataclass(slots=True, eq=False)  # pytest's plugin manager wants identity
class LabRun:
    """A plugin of one process. ``owner`` says whether it made the record, and so ends it: xdist's workers did not."""

    config: pytest.Config
    record: RunRecord
    owner: bool
    retries: int
    accepted: Sequence[Accepted] = ()
    undo: ExitStack = field(default_factory=ExitStack)
    """Ends with the session: signal handlers, listeners, files."""
    matrix: Matrix | None = None
    trouble: LabError | None = None
    """What kept the reports from being written."""
    notes: list[str] = field(default_factory=list)
    carried: Carried | None = None
    """What was taken over from another run, in the process that owns the record."""
    refused: bool = False
    """Whether the run that this one continues turned out to be none that it may."""
    _begun: float = field(default_factory=time.monotonic)
    _hosts: dict[str, HostFacts] = field(default_factory=dict)

    def stage_opened(self, stage: Stage, items: Sequence[pytest.Item]) -> None:
        """A stage stands; what its cells need is made ahead, in a time of its own.

        Raises:
            Exit: what runs its hosts must not go on with the run that this one continues.
        """
        cells = [item.cell for item in items if isinstance(item, CellItem)]
        runs_them = accelerator_of(cells, stage, Inventory.of(settings_of(self.config).hosts))
        if CONTINUED in self.config.stash:
            self.config.stash[CONTINUED].admit(runs_them)
        self.record.accelerator(runs_them)
        stage.plan(cells, Deadline(PLAN_SECONDS))

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
        """Run a cell, again if the lab was at fault; reports are told once it has its verdict."""
        if not isinstance(item, CellItem):
            return None
        item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        allure.describe(item.config, item.cell)
        reports, verdict = self._attempts(item, nextitem)
        allure.attach(item.config, [self.record.folder / path for path in verdict.evidence])
        for report in reports:
            report.user_properties.extend(_properties(verdict))
        setattr(reports[-1], VERDICT, verdict.to_json())
        for report in reports:
            item.ihook.pytest_runtest_logreport(report=report)
        item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        return True

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> None:
        """Turn what ended a cell outside its own attempt into its verdict: no stage, a fixture of the user's."""
        if isinstance(item, CellItem) and call.excinfo is not None:
            ending = call.excinfo.value
            skipped = isinstance(ending, pytest.skip.Exception)
            item.stash[ATTEMPT].end_by(ending, Verdict(Outcome.SKIPPED, str(ending)) if skipped else None)

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None, object, object]:
        """Once the fixtures are undone: end the record, write the reports."""
        try:
            result = yield
        finally:
            self.undo.close()
            if self.owner:
                self._finish(session)
            else:
                self.record.close()
        return result

    def pytest_terminal_summary(self) -> None:
        """The matrix, and where its reports lie."""
        silent = self.refused or getattr(self.config.pluginmanager.get_plugin("lab-door"), "silent", False)
        if self.matrix is not None and not silent:
            from lab.report.terminal import show  # noqa: PLC0415 - rich is not for workers

            sys.stdout.write("\n")
            show(self.matrix, folder=self.record.folder)
            for note in self.notes:
                sys.stdout.write(f"note: {note}\n")
            sys.stdout.write(f"record: {self.record.folder}\n")
            if self.trouble is None:
                sys.stdout.write(f"report: {self.record.folder / 'matrix.html'}\n")
        if self.trouble is not None:
            sys.stdout.write(f"error: {self.trouble}\n")

    def _attempts(self, item: CellItem, nextitem: pytest.Item | None) -> tuple[list[pytest.TestReport], MatrixCell]:
        """The reports of the last attempt, and the verdict that counts."""
        first: MatrixCell | None = None
        for number in range(1, self.retries + 2):
            evidence = self.record.evidence_folder(item.cell.id, number)
            attempt = Attempt(item.cell, number, evidence, self.record.folder, self.accepted)
            item.stash[ATTEMPT] = attempt
            self.record.cell_started(item.cell.id, attempt=number)
            try:
                reports, again = self._phases(item, nextitem, attempt, last=number > self.retries)
            except BaseException as trouble:
                given_up = Verdict(Outcome.ERROR, trouble.msg) if isinstance(trouble, pytest.exit.Exception) else None
                attempt.end_by(trouble, given_up)
                self._conclude(attempt)
                raise
            verdict = self._conclude(attempt)
            if not again:
                break
            first = first or verdict
            events.emit("retry", id=item.cell.id, attempt=number + 1, because=verdict.reason)
        return reports, _merged(first, verdict)

    def _phases(
        self, item: CellItem, nextitem: pytest.Item | None, attempt: Attempt, *, last: bool
    ) -> tuple[list[pytest.TestReport], bool]:
        """Like pytest's own runtestprotocol, which cannot wait for the outcome before it decides what to tear down."""
        if not item._request:  # noqa: SLF001 - as in runtestprotocol: it is gone after an earlier attempt
            item._initrequest()  # noqa: SLF001 - likewise
        try:
            reports = [call_and_report(item, "setup", log=False)]
            if reports[0].passed:
                reports.append(call_and_report(item, "call", log=False))
            again = not last and attempt.worth_another
            after: pytest.Item | None = nextitem
            if item.session.shouldfail or item.session.shouldstop:
                after = None
            if after is None and item.config.getoption("lab_keep"):
                # The stage stays up for a look, and whoever looks wants this cell's verdict, too, before that.
                after = item.session  # type: ignore[assignment] # as below
            # Before another attempt only what is the item's own goes: its file's chain of nodes is still needed.
            after = item.parent if again else after  # type: ignore[assignment] # teardown_exact only asks for its chain
            reports.append(call_and_report(item, "teardown", log=False, nextitem=after))
        finally:
            item._request = False  # type: ignore[assignment] # noqa: SLF001 - as in runtestprotocol
            item.funcargs = None  # type: ignore[assignment] # likewise
        return reports, again

    def _conclude(self, attempt: Attempt) -> MatrixCell:
        verdict = attempt.conclude()
        if attempt.stage is not None:
            for host in attempt.stage.hosts():
                if self._hosts.get(host.name) != host:
                    self._hosts[host.name] = host
                    self.record.host(host)
        self.record.verdict(verdict)
        return verdict

    def _finish(self, session: pytest.Session) -> None:
        from lab.report.write import write_reports  # noqa: PLC0415 - jinja2 is not for workers

        try:
            self.record.finish(time.monotonic() - self._begun)
            self.matrix = read_matrix(self.record.folder)
            write_reports(self.record.folder, self.matrix)
        except LabError as trouble:
            self.trouble = trouble
            session.exitstatus = session.exitstatus or pytest.ExitCode.INTERNAL_ERROR
        if self.matrix is not None:
            self.notes += outlived(self.matrix, self.accepted)
            self._answer_for_carried(session)
            self.config.hook.pytest_lab_finish(config=self.config, folder=self.record.folder, matrix=self.matrix)

    def _answer_for_carried(self, session: pytest.Session) -> None:
        """The exit status is that of all cells, also where none was left to be run."""
        if self.carried is None or session.exitstatus not in {pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED}:
            return
        failed = any(answer(cell) is Answer.FAIL for cell in self.carried.cells)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED if failed else pytest.ExitCode.OK


def _properties(verdict: MatrixCell) -> list[tuple[str, object]]:
    """What JUnit shows of a cell beside its result."""
    said: dict[str, object] = {"outcome": verdict.outcome.value, "attempts": verdict.attempts}
    said |= {"finding": verdict.finding} if verdict.finding else {}
    return [*said.items(), *((f"axis.{axis}", label) for axis, label in verdict.axes.items())]


def _merged(first: MatrixCell | None, verdict: MatrixCell) -> MatrixCell:
    """As :func:`lab.run_record.read_matrix` will read it, for the live progress."""
    if first is None or first is verdict:
        return verdict
    then = f"; then: {verdict.reason}" if verdict.reason else ""
    return replace(verdict, reason=f"flaky: attempt 1 was an error: {first.reason}{then}")
