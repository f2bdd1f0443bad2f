"""``lab agree``."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from lab.commands.runs import folder_of, matrix_of
from lab.matrix.agreement import Group, Seen, agreement, exit_code
from lab.matrix.model import MatrixCell
from lab.report.sign import plain

__all__ = ["register"]

_EXAMPLE = """Examples: lab agree | lab agree 20261123-020000-xen 20261123-030000-microvm

Exit codes: 0 they agree, 1 some do not, 2 usage error or nothing to compare, 3 of some it cannot be told."""
_ABOUT = "Do cells agree that differ in one axis only?"
_DIFFERENCES = "differences.json"


def register(app: typer.Typer) -> None:
    """Mount the verb."""
    app.command("agree", epilog=_EXAMPLE, help=_ABOUT)(agree)


def agree(
    runs: Annotated[list[str] | None, typer.Argument(help="Runs whose cells are taken together; or latest.")] = None,
    across: Annotated[str, typer.Option(metavar="AXIS", help="The axis in which they differ.")] = "stage",
    reports: Annotated[Path | None, typer.Option(metavar="DIR", help="Where records are.")] = None,
    *,
    every: Annotated[bool, typer.Option("--all", help="Name also the cells that agree.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> int:
    """Compare outcome, finding, checks, versions and every difference of cells that are alike but for one axis."""
    seen = [one for run in runs or ["latest"] for one in _seen(run, reports)]
    groups = agreement(seen, across)
    code = exit_code(groups)
    if as_json:
        document = {"schema": "lab.agree/1", "across": across, "groups": [_to_json(group) for group in groups]}
        sys.stdout.write(json.dumps(document, ensure_ascii=False, indent=1) + "\n")
        return code
    for group in groups:
        if every or group.unlike or group.lacking:
            sys.stdout.write(f"{plain(str(group))}\n")
    unlike = sum(bool(group.unlike) for group in groups)
    lacking = sum(bool(group.lacking and not group.unlike) for group in groups)
    sides = " and ".join(dict.fromkeys(side for group in groups for side in group.sides))
    sys.stdout.write(
        f"{sides}: {len(groups) - unlike - lacking} of {len(groups)} agree"
        + (f", {unlike} do not" if unlike else "")
        + (f", of {lacking} it cannot be told" if lacking else "")
        + "\n"
    )
    return code


def _seen(run: str, reports: Path | None) -> Iterator[Seen]:
    """The cells of a run, with what their evidence says where it lies beside."""
    folder = Path(run).parent if Path(run).is_file() else folder_of(run, reports)
    for cell in matrix_of(run, reports).cells:
        yield Seen(cell, _differences(cell, folder))


def _differences(cell: MatrixCell, folder: Path) -> str:
    for path in cell.evidence:
        # Not of a first attempt, which lies one folder deeper.
        if Path(path).name == _DIFFERENCES and Path(path).parent.name != "first":
            try:
                return (folder / path).read_text(encoding="utf-8")
            except OSError:
                return ""
    return ""


def _to_json(group: Group) -> dict[str, object]:
    return {
        "what": group.what,
        "cells": {side: [one.cell.id for one in found] for side, found in group.sides.items()},
        "unlike": group.unlike,
        "lacking": group.lacking,
    }
