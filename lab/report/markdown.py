"""``matrix.md``: the matrix where Markdown is read: merge requests, wikis, mail."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from lab.matrix.model import Matrix, MatrixCell
from lab.matrix.pivot import NOT_TRIED, Square, Table, tables
from lab.matrix.tally import borrowed, sentence
from lab.report.downtime import NOTHING, Measured, spoken
from lab.report.sign import (
    BLANK,
    FLAKY,
    SIGNS,
    broken,
    duration,
    header,
    href,
    noteworthy,
    plain,
    skips,
    stamp,
    summary,
    words,
)

__all__ = ["render"]


def render(
    matrix: Matrix,
    rows: tuple[str, ...] = (),
    columns: tuple[str, ...] = (),
    *,
    measured: Mapping[str, Measured] = NOTHING,
) -> str:
    """The whole report: header, one table a scenario, downtimes, what is not a plain pass, the count."""
    parts = ["\n".join(_header(matrix))]
    pivoted = tables(matrix, rows, columns)
    parts += ["\n".join(_table(table)) for table in pivoted]
    if any(not square.cells for table in pivoted for row in table.squares for square in row):
        parts.append(f"{BLANK.glyph} {NOT_TRIED}")
    figures = [f"- {_code(c.name)}: {_escaped(spoken(measured[c.id]))}" for c in matrix.cells if c.id in measured]
    if figures:
        parts.append("## Downtime\n\n" + "\n".join(figures))
    details = list(_details(matrix))
    if details:
        parts.append("## What is not a plain pass\n\n" + "\n".join(details))
    parts.append(f"**{sentence(matrix)}**")
    return "\n\n".join(parts) + "\n"


def _header(matrix: Matrix) -> Iterator[str]:
    run = matrix.run
    yield f"# Compatibility matrix {_escaped(run.id)}"
    yield ""
    yield f"- started {_escaped(run.started)}, took {duration(run.seconds)}; {_escaped(stamp(run.accelerator))}"
    yield f"- command {_code(run.command)}, revision {_code(run.revision or 'unknown')}"
    for host in run.hosts:
        yield (
            f"- host **{_escaped(host.name)}** ({_escaped(host.kind)}): Xen {_escaped(host.xen)}, "
            f"libvirt {_escaped(host.libvirt)}, kernel {_escaped(host.kernel)}"
        )
    if others := borrowed(matrix):
        yield f"- {_escaped(others)}"


def _table(table: Table) -> Iterator[str]:
    yield f"## {_escaped(table.scenario)} · {_escaped(table.kind)}"
    yield ""
    if table.constants:
        yield "Everywhere: " + ", ".join(f"{_escaped(a)} {_escaped(v)}" for a, v in table.constants.items())
        yield ""
    down, across = table.layout.rows, table.layout.columns
    corner = f"{header(down, down)} \\ {header(across, across)}"
    yield "| " + " | ".join(_escaped(name) for name in (corner, *(header(across, c) for c in table.columns))) + " |"
    yield "|---" * (len(table.columns) + 1) + "|"
    for row, squares in zip(table.rows, table.squares, strict=True):
        name = f"**{_escaped(header(down, row))}**"
        yield "| " + " | ".join([name, *(_square(square) for square in squares)]) + " |"


def _square(square: Square) -> str:
    if not square.cells:
        return BLANK.glyph
    if len(square.cells) == 1:
        cell = square.cells[0]
        mark = f" {FLAKY.glyph} flaky" if cell.flaky else ""
        return f"{SIGNS[cell.outcome].glyph} {_escaped(words(cell))}{mark}"
    counts = ", ".join(f"{SIGNS[outcome].glyph} {number} {outcome.value}" for outcome, number in summary(square.cells))
    flaky = sum(cell.flaky for cell in square.cells)
    return counts + (f", {FLAKY.glyph} {flaky} flaky" if flaky else "")


def _details(matrix: Matrix) -> Iterator[str]:
    for cell in noteworthy(matrix):
        origin = f" (from run {_escaped(cell.origin)})" if cell.origin else ""
        yield f"- {SIGNS[cell.outcome].glyph} **{_escaped(words(cell))}** {_code(cell.name)}{origin}{_reason(cell)}"
        for check in broken(cell):
            yield (
                f"  - {_escaped(check.name)}: expected {_code(check.expected or '(nothing)')}, "
                f"observed {_code(check.observed or '(nothing)')}"
            )
        if cell.evidence:
            yield "  - evidence: " + ", ".join(f"[{_escaped(path)}]({href(path)})" for path in cell.evidence)
    for reason, number in skips(matrix).items():
        yield f"- **{number} skipped**: {_escaped(reason)}"


def _reason(cell: MatrixCell) -> str:
    return f": {_escaped(cell.reason)}" if cell.reason else ""


def _escaped(text: str) -> str:
    """Text that Markdown shows as it is, on one line. HTML in it stays text too."""
    safe = plain(text.replace("\n", " ")).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|~#!])", r"\\\1", safe)


def _code(text: str) -> str:
    """Text between as many backticks as it takes. A pipe needs no escape: code stands in lists, never in tables."""
    safe = plain(text.replace("\n", " "))
    fence = "`" * (max((len(run) for run in re.findall(r"`+", safe)), default=0) + 1)
    pad = " " if safe.startswith("`") or safe.endswith("`") else ""
    return f"{fence}{pad}{safe}{pad}{fence}"
