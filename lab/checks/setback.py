"""What must hold of a move that met an obstacle: it fails in time, says why, and costs nobody anything."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lab.errors import LabError
from lab.guests.life import Life
from lab.hosts.traces import Traces, leftovers
from lab.hypervisor import Whereabouts
from lab.verdict import Check, Outcome, worst

__all__ = ["CHECKS", "Encounter", "Onward", "Setback", "setback_checks"]

CHECKS: tuple[tuple[str, str], ...] = (
    ("in-time", "the move ended within its deadline, and the seconds that an abort and a last look may take"),
    ("refused-or-failed", "it did not report success"),
    ("cause-named", "its error, or what both hosts say of it, names the cause"),
    ("lives-once", "the guest lives on exactly one host, in the same boot and with the same agent"),
    ("no-leak", "neither host has anything left of it or lost anything; one that is dead is not asked"),
    ("next-move-works", "with the obstacle gone, a live migration arrives with the guest as it was"),
)
"""Each check, and what it asks."""

_SHOWN = 600


@dataclass(frozen=True, slots=True)
class Onward:
    """The move after it, ``who`` moved, and why it did not work."""

    who: str
    seconds: float
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class Setback:
    """Everything that was seen of a move that met an obstacle.

    ``error`` is empty where it reported success; ``causes`` is what the hosts said of it, and ``named`` the pattern
    that one of both must have. ``home`` is the host that the guest lives on now, ``after`` who it is there, or why
    nothing is known of it. ``unasked`` are hosts that could not be asked for their traces, and why. ``swept`` is what
    the lab had to put away itself.
    """

    guest: str
    error: str
    causes: tuple[str, ...]
    named: re.Pattern[str]
    where: Whereabouts
    home: str
    before: Life
    after: Life | str
    traces: Mapping[str, tuple[Traces, Traces]]
    seconds: float
    limit: float
    unasked: Mapping[str, str] = field(default_factory=dict)
    swept: tuple[str, ...] = ()

    @property
    def left(self) -> tuple[str, ...]:
        """What the hosts that were asked have left of it, or lost."""
        return tuple(
            f"{host}: {one}"
            for host, (before, after) in sorted(self.traces.items())
            for one in leftovers(before, after, guest=self.guest, home=host == self.home)
        )

    def to_json(self) -> dict[str, Any]:
        """What is kept as evidence."""
        return {
            "guest": self.guest,
            "error": self.error,
            "causes": list(self.causes),
            "named": self.named.pattern,
            "where": str(self.where),
            "home": self.home,
            "before": str(self.before),
            "after": str(self.after),
            "left": list(self.left),
            "unasked": dict(self.unasked),
            "swept": list(self.swept),
            "seconds": round(self.seconds, 3),
            "limit": self.limit,
        }


def setback_checks(seen: Setback, onward: Onward) -> tuple[Check, ...]:
    """All of :data:`CHECKS`, in their order."""
    return (
        Check.that(
            "in-time",
            seen.seconds <= seen.limit,
            expected=f"within {seen.limit:g} s",
            observed=f"after {seen.seconds:.1f} s",
        ),
        Check.that("refused-or-failed", bool(seen.error), expected="an error", observed=seen.error or "success"),
        _cause_check(seen),
        _life_check(seen),
        _leak_check(seen),
        Check.that(
            "next-move-works",
            not onward.trouble,
            expected="it arrives as it was",
            observed=f"{onward.who}: {onward.trouble or f'in {onward.seconds:.1f} s'}",
        ),
    )


def _cause_check(seen: Setback) -> Check:
    said = tuple(line for line in (seen.error, *seen.causes) if line)
    naming = next((line for line in said if seen.named.search(line)), "")
    observed = naming or "; ".join(said) or "nothing was said"
    return Check.that("cause-named", bool(naming), expected=seen.named.pattern, observed=observed[:_SHOWN])


def _life_check(seen: Setback) -> Check:
    once = seen.where.lives_once is True
    lost = seen.after if isinstance(seen.after, str) else seen.before.lost(seen.after)
    observed = "; ".join(words for words in (str(seen.where), lost) if words)
    return Check.that("lives-once", once and not lost, expected="on one host, as it was", observed=observed)


def _leak_check(seen: Setback) -> Check:
    left = seen.left
    notes = [*(f"{host} was not asked: {why}" for host, why in sorted(seen.unasked.items())), *seen.swept]
    observed = "; ".join((", ".join(left) or "nothing", *notes))
    if not seen.traces:
        return Check("no-leak", Outcome.SKIPPED, "nothing", observed)
    return Check.that("no-leak", not left, expected="nothing", observed=observed)


@dataclass(frozen=True, slots=True)
class Encounter:
    """One obstacle and what came of it. ``trouble`` is why it came to nothing."""

    obstacle: str
    does: str
    checks: tuple[Check, ...] = ()
    seconds: float = 0.0
    trouble: str = ""

    @classmethod
    def unmet(cls, obstacle: str, does: str, trouble: LabError, seconds: float) -> Encounter:
        """That it came to nothing."""
        return cls(obstacle, does, seconds=seconds, trouble=trouble.message)

    @property
    def outcome(self) -> Outcome:
        """The worst of its checks; a check that could not be asked of a dead host takes nothing from the others."""
        if self.trouble:
            return Outcome.ERROR
        return worst(check.outcome for check in self.checks if check.outcome is not Outcome.SKIPPED)

    @property
    def broken(self) -> tuple[Check, ...]:
        """The checks that did not hold."""
        return tuple(check for check in self.checks if check.outcome not in {Outcome.PASS, Outcome.SKIPPED})

    @property
    def reason(self) -> str:
        """Why it did not pass, or nothing."""
        return self.trouble or "; ".join(f"{check.name}: {check.observed}" for check in self.broken)

    def to_json(self) -> dict[str, Any]:
        """One entry of ``obstacles.json``."""
        checks = [
            {"name": one.name, "outcome": one.outcome.value, "expected": one.expected, "observed": one.observed}
            for one in self.checks
        ]
        return {
            "obstacle": self.obstacle,
            "does": self.does,
            "outcome": self.outcome.value,
            "checks": checks,
            "seconds": round(self.seconds, 3),
            "trouble": self.trouble,
        }
