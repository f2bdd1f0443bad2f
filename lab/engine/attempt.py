"""One attempt at a cell: bring up, judge, salvage, undo, and a verdict whatever happens. Knows nothing of pytest."""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path

from lab.deadline import Deadline
from lab.engine.alarm import last_resort
from lab.engine.expectation import weigh
from lab.errors import LabError, MissingToolError, UnsupportedError, UsageError
from lab.known import Accepted
from lab.matrix.model import MatrixCell
from lab.scenario.cell import Cell
from lab.staging import Prepared, Stage
from lab.verdict import Outcome, Verdict

__all__ = ["INTERRUPTED", "Attempt", "verdict_of"]

INTERRUPTED = "interrupted"
"""The reason of the cell that ran when the user ended the session."""

_log = logging.getLogger(__name__)
_MOST_EVIDENCE = 200
"""Files named in a verdict; a folder can hold more."""


def verdict_of(trouble: BaseException) -> Verdict:
    """What an exception says about a cell: AssertionError blames the product, a refusal is one, the rest is ours."""
    match trouble:
        case UnsupportedError():
            return Verdict(Outcome.UNSUPPORTED, f"{trouble.reason}: {trouble.message}")
        case AssertionError():
            return Verdict(Outcome.FAIL, str(trouble) or "an assertion without words")
        case LabError():
            return Verdict(
                Outcome.ERROR, f"{trouble.message}; hint: {trouble.hint}" if trouble.hint else trouble.message
            )
        case KeyboardInterrupt():
            return Verdict(Outcome.ERROR, INTERRUPTED)
        case _:
            return Verdict(Outcome.ERROR, f"a bug in the lab: {type(trouble).__name__}: {trouble}")


@dataclass(slots=True)
class Attempt:
    """An attempt in progress. ``evidence`` is its folder, below ``run_folder``."""

    cell: Cell
    number: int
    evidence: Path
    run_folder: Path
    accepted: Sequence[Accepted] = ()
    today: date = field(default_factory=lambda: datetime.now(UTC).date())
    deadline: Deadline = field(init=False)
    verdict: Verdict | None = None
    trouble: BaseException | None = None
    """What ended the attempt before its checks could, or None."""
    stage: Stage | None = None
    _prepared: Prepared | None = None
    _begun: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.deadline = Deadline(self.cell.limits.cell)

    @contextmanager
    def bring_up(self, stage: Stage) -> Iterator[None]:
        """Prepare the cell; it is undone at the end. What went wrong is in ``verdict`` and ``trouble``, not raised."""
        self.stage = stage
        # Only now: the session's stage came up inside the first cell's set-up, and that is nobody's own time.
        self.deadline, self._begun = Deadline(self.cell.limits.cell), time.monotonic()
        with ExitStack() as undo:
            with self._watched("bring-up"):
                self._prepared = undo.enter_context(stage.prepare(self.cell, self.evidence, self.deadline))
            try:
                yield
            finally:
                self._take_down(undo)

    def judge(self) -> None:
        """Put the checks, unless there is a verdict already."""
        if self.stage is None or self._prepared is None or self.verdict is not None:
            return
        with self._watched("checks"):
            self.verdict = self.stage.judge(self.cell, self._prepared, self.evidence, self.deadline)
            if self.verdict.outcome not in {Outcome.PASS, Outcome.SKIPPED}:
                self._salvage()

    def end_by(self, trouble: BaseException, verdict: Verdict | None = None) -> None:
        """Something outside the cell ended the attempt: no stage, or an interrupt. A verdict that stands, stands."""
        if self.verdict is None:
            self.verdict, self.trouble = verdict or verdict_of(trouble), trouble

    @property
    def worth_another(self) -> bool:
        """Whether the same again may give a verdict: the lab had trouble that may pass, on a stage that stands."""
        if self.stage is None or self.verdict is None or self.verdict.outcome is not Outcome.ERROR:
            return False
        if isinstance(self.trouble, UsageError | MissingToolError):
            return False
        return self.trouble is None or isinstance(self.trouble, LabError)

    def conclude(self) -> MatrixCell:
        """The attempt as it goes into the record."""
        verdict = self.verdict or Verdict(Outcome.ERROR, "no check ran")
        weighed = weigh(self.cell, verdict, self.accepted, self.today)
        return MatrixCell(
            id=self.cell.id,
            scenario=self.cell.scenario,
            kind=self.cell.kind,
            axes=self._axes(verdict),
            outcome=verdict.outcome,
            finding=verdict.finding.value if verdict.finding else "",
            reason=weighed.reason,
            expected=weighed.expected,
            seconds=time.monotonic() - self._begun,
            attempts=self.number,
            checks=verdict.checks,
            evidence=self._left_behind(verdict),
        )

    def _axes(self, verdict: Verdict) -> Mapping[str, str]:
        learned = self._prepared.facts if self._prepared is not None else {}
        return {**self.cell.axes, **self.cell.facts, **learned, **verdict.facts}

    def _left_behind(self, verdict: Verdict) -> tuple[str, ...]:
        files = sorted(path for path in self.evidence.rglob("*") if path.is_file())
        named = (path.relative_to(self.run_folder).as_posix() for path in files)
        return tuple(dict.fromkeys((*verdict.evidence, *named)))[:_MOST_EVIDENCE]

    @contextmanager
    def _watched(self, what: str) -> Iterator[None]:
        """Turn whatever ends the inside into the verdict. An interrupt goes on, for the session must end as well."""
        try:
            with last_resort(self.cell.limits.cell, f"{self.cell.id}: {what}"):
                yield
        except Exception as trouble:  # noqa: BLE001 - a cell ends in a verdict, whatever happens inside
            self.verdict, self.trouble = verdict_of(trouble), trouble
            if not isinstance(trouble, LabError | AssertionError):
                self._keep_traceback(trouble)
            self._salvage()
        except BaseException as trouble:
            self.end_by(trouble)
            raise

    def _take_down(self, undo: ExitStack) -> None:
        """Undo. Trouble here never hides a failure of the product, but a pass that left a mess behind is none."""
        try:
            undo.close()
        except Exception as trouble:
            _log.warning("%s: taking down failed", self.cell.id, exc_info=True)
            said = f"taking down failed: {verdict_of(trouble).reason}"
            before = self.verdict or Verdict(Outcome.ERROR, "no check ran")
            outcome = before.outcome if before.outcome is Outcome.FAIL else Outcome.ERROR
            reason = "; ".join(part for part in (before.reason or before.outcome.value, said) if part)
            self.verdict = Verdict(outcome, reason, before.checks, before.finding, before.evidence, before.facts)
            raise

    def _keep_traceback(self, trouble: Exception) -> None:
        text = "".join(traceback.format_exception(trouble))
        try:
            (self.evidence / "traceback.txt").write_text(text, encoding="utf-8", errors="backslashreplace")
        except OSError:
            _log.exception("%s: the traceback cannot be kept", self.cell.id)

    def _salvage(self) -> None:
        if self.stage is None:
            return
        try:
            with last_resort(0.0, f"{self.cell.id}: salvage"):
                self.stage.salvage(self.cell, self.evidence)
        except Exception:  # noqa: BLE001 - it must not raise; if it does, the verdict it was to explain still counts
            _log.exception("%s: salvage failed", self.cell.id)
