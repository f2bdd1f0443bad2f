# ruff: noqa: INP001 - a program of its own, no part of a package
"""Write what drivers made of each operation into its page: ``python docs/keep_operations.py RUN...``, with folders of
runs of ``scenarios/ntfs/operations.lab.yaml``. A cell that is in several counts as it was judged last.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tabled import MARKS, column, judged, tabled

PAGE = Path(__file__).parent / "findings" / "operation-table.md"
MOST = 6


def broken(cell: dict[str, Any]) -> tuple[str, ...]:
    """The checks that make a cell red."""
    return tuple(dict.fromkeys(check["name"] for check in cell["checks"] if check["outcome"] == "fail"))


def table(cells: list[dict[str, Any]]) -> Iterator[str]:
    """How many volumes came to what, a row an operation."""
    columns = list(dict.fromkeys(map(column, cells)))
    counts: dict[tuple[str, str], Counter[str]] = {}
    for cell in cells:
        counts.setdefault((cell["axes"]["operation"], column(cell)), Counter())[cell["outcome"]] += 1
    yield f"| operation | {' | '.join(columns)} |"
    yield f"|---|{'---|' * len(columns)}"
    for operation in sorted({operation for operation, _ in counts}):
        squares = (counts.get((operation, name), Counter()) for name in columns)
        yield f"| {operation} | {' | '.join(map(square, squares))} |"


def square(counts: Counter[str]) -> str:
    """Such as ``✔ 70 ✘ 9``."""
    return " ".join(f"{mark} {counts[outcome]}" for outcome, mark in MARKS.items() if counts[outcome])


def red(cells: list[dict[str, Any]]) -> Iterator[str]:
    """What is wrong, a row for the same checks of the same operation by the same driver."""
    groups: dict[tuple[str, str, str, tuple[str, ...]], list[str]] = {}
    for cell in cells:
        if cell["outcome"] == "fail":
            axes = cell["axes"]
            group = (column(cell), axes["operation"], cell["finding"], broken(cell))
            groups.setdefault(group, []).append(axes["volume"])
    yield "| driver | operation | finding | checks | volumes |"
    yield "|---|---|---|---|---|"
    for (driver, operation, finding, checks), volumes in sorted(groups.items()):
        yield f"| {driver} | {operation} | {finding} | {some(checks)} | {len(volumes)}: {some(sorted(volumes))} |"


def some(names: Iterable[str]) -> str:
    """The first of them."""
    names = list(names)
    more = f" +{len(names) - MOST}" if len(names) > MOST else ""
    return f"{', '.join(f'`{name}`' for name in names[:MOST])}{more}"


def main(runs: Iterable[Path]) -> None:
    """Write the page's tables."""
    cells = judged(runs)
    tabled(PAGE, (*table(cells), "", *red(cells)))


if __name__ == "__main__":
    main(map(Path, sys.argv[1:]))
