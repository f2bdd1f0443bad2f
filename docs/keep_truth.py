# ruff: noqa: INP001 - a program of its own, no part of a package
"""Write what drivers read into its page: ``python docs/keep_truth.py RUN...``, with folders of runs of
``scenarios/ntfs/truth.lab.yaml``. A cell that is in several counts as it was judged last.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tabled import MARKS, because, judged, tabled

PAGE = Path(__file__).parent / "findings" / "truth-table.md"
HOSTILE = "hostile-"
SPARED = "streams"
"""The check that alone is amiss where a driver shows all but named streams."""


def column(cell: dict[str, Any]) -> str:
    """The driver, with the kernel's version, or its own where it is a program."""
    axes = cell["axes"]
    if axes["driver"].endswith("3g"):
        return f"{axes['driver']} {version(axes['driver_version'])}" if "driver_version" in axes else ""
    return f"{axes['driver']} {version(axes['kernel_version'])}"


def version(said: str) -> str:
    """Its first two numbers."""
    found = re.search(r"\d+\.\d+", said)
    return found[0] if found else said


def square(cell: dict[str, Any]) -> str:
    """A mark, and the finding where that says more."""
    mark, finding = MARKS[cell["outcome"]], cell["finding"]
    amiss = {check["name"] for check in cell["checks"] if check["outcome"] != "pass"}
    if cell["outcome"] == "unsupported" and amiss == {SPARED}:
        return f"{mark} streams"
    if not finding and cell["outcome"] == "unsupported":
        return f"{mark} {cell['reason'].partition(':')[0]}"
    return mark if finding in {"", "correct"} else f"{mark} {finding}"


def names(cells: Iterable[dict[str, Any]]) -> dict[str, str]:
    """The column of each cell, by id. What does not mount a volume does not tell its version: so do its neighbours."""
    cells = list(cells)
    told = {(cell["axes"]["driver"], cell["axes"].get("release")): column(cell) for cell in cells if column(cell)}
    return {cell["id"]: column(cell) or told[cell["axes"]["driver"], cell["axes"].get("release")] for cell in cells}


def table(cells: list[dict[str, Any]], named: dict[str, str]) -> Iterator[str]:
    """A row a volume."""
    columns = sorted({named[cell["id"]] for cell in cells})
    rows: dict[str, dict[str, str]] = {}
    for cell in cells:
        rows.setdefault(cell["axes"]["volume"], {})[named[cell["id"]]] = f"{square(cell)} {because(cell)}".strip()
    yield f"| volume | {' | '.join(columns)} |"
    yield f"|---|{'---|' * len(columns)}"
    for volume, squares in sorted(rows.items()):
        yield f"| `{volume}` | {' | '.join(squares.get(name, '') for name in columns)} |"


def sums(cells: list[dict[str, Any]], named: dict[str, str]) -> Iterator[str]:
    """A row a driver, with how many volumes came to what."""
    columns = sorted({named[cell["id"]] for cell in cells})
    counts = {name: Counter(square(cell) for cell in cells if named[cell["id"]] == name) for name in columns}
    kinds = sorted({kind for found in counts.values() for kind in found}, key=lambda kind: (kind[0], kind))
    yield f"| driver | {' | '.join(kinds)} |"
    yield f"|---|{'---|' * len(kinds)}"
    for name in columns:
        yield f"| {name} | {' | '.join(str(counts[name][kind] or '') for kind in kinds)} |"


def main(runs: Iterable[Path]) -> None:
    """Write the page's tables."""
    cells = judged(runs)
    named = names(cells)
    hostile = [cell for cell in cells if cell["axes"]["volume"].startswith(HOSTILE)]
    others = [cell for cell in cells if not cell["axes"]["volume"].startswith(HOSTILE)]
    tabled(
        PAGE, (*table(others, named), "", "## Hostile volumes", "", *sums(hostile, named), "", *table(hostile, named))
    )


if __name__ == "__main__":
    main(map(Path, sys.argv[1:]))
