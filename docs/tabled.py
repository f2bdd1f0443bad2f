# ruff: noqa: INP001 - for the programs beside it, no part of a package
"""What programs that keep a table in a page have in common: its place there, and the cells that it is made of."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

from lab.known import Accepted, load
from lab.matrix.compare import acceptance
from lab.matrix.model import MatrixCell
from lab.verdict import amiss

__all__ = ["MARKS", "because", "column", "judged", "tabled"]

MARKS = {"pass": "✔", "unsupported": "∅", "fail": "✘", "error": "?", "skipped": "·"}

_BEGIN, _END = "<!-- table -->\n", "<!-- /table -->\n"


def tabled(page: Path, lines: Iterable[str]) -> None:
    """Put ``lines`` in the place of the table in ``page``; ends the program where there is none."""
    before, begin, rest = page.read_text().partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not begin or not end:
        sys.exit(f"{page}: no {_BEGIN.strip()} and {_END.strip()} in it")
    page.write_text(f"{before}{begin}{chr(10).join(lines)}\n{end}{after}")


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


@cache
def _known() -> tuple[Accepted, ...]:
    root = Path(__file__).parents[1]
    return load(root / "scenarios" / "known.yaml", root=root)
