"""Whether a guest's memory holds what was written to it."""

from __future__ import annotations

from lab.guests.witness import MemoryReport, Silent
from lab.verdict import Check

__all__ = ["memory_check"]

_NAME = "memory-intact"


def memory_check(report: MemoryReport | Silent) -> Check:
    """Every page of the agent's pattern is there, of the generation that was written last.

    Under load a page may be sent before it is written to again; one that then arrives in its older generation is the
    loss this finds, as well as a broken byte.
    """
    if isinstance(report, Silent):
        return Check.that(_NAME, holds=False, expected="a report of the memory", observed=report.why)
    expected = f"{_mib(report.filled)} MiB as written"
    if report.filled < report.wanted:
        expected += f" (all that it could spare of {_mib(report.wanted)})"
    if report.verified is None:
        return Check.that(_NAME, holds=False, expected=expected, observed="it was not compared")
    wrong, of = report.verified.wrong, report.verified.of
    good = f"{of} pages right, {report.written} of them written again since the start"
    bad = f"{wrong} of {of} pages wrong: {report.verified.first}"
    return Check.that(_NAME, wrong == 0 and of > 0, expected=expected, observed=bad if wrong else good)


def _mib(size: int) -> str:
    return f"{size / (1 << 20):g}"
