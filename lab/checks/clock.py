"""Whether a guest's clocks went on as clocks do."""

from __future__ import annotations

from collections.abc import Sequence

from lab.checks.journey import heartbeat_of
from lab.guests.meter import ClockSample, MeterReport
from lab.guests.observation import Observation
from lab.guests.witness import AgentReport, Silent
from lab.verdict import Check

__all__ = ["clock_check", "clocksource_check", "monotonic_check", "strayed"]

_LATEST = 5
"""Samples, one a second, of which the surest counts."""


def clock_check(stray: float, doubt: float, limit: float) -> Check:
    """The wall clock has strayed from that of an onlooker by no more than ``limit`` and what is not known."""
    return Check.that(
        "clock",
        abs(stray) <= limit + doubt,
        expected=f"within {limit:g} s of where it was",
        observed=f"{stray:+.2f} s, give or take {doubt:.2f}",
    )


def strayed(
    before: Observation, after: Observation, meter_before: MeterReport | Silent, meter: MeterReport | Silent
) -> tuple[float, float]:
    """How far the guest's wall clock strayed while it moved, and how well that is known.

    The meter knows it to a millisecond or so, a shell to a quarter of a second; the surer of the two counts.
    """
    by_shell = (after.clock_offset - before.clock_offset, before.clock_error + after.clock_error)
    if isinstance(meter_before, Silent) or isinstance(meter, Silent):
        return by_shell
    was, now = _surest(meter_before.udp.clocks), _surest(meter.udp.clocks)
    if was is None or now is None:
        return by_shell
    by_meter = (now.offset - was.offset, was.error + now.error)
    return min(by_shell, by_meter, key=lambda found: found[1])


def _surest(samples: Sequence[ClockSample]) -> ClockSample | None:
    return min(samples[-_LATEST:], key=lambda sample: sample.error, default=None)


def monotonic_check(before: AgentReport | Silent, after: AgentReport | Silent) -> Check:
    """CLOCK_MONOTONIC never went backwards."""
    name, expected = "clock-monotonic", "never backwards"
    beats, earlier = heartbeat_of(after), heartbeat_of(before)
    if isinstance(beats, Silent):
        return Check.that(name, holds=False, expected=expected, observed=beats.why)
    known = 0 if isinstance(earlier, Silent) else earlier.backwards
    times = beats.backwards - known
    observed = f"{times} times, at worst by {-beats.backwards_worst:.3f} s" if times else expected
    return Check.that(name, times == 0, expected=expected, observed=observed)


def clocksource_check(before: Observation, after: Observation) -> Check:
    """The kernel has not given up its clocksource for another one."""
    return Check.equal("clocksource", before.clocksource, after.clocksource)
