"""What can be told of a live migration by two looks inside the guest and both libvirts, without an agent.

:func:`lab.checks.invariants.move_checks` has the whole table.
"""

from __future__ import annotations

from lab.checks.clock import clock_check, clocksource_check
from lab.checks.disk import at_rest_check
from lab.checks.life import boot_checks
from lab.checks.log import kernel_check, new_log_lines
from lab.checks.modules import kept_checks
from lab.checks.whereabouts import Sides, identity_check, whereabouts_checks
from lab.guests.observation import Observation
from lab.verdict import Check

__all__ = ["Sides", "live_checks", "new_log_lines", "whereabouts_checks"]

_CLOCK_SLACK = 2.0
"""Seconds by which a guest's wall clock may stray from this machine's between two looks through a shell."""


def live_checks(before: Observation, after: Observation, sides: Sides) -> tuple[Check, ...]:
    """The invariants of a live migration, from two looks inside and both libvirts."""
    strayed = after.clock_offset - before.clock_offset
    doubt = before.clock_error + after.clock_error
    return (
        *whereabouts_checks(sides.source, sides.target),
        *boot_checks(before, after),
        Check.that(
            "same-process",
            before.sentinel == after.sentinel and not before.sentinel.endswith("/"),
            expected=before.sentinel,
            observed=after.sentinel,
        ),
        at_rest_check(before, after),
        clock_check(strayed, doubt, _CLOCK_SLACK),
        clocksource_check(before, after),
        identity_check(sides),
        kept_checks(before, after),
        kernel_check(before, after),
    )
