"""Whether a guest's disk holds what was written to it, and whether it still takes more."""

from __future__ import annotations

from lab.guests.observation import Observation
from lab.guests.witness import DiskReport, Silent
from lab.verdict import Check

__all__ = ["at_rest_check", "in_flight_check", "io_check"]

_FEWEST = 3
"""Writes that must have ended after the arrival; one alone may have been in a cache on the way."""


def at_rest_check(before: Observation, after: Observation) -> Check:
    """A file that nobody touches, read from the disk with the caches dropped, is as it was."""
    return Check.that(
        "disk-at-rest",
        before.keepsake == after.keepsake and bool(before.keepsake),
        expected=before.keepsake[:16] or "a file",
        observed=after.keepsake[:16] or "nothing",
    )


def in_flight_check(before: DiskReport | Silent, after: DiskReport | Silent) -> Check:
    """Every region was written anew since the look before the move, and holds the last write that was confirmed."""
    name = "disk-writes-in-flight"
    for report in (before, after):
        if isinstance(report, Silent):
            return Check.that(name, holds=False, expected="a report of the disk", observed=report.why)
    assert isinstance(before, DiskReport)  # noqa: S101 - for mypy, which does not follow the loop
    assert isinstance(after, DiskReport)  # noqa: S101 - likewise
    regions = len(after.numbers)
    expected = f"{regions} regions written meanwhile, each with its last confirmed write"
    moving = max(0, after.number - after.writes_after.count - before.number)
    if after.verified is None:
        observed = "the disk did not let them be read back"
    elif after.verified.wrong:
        observed = f"{after.verified.wrong} wrong: {after.verified.first}"
    elif idle := [str(number) for number, write in enumerate(after.numbers) if write <= before.number]:
        observed = f"not written meanwhile: {len(idle)}, the first is {idle[0]}"
    elif not moving:
        observed = "no write between the look before the move and the arrival"
    else:
        holds = f"all present, {moving} writes before it arrived; read back: {after.verified.how}"
        return Check.that(name, holds=True, expected=expected, observed=holds)
    return Check.that(name, holds=False, expected=expected, observed=observed)


def io_check(report: DiskReport | Silent, limit: float, *, known: int = 0) -> Check:
    """After the arrival writes end, and each in time. ``known`` errors are from before the move.

    A guest whose backend hangs answers ping and runs what is in its memory; its writes only never end.
    """
    name, expected = "io-moves", f"writes end within {limit:g} s each"
    if isinstance(report, Silent):
        return Check.that(name, holds=False, expected=expected, observed=report.why)
    after = report.writes_after
    most = after.most or 0.0
    if len(report.errors) > known:
        observed = f"{len(report.errors) - known} writes failed: {report.errors[known]}"
    elif report.in_flight is not None and report.in_flight > limit:
        observed = f"a write has been under way for {report.in_flight:.1f} s"
    elif most > limit:
        observed = f"a write took {most:.1f} s"
    elif after.count < _FEWEST:
        observed = f"only {after.count} writes since it arrived"
    else:
        good = f"{after.count} writes since it arrived, at most {most:.3f} s each, p95 {after.p95 or 0.0:.3f} s"
        return Check.that(name, holds=True, expected=expected, observed=good)
    return Check.that(name, holds=False, expected=expected, observed=observed)
