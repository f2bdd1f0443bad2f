"""Whether a guest that moved has lived on: the same boot, the same processes."""

from __future__ import annotations

from lab.guests.observation import Observation
from lab.guests.witness import AgentReport, Silent
from lab.verdict import Check

__all__ = ["boot_checks", "new_boot_check", "process_check"]


def boot_checks(before: Observation, after: Observation) -> tuple[Check, ...]:
    """The same boot, and its time goes on."""
    return (
        Check.equal("same-boot", before.boot_id, after.boot_id),
        Check.that(
            "uptime-grows",
            after.uptime > before.uptime,
            expected=f"more than {before.uptime:g} s",
            observed=f"{after.uptime:g} s",
        ),
    )


def new_boot_check(before: Observation, after: Observation) -> Check:
    """After a cold move it is another boot; if not, somebody moved it while it ran."""
    return Check.that(
        "new-boot",
        bool(after.boot_id) and before.boot_id != after.boot_id,
        expected=f"another boot than {before.boot_id}",
        observed=after.boot_id or "none",
    )


def process_check(before: AgentReport | Silent, after: AgentReport | Silent) -> Check:
    """The agent's processes are the very same, by pid and start time, and all of them live."""
    name = "same-process"
    if isinstance(before, Silent):
        return Check.that(name, holds=False, expected="a report before the move", observed=before.why)
    expected = f"{len(before.processes)} processes as before"
    if isinstance(after, Silent):
        return Check.that(name, holds=False, expected=expected, observed=after.why)
    lost = [
        f"{who}: {was}, now {after.processes.get(who, 'unknown')}"
        for who, was in before.processes.items()
        if after.processes.get(who) != was or not was.alive
    ]
    return Check.that(
        name, not lost and bool(before.processes), expected=expected, observed="; ".join(lost) or expected
    )
