# ruff: noqa: INP001 - for the programs beside it, no part of a package
"""What programs that keep a table in a page have in common: its place there, and the cells that it is made of."""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

from lab.known import Accepted, load
from lab.matrix.compare import acceptance
from lab.matrix.model import MatrixCell
from lab.verdict import amiss

__all__ = ["MARKS", "because", "column", "counted", "judged", "reds", "tabled", "with_others"]

MARKS = {"pass": "✔", "unsupported": "∅", "fail": "✘", "error": "?", "skipped": "·"}

_MOST = 6
"""Names that are written before they are only counted."""

_BEGIN, _END = "<!-- table -->\n", "<!-- /table -->\n"


def tabled(page: Path, lines: Iterable[str]) -> None:
    """Put ``lines`` in the place of the table in ``page``; ends the program where there is none."""
    before, begin, rest = page.read_text().partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not begin or not end:
        sys.exit(f"{page}: no {_BEGIN.strip()} and {_END.strip()} in it")
    page.write_text(f"{before}{begin}{chr(10).join(lines)}\n{end}{after}")


def with_others(page: Path, squares: Iterable[str], rows: Iterable[str]) -> Iterator[str]:
    """The lines of two tables, of squares with a column a driver and of rows that begin with one, together with what
    stands in ``page`` of drivers that are not among them.
    """
    before = page.read_text().partition(_BEGIN)[2].partition(_END)[0].partition("\n\n")
    old, new = _split(before[0].splitlines()) or [[]], _split(squares)
    columns = sorted({*old[0], *new[0]} - {new[0][0]})
    looked_up = [{row[0]: dict(zip(table[0], row, strict=True)) for row in table[2:]} for table in (old, new)]
    yield f"| {new[0][0]} | {' | '.join(columns)} |"
    yield f"|---|{'---|' * len(columns)}"
    for name in sorted({*looked_up[0], *looked_up[1]}):
        both = looked_up[0].get(name, {}) | looked_up[1].get(name, {})
        yield f"| {name} | {' | '.join(both.get(column, '') for column in columns)} |"
    yield ""
    head, line, *told = rows
    kept = [row for row in before[2].splitlines()[2:] if _split([row])[0][0] not in new[0]]
    yield from (head, line, *sorted([*kept, *told]))


def judged(runs: Iterable[Path]) -> list[dict[str, Any]]:
    """The cells of runs, by their folders; one that is in several, or was tried again, as it was judged last."""
    events = [json.loads(line) for run in runs for line in (run / "run.jsonl").read_text().splitlines()]
    return list({event["cell"]["id"]: event["cell"] for event in events if event["event"] == "verdict"}.values())


def column(cell: dict[str, Any]) -> str:
    """The driver with its version, as far as that is told."""
    axes = cell["axes"]
    if not axes["driver"].endswith("3g"):
        return f"{axes['driver']} on {axes['kernel']}"
    # Debian's releases have a version each; what mounts nothing tells none.
    return f"{axes['driver']} of {axes.get('release', 'trixie')}"


def because(cell: dict[str, Any]) -> str:
    """The numbers of the findings that a red cell is about, by ``scenarios/known.yaml``, and ``?`` where some of it is
    about none; nothing for a cell that is not red.
    """
    if cell["outcome"] != "fail":
        return ""
    failed = MatrixCell.from_json(cell)
    weighed = acceptance(failed.id, amiss(failed.checks, failed.outcome), _known(), date.min)
    numbers = sorted({found[0] for entry in weighed.by if (found := re.search(r"(?<=findings/0)\d+", entry.link))})
    return " ".join([*(number.lstrip("0") for number in numbers), *([] if weighed.whole else ["?"])])


def counted(cells: list[dict[str, Any]], row: str, column: Callable[[dict[str, Any]], str]) -> Iterator[str]:
    """A table of how many cells came to what, such as ``✔ 70 ✘ 9``, with the values of the axis ``row`` for rows."""
    columns = sorted(set(map(column, cells)))
    counts: dict[tuple[str, str], Counter[str]] = {}
    for cell in cells:
        counts.setdefault((cell["axes"][row], column(cell)), Counter())[cell["outcome"]] += 1
    yield f"| {row} | {' | '.join(columns)} |"
    yield f"|---|{'---|' * len(columns)}"
    for value in sorted({value for value, _ in counts}):
        squares = (_summed(counts.get((value, name), Counter())) for name in columns)
        yield f"| {value} | {' | '.join(squares)} |"


def reds(cells: list[dict[str, Any]], axes: tuple[str, ...], column: Callable[[dict[str, Any]], str]) -> Iterator[str]:
    """A table of what is wrong: a row for cells that are alike by ``axes``, where ``driver`` is its column, and by the
    checks that failed.
    """
    groups: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for cell in cells:
        if cell["outcome"] == "fail":
            alike = [column(cell) if axis == "driver" else cell["axes"][axis] for axis in axes]
            broken = dict.fromkeys(check["name"] for check in cell["checks"] if check["outcome"] == "fail")
            groups.setdefault((*alike, cell["finding"], because(cell), _some(broken)), []).append(cell)
    yield f"| {' | '.join(axes)} | is | finding | checks | volumes |"
    yield f"|{'---|' * (len(axes) + 4)}"
    for group, alike in sorted(groups.items()):
        volumes = sorted({cell["axes"]["volume"] for cell in alike})
        yield f"| {' | '.join(group)} | {len(alike)}: {_some(volumes)} |"


def _split(lines: Iterable[str]) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def _summed(counts: Counter[str]) -> str:
    return " ".join(f"{mark} {counts[outcome]}" for outcome, mark in MARKS.items() if counts[outcome])


def _some(names: Iterable[str]) -> str:
    names = list(names)
    more = f" +{len(names) - _MOST}" if len(names) > _MOST else ""
    return f"{', '.join(f'`{name}`' for name in names[:_MOST])}{more}"


@cache
def _known() -> tuple[Accepted, ...]:
    root = Path(__file__).parents[1]
    return load(root / "scenarios" / "known.yaml", root=root)
