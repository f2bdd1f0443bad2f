"""The matrix in a terminal: with or without colour, 80 columns or more, ASCII where the encoding can do no better."""

from __future__ import annotations

import io
import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

from rich.cells import cell_len
from rich.console import Console
from rich.padding import Padding
from rich.table import Table as Grid
from rich.text import Text

from lab.matrix.model import Matrix, MatrixCell
from lab.matrix.pivot import NOT_TRIED, Square, Table, Values, tables
from lab.matrix.tally import borrowed, sentence
from lab.report.downtime import downtimes, spoken
from lab.report.sign import (
    BLANK,
    FLAKY,
    SIGNS,
    Sign,
    broken,
    duration,
    header,
    noteworthy,
    plain,
    printable,
    skips,
    stamp,
    summary,
    words,
)
from lab.verdict import Outcome

__all__ = ["show", "svg"]

_FRAME = 4  # columns that the frame and padding of the row headers take


def show(  # noqa: PLR0913 - what to show, and where and how
    matrix: Matrix,
    *,
    folder: Path = Path(),
    file: TextIO | None = None,
    width: int | None = None,
    rows: Values = (),
    columns: Values = (),
) -> None:
    """Print the matrix to ``file`` (standard output). ``NO_COLOR`` and a pipe both mean: without colour.

    ``folder`` is that of the run; it stands before the names of evidence, so that they can be pasted.

    Raises:
        UnknownNameError: ``rows`` or ``columns`` name an axis that no scenario has.
    """
    console = Console(file=file or sys.stdout, width=width, highlight=False, emoji=False)
    _Page(console, folder).print(matrix, rows, columns)


def svg(matrix: Matrix, *, width: int = 100, title: str = "lab matrix") -> str:
    """A picture of what :func:`show` prints."""
    console = Console(file=io.StringIO(), width=width, record=True, force_terminal=True, color_system="truecolor")
    _Page(console, Path()).print(matrix, (), ())
    # rich names web fonts; a picture that is looked at must ask nobody for anything.
    return re.sub(r"@font-face\s*{[^}]*}\s*", "", console.export_svg(title=title, unique_id="lab"))


