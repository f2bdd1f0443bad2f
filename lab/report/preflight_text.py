"""Preflight's answers and its score as text: a glyph and a word each, ASCII where the encoding can do no better."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from lab.preflight import Answer, Decision, Reason, Score
from lab.preflight.score import COLUMNS, ROWS
from lab.report.sign import Sign, plain, printable

__all__ = ["render", "render_score"]

_SIGNS: Mapping[Decision, Sign] = {
    Decision.GO: Sign("✔", "+", "green"),
    Decision.WARN: Sign("!", "!", "bold yellow"),
    Decision.UNTESTED: Sign("?", "?", "yellow"),
    Decision.NO_GO: Sign("✘", "X", "bold red"),
}
_SHOWN = (Decision.NO_GO, Decision.UNTESTED, Decision.WARN, Decision.GO)
"""Gravest first."""


def render(answers: Sequence[Answer], *, encoding: str = "utf-8") -> str:
    """A paragraph a guest, with every reason and its source, and a sentence on all of them."""
    lines = [line for answer in answers for line in (*_paragraph(answer), "")]
    counts = Counter(answer.decision for answer in answers)
    words = ", ".join(f"{counts[decision]} {decision.value}" for decision in _SHOWN if counts[decision])
    guests = "1 guest" if len(answers) == 1 else f"{len(answers)} guests"
    lines.append(f"{guests}: {words}" if answers else "no guest to be moved")
    return _text(lines, encoding)


def _paragraph(answer: Answer) -> Iterator[str]:
    way = f"{answer.how}, {answer.source} to {answer.target}"
    yield f"{_mark(answer.decision)} {answer.guest}: {way}"
    for decision in _SHOWN:
        yield from (f"    {_mark(decision)}  {_reason(reason)}" for reason in answer.of(decision))


def _mark(decision: Decision) -> str:
    return f"{_SIGNS[decision].glyph} {decision.value}"


def _reason(reason: Reason) -> str:
    return f"{reason.rule}: {reason.words}  [{reason.source}]"


def render_score(score: Score, run: str, *, encoding: str = "utf-8") -> str:
    """The confusion table, and by name every go that was none."""
    head = ["preflight said", *(outcome.value for outcome in COLUMNS)]
    rows = [[said.value, *(str(score.table[said, outcome]) for outcome in COLUMNS)] for said in ROWS]
    widths = [max(len(row[at]) for row in (head, *rows)) for at in range(len(head))]
    lines = [f"run {run}: preflight against what {len(score.cells)} moves did", ""]
    lines += ["  ".join(_aligned(row, widths)).rstrip() for row in (head, *rows)]
    lines += ["", f"false go: {len(score.false_go)}"]
    lines += [f"    {_mark(Decision.NO_GO)}  {cell.cell}: {cell.outcome.value}" for cell in score.false_go]
    lines.append(f"no-go, and it worked: {len(score.false_no_go)}")
    lines += [f"    {_mark(Decision.WARN)}  {cell.cell} ({cell.rules or 'no rule'})" for cell in score.false_no_go]
    if score.unasked or score.unjudged:
        lines.append(f"not counted: {score.unasked} moves without an answer, {score.unjudged} without a verdict")
    return _text(lines, encoding)


def _aligned(row: Sequence[str], widths: Sequence[int]) -> Iterator[str]:
    for at, (cell, width) in enumerate(zip(row, widths, strict=True)):
        yield f"{cell:<{width}}" if at == 0 else f"{cell:>{width}}"


def _text(lines: Sequence[str], encoding: str) -> str:
    for sign in _SIGNS.values():
        if printable(sign.glyph, encoding) != sign.glyph:
            lines = [line.replace(sign.glyph, sign.ascii) for line in lines]
    return "".join(f"{printable(plain(line), encoding)}\n" for line in lines)
