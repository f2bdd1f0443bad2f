"""Obstacles and what came of them as text: a row each, and in full what did not hold."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lab.checks.setback import Encounter
from lab.report.sign import SIGNS, Sign, duration, plain, printable, stamp
from lab.verdict import Outcome

__all__ = ["obstacles_sentence", "render"]

_UNTRIED = "not tried"


def render(
    encounters: Sequence[Encounter], *, untried: Sequence[str] = (), accelerator: str = "", encoding: str = "utf-8"
) -> str:
    """The table, what did not hold, and a sentence on all of them."""
    rows = [("obstacle", "checks", "outcome", "took"), *(_row(one) for one in encounters)]
    rows += [(name, "", _UNTRIED, "") for name in untried]
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    for one in encounters:
        lines += _explained(one)
    lines += ["", stamp(accelerator), obstacles_sentence(encounters, untried)]
    for sign in SIGNS.values():
        if printable(sign.glyph, encoding) != sign.glyph:
            lines = [line.replace(sign.glyph, sign.ascii) for line in lines]
    return "".join(f"{printable(plain(line), encoding)}\n" for line in lines)


def obstacles_sentence(encounters: Sequence[Encounter], untried: Sequence[str] = ()) -> str:
    """How many cost the guest nothing."""
    passed = sum(one.outcome is Outcome.PASS for one in encounters)
    return f"{passed} of {len(encounters) + len(untried)} obstacles named, survived and left behind"


def _row(one: Encounter) -> tuple[str, str, str, str]:
    held = sum(check.outcome is Outcome.PASS for check in one.checks)
    return one.obstacle, f"{held} of {len(one.checks)}" if one.checks else "", _mark(one.outcome), duration(one.seconds)


def _explained(one: Encounter) -> Iterator[str]:
    if one.outcome is Outcome.PASS:
        return
    yield from ("", f"{_mark(one.outcome)}  {one.obstacle}: {one.does}")
    if one.trouble:
        yield f"    {one.trouble}"
    for check in one.broken:
        yield f"    {check.name}: expected {check.expected}, observed {check.observed}"


def _mark(outcome: Outcome) -> str:
    sign: Sign = SIGNS[outcome]
    return f"{sign.glyph} {outcome.value}"
