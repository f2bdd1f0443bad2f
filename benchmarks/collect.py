"""How long many cells take to expand, and how large their report is: ``python benchmarks/collect.py 10000``."""

from __future__ import annotations

import sys
import time

from lab.matrix.model import Matrix, MatrixCell, RunFacts
from lab.report.html import render
from lab.scenario.load import parse
from lab.verdict import Outcome


def main(wanted: int) -> None:
    """Print seconds and megabytes."""
    volumes = ", ".join(f"volume-{number}" for number in range(wanted // 4))
    text = (
        'scenario: many\nhosts: {lab: {xen: "4.20"}}\nkernels: [{release: trixie}, {release: forky}]\n'
        f"drivers: [ntfs3, ntfs-3g]\nvolumes: [{volumes}]\n"
    )
    start = time.perf_counter()
    cells = parse(text, path="many.lab.yaml")
    print(f"{len(cells)} cells expanded in {time.perf_counter() - start:.2f} s")
    start = time.perf_counter()
    squares = tuple(MatrixCell(c.id, c.scenario, c.kind, c.axes, Outcome.PASS, seconds=1.0) for c in cells)
    page = render(Matrix(RunFacts("benchmark", "2026-01-01T00:00:00+00:00", 1.0, "none", "none", "tcg"), squares))
    print(f"their page: {len(page.encode()) / 1e6:.2f} MB in {time.perf_counter() - start:.2f} s")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
