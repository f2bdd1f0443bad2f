"""What ``lab doctor`` found, as a table in a terminal: never colour alone, ASCII where the encoding has no more."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import TextIO

from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from lab.doctor import Diagnosis, State, well
from lab.report.sign import Sign, plain, printable

__all__ = ["show"]

_SIGNS: Mapping[State, Sign] = {
    State.WELL: Sign("✔", "+", "green"),
    State.NOTE: Sign("·", ".", "dim"),
    State.DOUBTFUL: Sign("!", "!", "bold yellow"),
    State.MISSING: Sign("✘", "X", "bold red"),
}


def show(diagnoses: Sequence[Diagnosis], command: str, *, file: TextIO | None = None, width: int | None = None) -> None:
    """Print them to ``file`` (standard output), what to do about them, and ``command`` on a line to paste."""
    console = Console(file=file or sys.stdout, width=width, highlight=False, emoji=False)
    grid = Grid.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for diagnosis in diagnoses:
        seen = diagnosis.seen + (f"\n{diagnosis.advice}" if diagnosis.advice else "")
        grid.add_row(_mark(diagnosis.state, console.encoding), diagnosis.name, _text(seen, console.encoding))
    console.print(grid)
    console.print()
    console.print(_text(_sentence(diagnoses), console.encoding), style="bold")
    if command:
        # One line, however long: it is there to be pasted.
        console.print(_text(f"  {command}", console.encoding), soft_wrap=True)


def _mark(state: State, encoding: str) -> Text:
    sign = _SIGNS[state]
    glyph = sign.glyph if printable(sign.glyph, encoding) == sign.glyph else sign.ascii
    return Text(f"{glyph} {state.value}", style=sign.style)


def _text(text: str, encoding: str) -> Text:
    return Text(printable(plain(text, keep="\n"), encoding))


def _sentence(diagnoses: Sequence[Diagnosis]) -> str:
    missing = [diagnosis.name for diagnosis in diagnoses if diagnosis.state is State.MISSING]
    if well(diagnoses):
        doubtful = sum(diagnosis.state is State.DOUBTFUL for diagnosis in diagnoses)
        return "This machine has what the lab needs." + (f" {doubtful} warnings above." if doubtful else "")
    return f"The lab cannot work here yet: {', '.join(missing)}."
