"""How long a guest stood still, by its own heartbeat."""

from __future__ import annotations

from lab.guests.witness import AgentReport, Silent
from lab.verdict import Check

__all__ = ["pause_check"]


def pause_check(report: AgentReport | Silent, limit: float) -> Check:
    """The longest gap of the heartbeat since the look before the move is within ``limit``, and it beats now."""
    name, expected = "guest-pause", f"at most {limit:g} s"
    if isinstance(report, Silent):
        return Check.that(name, holds=False, expected=expected, observed=report.why)
    beats = report.heartbeat
    if isinstance(beats, Silent):
        return Check.that(name, holds=False, expected=expected, observed=beats.why)
    quiet = report.now.boot - beats.last
    longest = max(beats.longest, quiet)
    observed = f"{longest:.3f} s, {beats.ticks} beats"
    if quiet > max(limit, beats.longest):
        observed = f"no beat for {quiet:.1f} s"
    if beats.forgotten:
        # The longest may be among those that were lost.
        return Check.that(name, holds=False, expected=expected, observed=f"{observed}; so many gaps that some are lost")
    return Check.that(name, longest <= limit and beats.ticks > 0, expected=expected, observed=observed)
