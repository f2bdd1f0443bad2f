# ruff: noqa: INP001 - a program of its own, no part of a package
"""Write how fast drivers were into its page: ``python docs/keep_performance.py RUN``, with the folder of a run of
``lab ntfs perf``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tabled import tabled

PAGE = Path(__file__).parent / "findings" / "performance-table.md"


def square(figure: dict[str, Any]) -> str:
    """How far behind the best, and the rank; why there is no figure, where there is none."""
    if figure["median"] is None:
        return str(figure["finding"] or figure["outcome"])
    return f"x{figure['ratio']:.2f} ({figure['rank']}{'=' * figure['tied']})"


def table(document: dict[str, Any]) -> Iterator[str]:
    """A row a kernel and measure, a column a driver."""
    names = sorted({driver["name"] for kernel in document["kernels"] for driver in kernel["drivers"]})
    yield f"| kernel | measure | {' | '.join(f'`{name}`' for name in names)} |"
    yield f"|---|---|{'---|' * len(names)}"
    for kernel in document["kernels"]:
        figures = {(one["measure"], one["driver"]): square(one) for one in kernel["figures"]}
        for measure in dict.fromkeys(one["measure"] for one in kernel["figures"]):
            squares = " | ".join(figures.get((measure, name), "") for name in names)
            yield f"| {kernel['package']} | `{measure}` | {squares} |"


def main(run: Path) -> None:
    """Write the page's table."""
    tabled(PAGE, table(json.loads((run / "perf.json").read_text())))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
