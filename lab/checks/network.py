"""How long a guest was silent on its network while it moved, and whether a connection lived through it."""

from __future__ import annotations

from lab.guests.meter import MeterReport
from lab.guests.witness import Silent
from lab.verdict import Check, Outcome

__all__ = ["gap_check", "reachable_check", "tcp_check"]


def gap_check(report: MeterReport | Silent, limit: float) -> Check:
    """The longest silence, by lost numbers and by time, is within ``limit``.

    A meter that slept through it has seen nothing; then the lab is at fault, and not the guest.
    """
    name, expected = "network-gap", f"at most {limit:g} s"
    if isinstance(report, Silent):
        return Check(name, Outcome.ERROR, expected, report.why)
    lost = f"{report.udp.missed} of {report.udp.sent} lost, {report.udp.missed_in_a_row} in a row"
    observed = f"{report.gap:.2f} s ({lost})"
    if report.gap > limit and report.udp.own_silence > report.gap / 2:
        return Check(name, Outcome.ERROR, expected, f"{observed}; the meter slept for {report.udp.own_silence:.2f} s")
    if not report.udp.sent:
        return Check(name, Outcome.ERROR, expected, "nothing was sent")
    return Check.that(name, report.gap <= limit, expected=expected, observed=observed)


def reachable_check(report: MeterReport | Silent) -> Check:
    """The guest answers where it is now."""
    name, expected = "reachable", "answers from the guest"
    if isinstance(report, Silent):
        return Check.that(name, holds=False, expected=expected, observed=report.why)
    answered = report.udp.sent - report.udp.missed
    return Check.that(name, answered > 0, expected=expected, observed=f"{answered} of {report.udp.sent}")


def tcp_check(report: MeterReport | Silent, limit: float) -> Check:
    """One connection lives, loses nothing, brings nothing out of order, and is not stuck at the end."""
    name, expected = "tcp-survives", "one connection, every line echoed in order"
    if isinstance(report, Silent):
        return Check(name, Outcome.ERROR, expected, report.why)
    tcp = report.tcp
    lasting = [silence for silence in tcp.silences if silence.at + silence.seconds >= report.now - report.interval]
    if tcp.ended:
        observed = f"it ended after {tcp.echoed} lines: {tcp.ended}"
    elif tcp.wrong:
        observed = tcp.wrong
    elif not tcp.answers:
        observed = f"nothing came back; {tcp.sent - tcp.echoed} lines are under way"
    elif lasting and lasting[0].seconds > limit:
        observed = f"silent for {lasting[0].seconds:.1f} s; {tcp.sent - tcp.echoed} lines are under way"
    else:
        return Check.that(name, holds=True, expected=expected, observed=f"{tcp.answers} answers meanwhile")
    return Check.that(name, holds=False, expected=expected, observed=observed)