class _Page:
    """A console and what its encoding can show. Evidence lies below ``folder``."""

    def __init__(self, console: Console, folder: Path) -> None:
        self._console = console
        self._folder = folder
        folder = folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder
        self._below = "" if folder == Path() else f"{folder}/"
        encoding = console.encoding
        self._encoding = encoding
        signs = "".join(sign.glyph for sign in (*SIGNS.values(), FLAKY)) + "→·"
        self._ascii = printable(signs, encoding) != signs

    def print(self, matrix: Matrix, rows: Values, columns: Values) -> None:
        pivoted = tables(matrix, rows, columns)
        self._header(matrix)
        for table in pivoted:
            self._table(table)
        if any(not square.cells for table in pivoted for row in table.squares for square in row):
            self._line(self._mark(BLANK), self._text(f" {NOT_TRIED}", "dim"))
        for cell in noteworthy(matrix):
            self._detail(cell)
        measured = downtimes(self._folder, matrix)
        for cell in matrix.cells:
            if cell.id in measured:
                self._console.print()
                self._line(self._text(f"downtime of {cell.name}: {spoken(measured[cell.id])}"))
        for reason, number in skips(matrix).items():
            self._console.print()
            self._line(self._mark(SIGNS[Outcome.SKIPPED]), self._text(f" {number} skipped: {reason}"))
        self._console.print()
        self._line(self._text(sentence(matrix), "bold"))

    def _header(self, matrix: Matrix) -> None:
        run = matrix.run
        self._line(self._text(f"run {run.id}", "bold"), self._text(f"  {run.started}, took {duration(run.seconds)}"))
        self._line(self._text(run.command, "dim"))
        for host in run.hosts:
            facts = f"  Xen {host.xen}, libvirt {host.libvirt}, kernel {host.kernel} ({host.kind})"
            self._line(self._text(host.name, "cyan"), self._text(facts))
        self._line(self._text(stamp(run.accelerator), "italic"))
        if others := borrowed(matrix):
            self._line(self._text(others, "dim"))

    def _table(self, table: Table) -> None:
        self._console.print()
        title = self._text(table.scenario, "bold")
        dot = " - " if self._ascii else " · "
        constants = ", ".join(f"{axis} {value}" for axis, value in table.constants.items())
        self._line(title, self._text(dot + table.kind + (dot + constants if constants else ""), "dim"))
        for start, stop in self._spans(table):
            self._console.print(self._grid(table, start, stop))

    def _spans(self, table: Table) -> Iterator[tuple[int, int]]:
        """Columns that fit side by side; what does not fit becomes a further table below."""
        room = self._console.width - self._row_width(table) - _FRAME
        start = used = 0
        for at, needed in enumerate(self._column_widths(table)):
            if used and used + needed > room:
                yield start, at
                start, used = at, 0
            used += needed
        yield start, len(table.columns)

    def _column_widths(self, table: Table) -> list[int]:
        shown = [[self._square(square).plain.split("\n") for square in row] for row in table.squares]
        widths = []
        for at, column in enumerate(table.columns):
            texts = [line for row in shown for line in row[at]] + [plain(value) or "none" for value in column]
            widths.append(min(28, max(map(cell_len, texts), default=1)) + 3)
        return widths

    def _row_width(self, table: Table) -> int:
        """As wide as the names, but no wider than a third of the terminal unless the columns leave more."""
        down = table.layout.rows
        widest = max(cell_len(self._text(self._name(down, row)).plain) for row in (*table.rows, down))
        left = self._console.width - _FRAME - sum(self._column_widths(table))
        return min(widest, max(16, self._console.width // 3, left))

    def _grid(self, table: Table, start: int, stop: int) -> Grid:
        grid = Grid(show_lines=False, header_style="bold", pad_edge=True)
        down = self._text(self._name(table.layout.rows, table.layout.rows), "dim")
        grid.add_column(down, width=self._row_width(table), overflow="fold")
        for column in table.columns[start:stop]:
            grid.add_column(self._text("\n".join(plain(value) or "none" for value in column)), overflow="fold")
        for row, squares in zip(table.rows, table.squares, strict=True):
            grid.add_row(
                self._text(self._name(table.layout.rows, row)),
                *(self._square(square) for square in squares[start:stop]),
            )
        return grid

    def _square(self, square: Square) -> Text:
        if not square.cells:
            return self._mark(BLANK)
        if len(square.cells) == 1:
            return self._verdict(square.cells[0], "\n")
        lines = [
            self._mark(SIGNS[outcome]).append(f" {number} {outcome.value}") for outcome, number in summary(square.cells)
        ]
        flaky = sum(cell.flaky for cell in square.cells)
        return Text("\n").join(lines + [self._mark(FLAKY).append(f" {flaky} flaky")] * bool(flaky))

    def _verdict(self, cell: MatrixCell, separator: str) -> Text:
        """Glyph and outcome, then whatever more there is to say: on lines of its own in a square, to keep it narrow."""
        outcome, *more = words(cell).split(" ")
        indent = "" if separator == " " else "  "
        parts = [self._mark(SIGNS[cell.outcome]).append(f" {outcome}")]
        parts += [self._text(f"{indent}{word}", SIGNS[cell.outcome].style) for word in more]
        parts += [self._mark(FLAKY).append(" flaky")] * cell.flaky
        return Text(separator).join(parts)

    def _mark(self, sign: Sign) -> Text:
        return Text(sign.ascii if self._ascii else sign.glyph, style=sign.style)

    def _detail(self, cell: MatrixCell) -> None:
        self._console.print()
        origin = [self._text(f"  from run {cell.origin}", "dim")] if cell.origin else []
        took = self._text(f"  {duration(cell.seconds)}")
        self._line(self._verdict(cell, " "), self._text(f"  {cell.name}", "bold"), took, *origin)
        quoted = [cell.reason] if cell.reason else []
        quoted += [f"{c.name}: expected {c.expected}, observed {c.observed}" for c in broken(cell)]
        for line in quoted:
            self._console.print(Padding(self._text(line), (0, 0, 0, 4), expand=False), overflow="fold")
        for place in _places(cell.evidence):
            named = self._text(f"evidence: {self._below}{place}", "dim")
            self._console.print(Padding(named, (0, 0, 0, 4), expand=False), overflow="fold")

    def _name(self, axes: Values, values: Values) -> str:
        return header(axes, values, arrow="->", dot="/") if self._ascii else header(axes, values)

    def _text(self, text: str, style: str = "") -> Text:
        """Never markup, never an escape sequence of somebody else's."""
        return Text(printable(plain(text, keep="\n"), self._encoding), style=style)

    def _line(self, *parts: Text) -> None:
        self._console.print(Text.assemble(*parts), soft_wrap=False, overflow="fold")


def _places(evidence: Sequence[str]) -> Iterator[str]:
    """The folders of evidence with the number of their files, ``evidence/CELL/ (12 files)``; a lone file by its name.

    A cell has as many of them as it had attempts, or one more for what it shares with others.
    """
    folders = {path: "/".join(path.split("/")[:2]) for path in evidence}
    counts = Counter(folders.values())
    for folder, number in counts.items():
        yield f"{folder}/ ({number} files)" if number > 1 else next(p for p in evidence if folders[p] == folder)
