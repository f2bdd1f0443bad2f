"""``lab diff``."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer

from lab.commands.runs import matrix_of
from lab.matrix.compare import Change, Difference, compare
from lab.report.sign import plain

__all__ = ["register"]

_EXAMPLE = """Example: lab diff 20261121-020000-run latest

A difference is not an error: the exit code is 0. `lab gate` decides."""


def register(app: typer.Typer) -> None:
    """Mount the verb."""
    app.command("diff", epilog=_EXAMPLE, help="Two runs side by side: what changed between them.")(diff)


def diff(
    base: Annotated[str, typer.Argument(help="The run before: its name or folder, or a matrix.json.")],
    run: Annotated[str, typer.Argument(help="The run after; `latest` is one, too.")] = "latest",
    reports: Annotated[Path | None, typer.Option(metavar="DIR", help="Where records are.")] = None,
    *,
    every: Annotated[bool, typer.Option("--all", help="Name also the cells that are the same.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Print the differences, the gravest first."""
    differences = compare(matrix_of(base, reports), matrix_of(run, reports))
    grave = list(Change)
    shown = sorted(
        (one for one in differences if every or one.change is not Change.SAME),
        key=lambda one: grave.index(one.change),  # sorted keeps the runs' order within a kind
    )
    if as_json:
        document = {"schema": "lab.diff/1", "differences": [_to_json(one) for one in shown]}
        sys.stdout.write(json.dumps(document, ensure_ascii=False, indent=1) + "\n")
        return
    for one in shown:
        sys.stdout.write(f"{plain(str(one))}\n")
    counts = Counter(one.change for one in differences)
    words = ", ".join(f"{counts[change]} {change.value}" for change in grave if counts[change])
    sys.stdout.write(f"{len(differences)} cells: {words}\n" if differences else "no cells on either side\n")


def _to_json(one: Difference) -> dict[str, Any]:
    sides = {"base": one.base, "run": one.run}
    return {
        "id": one.id,
        "change": one.change.value,
        **{side: cell.to_json() if cell is not None else None for side, cell in sides.items()},
    }
