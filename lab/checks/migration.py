"""What must hold after a migration: each invariant one named check with what was expected and what was seen."""

from __future__ import annotations

import re
from dataclasses import dataclass

from lab.checks.modules import kept_checks
from lab.guests.observation import Observation
from lab.hypervisor import DomainIdentity, DomainState
from lab.verdict import Check

__all__ = ["Sides", "live_checks", "new_log_lines", "whereabouts_checks"]

_TROUBLE = re.compile(
    r"\bBUG:|\bOops\b|kernel BUG at|general protection fault|WARNING: CPU|blocked for more than \d+ seconds"
    r"|soft lockup|rcu.*stall|Call Trace:|I/O error|EXT4-fs error|Kernel panic"
)
"""Lines that a healthy kernel does not log across a move (lib/bug.c, kernel/hung_task.c, kernel/watchdog.c)."""

_CLOCK_SLACK = 2.0
"""Seconds by which a guest's wall clock may stray from this machine's between two looks; MIGRATION.md steps 2 s."""


@dataclass(frozen=True, slots=True)
class Sides:
    """The state of the domain on both hosts, and its identity before and after."""

    source: DomainState
    target: DomainState
    before: DomainIdentity
    after: DomainIdentity


def whereabouts_checks(source: DomainState, target: DomainState) -> tuple[Check, ...]:
    """The guest runs on the target and is unknown to the source: never on both, never on neither."""
    runs = target in {DomainState.RUNNING, DomainState.BLOCKED}
    return (
        Check.that("running-on-target", runs, expected="running", observed=target.value),
        Check.equal("gone-from-source", DomainState.ABSENT.value, source.value),
    )


def live_checks(before: Observation, after: Observation, sides: Sides) -> tuple[Check, ...]:
    """The invariants of a live migration, from two looks inside and both libvirts."""
    strayed = after.clock_offset - before.clock_offset
    doubt = before.clock_error + after.clock_error
    differences = sides.before.differences(sides.after)
    trouble = [line for line in new_log_lines(before, after) if _TROUBLE.search(line)]
    return (
        *whereabouts_checks(sides.source, sides.target),
        Check.equal("same-boot", before.boot_id, after.boot_id),
        Check.that(
            "uptime-grows",
            after.uptime > before.uptime,
            expected=f"more than {before.uptime:g} s",
            observed=f"{after.uptime:g} s",
        ),
        Check.that(
            "same-process",
            before.sentinel == after.sentinel and not before.sentinel.endswith("/"),
            expected=before.sentinel,
            observed=after.sentinel,
        ),
        Check.that(
            "disk-at-rest",
            before.keepsake == after.keepsake and bool(before.keepsake),
            expected=before.keepsake[:16] or "a file",
            observed=after.keepsake[:16] or "nothing",
        ),
        Check.that(
            "clock",
            abs(strayed) <= _CLOCK_SLACK + doubt,
            expected=f"within {_CLOCK_SLACK:g} s of where it was",
            observed=f"{strayed:+.2f} s, give or take {doubt:.2f}",
        ),
        Check.equal("clocksource", before.clocksource, after.clocksource),
        Check.that("identity", not differences, expected="as before", observed="; ".join(differences) or "as before"),
        kept_checks(before, after),
        Check.that(
            "kernel-log", not trouble, expected="nothing new", observed=" | ".join(trouble[:3]) or "nothing new"
        ),
    )


def new_log_lines(before: Observation, after: Observation) -> tuple[str, ...]:
    """What the kernel has logged since; everything, if it is another boot or the ring has gone round."""
    if before.kernel_log and before.kernel_log[-1] in after.kernel_log:
        last = len(after.kernel_log) - 1 - after.kernel_log[::-1].index(before.kernel_log[-1])
        return after.kernel_log[last + 1 :]
    return after.kernel_log
