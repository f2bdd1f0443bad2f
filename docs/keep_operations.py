# ruff: noqa: INP001 - a program of its own, no part of a package
"""Write what drivers made of each operation into its page: ``python docs/keep_operations.py RUN...``, with folders of
runs of ``scenarios/ntfs/operations.lab.yaml``. A cell that is in several counts as it was judged last. What the page
says of drivers that are in none of them stays.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from tabled import column, counted, judged, reds, tabled, with_others

PAGE = Path(__file__).parent / "findings" / "operation-table.md"


def main(runs: Iterable[Path]) -> None:
    """Write the page's tables."""
    cells = judged(runs)
    squares, rows = counted(cells, "operation", column), reds(cells, ("driver", "operation"), column)
    tabled(PAGE, list(with_others(PAGE, squares, rows)))


if __name__ == "__main__":
    main(map(Path, sys.argv[1:]))
