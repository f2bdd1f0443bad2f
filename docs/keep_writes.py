# ruff: noqa: INP001 - a program of its own, no part of a package
"""Write what drivers made of writing into its page: ``python docs/keep_writes.py RUN...``, with folders of runs of
``scenarios/ntfs/write.lab.yaml``. A cell that is in several counts as it was judged last.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tabled import MARKS, because, column, judged, tabled

PAGE = Path(__file__).parent / "findings" / "write-table.md"
MOST = 4


def square(cell: dict[str, Any]) -> str:
    """What a cell came to, and by which findings, or by which checks where nobody is to blame."""
    head = f"{MARKS[cell['outcome']]} {cell['finding'] or cell['outcome']}".replace("✔ correct", "✔")
    if cell["outcome"] != "unsupported":
        return f"{head} {because(cell)}".strip()
    names = [
        check["name"].partition(":")[2] or check["name"]
        for check in cell["checks"]
        if check["outcome"] == "unsupported"
    ]
    names = list(dict.fromkeys(names))
    more = f" +{len(names) - MOST}" if len(names) > MOST else ""
    return f"{head}: {', '.join(names[:MOST])}{more}" if names else head


def table(cells: Iterable[dict[str, Any]]) -> Iterator[str]:
    """The table, a line a row."""
    rows: dict[str, dict[str, str]] = {}
    for cell in cells:
        rows.setdefault(cell["axes"]["volume"], {})[column(cell)] = square(cell)
    columns = list(dict.fromkeys(name for squares in rows.values() for name in squares))
    yield f"| volume | {' | '.join(columns)} |"
    yield f"|---|{'---|' * len(columns)}"
    for volume, squares in sorted(rows.items()):
        yield f"| `{volume}` | {' | '.join(squares.get(name, '') for name in columns)} |"


def main(runs: Iterable[Path]) -> None:
    """Write the page's table."""
    tabled(PAGE, table(judged(runs)))


if __name__ == "__main__":
    main(map(Path, sys.argv[1:]))
