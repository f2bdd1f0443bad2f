"""Faults and what came of them, as a table in a terminal: a glyph and a word each, ASCII where there is no more."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TextIO

from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from lab.checks.proof import CONTROL, Proof
from lab.report.sign import SIGNS, duration, plain, printable, stamp
from lab.verdict import Outcome

__all__ = ["proofs_sentence", "show"]

_UNTRIED = "not tried"


def show(
    proofs: Sequence[Proof],
    *,
    untried: Sequence[str] = (),
    accelerator: str = "",
    file: TextIO | None = None,
    width: int | None = None,
) -> None:
    """Print them to ``file`` (standard output), what was missed in full, and a sentence on all of them."""
    console = Console(file=file or sys.stdout, width=width, highlight=False, emoji=False)
    encoding = console.encoding
    grid = Grid(show_lines=False, header_style="bold", pad_edge=True)
    for title in ("invariant", "fault", "came of it", "red beside it", "took"):
        grid.add_column(title, overflow="fold", justify="right" if title == "took" else "left")
    for proof in proofs:
        grid.add_row(
            _text(proof.invariant or "control", encoding),
            _text(proof.fault, encoding),
            _mark(proof, encoding),
            _text(", ".join(proof.also), encoding),
            _text(duration(proof.seconds), encoding),
        )
    for name in untried:
        grid.add_row("", _text(name, encoding), _text(_UNTRIED, encoding), "", "")
    console.print(grid)
    for proof in proofs:
        if proof.outcome is not Outcome.PASS:
            console.print()
            console.print(Text.assemble(_mark(proof, encoding), _text(f"  {_title(proof)}", encoding)))
            console.print(_text(f"    {proof.trouble or proof.seen or 'nothing was red'}", encoding))
    console.print()
    console.print(_text(stamp(accelerator), encoding), style="italic")
    console.print(_text(proofs_sentence(proofs, untried), encoding), style="bold")


def proofs_sentence(proofs: Sequence[Proof], untried: Sequence[str] = ()) -> str:
    """How many faults were caught, and whether the control was green."""
    tried = [proof for proof in proofs if not proof.control]
    caught = sum(proof.outcome is Outcome.PASS for proof in tried)
    of = len(tried) + sum(name != CONTROL for name in untried)
    controls = [proof.word for proof in proofs if proof.control]
    control = controls[0] if controls else _UNTRIED
    return f"{caught} of {of} faults caught by the name of their invariant; control: {control}"


def _title(proof: Proof) -> str:
    return "control" if proof.control else f"{proof.invariant}: {proof.fault}, {proof.does}"


def _mark(proof: Proof, encoding: str) -> Text:
    sign = SIGNS[proof.outcome]
    glyph = sign.glyph if printable(sign.glyph, encoding) == sign.glyph else sign.ascii
    return Text(f"{glyph} {proof.word}", style=sign.style)


def _text(text: str, encoding: str) -> Text:
    return Text(printable(plain(text, keep="\n"), encoding))
