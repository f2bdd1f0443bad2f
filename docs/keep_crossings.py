# ruff: noqa: INP001 - a program of its own, no part of a package
"""Write what drivers read of what others wrote into its page: ``python docs/keep_crossings.py RUN...``, with folders of
runs of ``scenarios/ntfs/crossing.lab.yaml``. A cell that is in several counts as it was judged last.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from tabled import column, counted, judged, reds, tabled

PAGE = Path(__file__).parent / "findings" / "crossing-table.md"


def main(runs: Iterable[Path]) -> None:
    """Write the page's tables."""
    cells = judged(runs)
    tabled(PAGE, (*counted(cells, "writer", column), "", *reds(cells, ("writer", "driver"), column)))


if __name__ == "__main__":
    main(map(Path, sys.argv[1:]))
