"""``lab gate``."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from lab.commands.runs import matrix_of
from lab.known import Accepted, load
from lab.matrix.compare import gate as decide
from lab.report.sign import plain

__all__ = ["register"]

_EXAMPLE = """Example: lab gate latest --baseline reports/baseline/matrix.json --known scenarios/known.yaml

Exit codes: 0 yes, 1 no because of the product, 2 usage error, 3 no because evidence is missing."""
_KNOWN = Path("scenarios/known.yaml")


def register(app: typer.Typer) -> None:
    """Mount the verb."""
    app.command("gate", epilog=_EXAMPLE, help="Yes or no: is a run no worse than its baseline?")(gate)


def gate(
    run: Annotated[str, typer.Argument(help="A run's name or folder, or a matrix.json.")] = "latest",
    baseline: Annotated[str, typer.Option(metavar="RUN", help="What it is compared with.")] = ...,  # type: ignore[assignment] # typer's way to say: required
    known: Annotated[Path | None, typer.Option(metavar="FILE", help=f"Accepted failures; {_KNOWN} if there.")] = None,
    reports: Annotated[Path | None, typer.Option(metavar="DIR", help="Where records are.")] = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> int:
    """Decide, and say why."""
    decision = decide(
        matrix_of(baseline, reports), matrix_of(run, reports), _known(known), today=datetime.now(UTC).date()
    )
    if as_json:
        answer = {"yes": decision.yes, "product": decision.product, "lab": decision.lab, "notes": decision.notes}
        sys.stdout.write(json.dumps({"schema": "lab.gate/1", **answer}, ensure_ascii=False, indent=1) + "\n")
        return decision.exit_code
    sys.stdout.write("yes\n" if decision.yes else "no\n")
    for reason in decision.reasons:
        sys.stdout.write(f"  {plain(reason)}\n")
    for note in decision.notes:
        sys.stdout.write(f"  note: {plain(note)}\n")
    return decision.exit_code


def _known(named: Path | None) -> tuple[Accepted, ...]:
    if named is None:
        return load(_KNOWN, root=Path.cwd()) if _KNOWN.is_file() else ()
    return load(named, root=Path.cwd())
