"""Whether a guest's clocks went on as clocks do."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from lab.checks.journey import heartbeat_of
from lab.guests.meter import ClockSample, MeterReport
from lab.guests.observation import Observation
from lab.guests.witness import AgentReport, Silent
from lab.verdict import Check

__all__ = ["clock_check", "clocksource_check", "lost_at_boot", "monotonic_check", "strayed"]

_LATEST = 5
"""Samples, one a second, of which the surest counts."""


def clock_check(stray: float, doubt: float, limit: float, *, lost: float = 0.0) -> Check:
    """The wall clock has strayed from that of an onlooker by no more than ``limit`` and what is not known; it may be
    late by the seconds that are known to be ``lost`` besides, as by :func:`lost_at_boot`.
    """
    explained = (
        f"; up to {lost:.2f} s behind were lost while its kernel booted" if lost and stray < -limit - doubt else ""
    )
    return Check.that(
        "clock",
        -limit - doubt - lost <= stray <= limit + doubt,
        expected=f"within {limit:g} s of where it was",
        observed=f"{stray:+.2f} s, give or take {doubt:.2f}{explained}",
    )


def lost_at_boot(log: Iterable[str]) -> float:
    """Seconds by which a kernel's clocks fell behind while it booted, by its own log.

    Until its clocksource is in use a kernel counts ticks, and those that a busy host keeps from it are lost: so the
    guest is late from its first second on, which no move is to blame for. Once it says how far CLOCK_MONOTONIC and the
    CPU's clock have come (kernel/sched/clock.c, ``__set_sched_clock_stable``). A PVH guest's CPU clock begins up to a
    second earlier, so that this is the most that can have been lost. 0 where the log does not have it.
    """
    found = (_STABLE.search(line) for line in log)
    return max((max(0, int(f["cpu"]) - int(f["monotonic"])) / 1e9 for f in found if f), default=0.0)


_STABLE = re.compile(r"sched_clock: Marking stable \((?P<monotonic>\d+), -?\d+\)->\((?P<cpu>\d+), -?\d+\)")


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
