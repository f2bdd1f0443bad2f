"""Outcome, check, finding, verdict: the words in which the lab answers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum

__all__ = ["FINDING_OUTCOMES", "Check", "Finding", "Outcome", "Verdict", "amiss", "worst"]


class Outcome(Enum):
    """What came of a cell, ordered best to worst; :func:`worst` relies on the order."""

    PASS = "pass"  # noqa: S105 - an outcome
    SKIPPED = "skipped"
    UNSUPPORTED = "unsupported"
    FAIL = "fail"
    ERROR = "error"


_SEVERITY = {outcome: rank for rank, outcome in enumerate(Outcome)}


def worst(outcomes: Iterable[Outcome]) -> Outcome:
    """The worst of ``outcomes``. No outcome at all is an error: a cell without a verdict proved nothing."""
    return max(outcomes, key=_SEVERITY.__getitem__, default=Outcome.ERROR)


class Finding(Enum):
    """What an NTFS driver did to a volume (DESIGN.md, outcomes)."""

    CORRECT = "correct"
    READ_ONLY = "read-only"
    REFUSED = "refused"
    DEGRADED = "degraded"
    WRONG_DATA = "wrong-data"
    DAMAGED = "damaged"
    CRASH = "crash"
    HANG = "hang"


FINDING_OUTCOMES: Mapping[Finding, Outcome] = {
    Finding.CORRECT: Outcome.PASS,
    Finding.READ_ONLY: Outcome.UNSUPPORTED,
    Finding.REFUSED: Outcome.UNSUPPORTED,
    Finding.DEGRADED: Outcome.UNSUPPORTED,
    Finding.WRONG_DATA: Outcome.FAIL,
    Finding.DAMAGED: Outcome.FAIL,
    Finding.CRASH: Outcome.FAIL,
    Finding.HANG: Outcome.FAIL,
}
"""The outcome a finding has unless the volume's own state makes another one the right answer."""


@dataclass(frozen=True, slots=True)
class Check:
    """One named question put to a cell, what was expected and what was seen."""

    name: str
    outcome: Outcome
    expected: str = ""
    observed: str = ""

    @classmethod
    def equal(cls, name: str, expected: object, observed: object) -> Check:
        """A check that passes when both sides are equal."""
        outcome = Outcome.PASS if expected == observed else Outcome.FAIL
        return cls(name, outcome, str(expected), str(observed))

    @classmethod
    def that(cls, name: str, holds: bool, *, expected: object, observed: object) -> Check:  # noqa: FBT001 - the truth is the value here
        """A check whose condition the caller has worked out."""
        return cls(name, Outcome.PASS if holds else Outcome.FAIL, str(expected), str(observed))

    def __str__(self) -> str:
        return f"{self.name}: {self.outcome.value} (expected {self.expected}, observed {self.observed})"


def amiss(checks: Iterable[Check], outcome: Outcome) -> tuple[Check, ...]:
    """The checks that made a cell's outcome what it is; none where it ended before they were put."""
    return tuple(check for check in checks if check.outcome is outcome)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Outcome + reason + checks + evidence of one cell.

    ``evidence`` holds paths relative to the run's folder. ``finding`` is set for NTFS cells only.
    """

    outcome: Outcome
    reason: str = ""
    checks: tuple[Check, ...] = ()
    finding: Finding | None = None
    evidence: tuple[str, ...] = ()
    facts: Mapping[str, str] = field(default_factory=dict)
    """More axes learned only by running, such as ``driver_version``."""

    @classmethod
    def of(cls, checks: Iterable[Check], *, reason: str = "") -> Verdict:
        """The verdict that follows from the checks alone; the reason names the ones that broke."""
        held = tuple(checks)
        outcome = worst(check.outcome for check in held)
        if outcome is Outcome.ERROR and not held:
            reason = reason or "no check ran"
        elif outcome is not Outcome.PASS and not reason:
            reason = "; ".join(map(str, amiss(held, outcome)))
        return cls(outcome, reason, held)
