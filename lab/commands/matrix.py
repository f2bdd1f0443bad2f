"""``lab matrix``."""

from __future__ import annotations

import sys
from contextlib import suppress
from enum import Enum
from pathlib import Path
from typing import Annotated, Literal, assert_never

import typer

from lab.commands.runs import folder_of, matrix_of
from lab.errors import UsageError
from lab.matrix.model import Matrix
from lab.report import document
from lab.report.downtime import downtimes
from lab.report.terminal import show
from lab.report.write import write_reports
from lab.run_record import RecordError

__all__ = ["Format", "register"]

_EXAMPLE = "Examples: lab matrix | lab matrix --rows volume --columns driver,kernel | lab matrix RUN --format json"


class Format(Enum):
    """How the matrix is written to standard output."""

    TERMINAL = "terminal"
    MD = "md"
    HTML = "html"
    JSON = "json"


def register(app: typer.Typer) -> None:
    """Mount the verb."""
    app.command("matrix", epilog=_EXAMPLE, help="The matrix of a run, in a layout of your choice.")(matrix)


def matrix(  # noqa: PLR0913 - one parameter an option
    run: Annotated[
        str | None, typer.Argument(help="A run's name or folder, or a matrix.json; else the latest.")
    ] = None,
    rows: Annotated[str, typer.Option(metavar="AXIS[,AXIS]", help="Axes down the side.")] = "",
    columns: Annotated[str, typer.Option(metavar="AXIS[,AXIS]", help="Axes across the top.")] = "",
    form: Annotated[Format, typer.Option("--format", help="What to print.")] = Format.TERMINAL,
    reports: Annotated[Path | None, typer.Option(metavar="DIR", help="Where records are.")] = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
) -> None:
    """Print it, and write the report files of a run that ended before it could."""
    form = Format.JSON if as_json else form
    if (rows or columns) and form is not Format.TERMINAL:
        raise UsageError(f"--rows and --columns are for the terminal; {form.value} has a layout of its own")
    found = matrix_of(run, reports)
    if run is not None and Path(run).is_file():
        folder = Path(run).parent
    else:
        folder = folder_of(run, reports)
        _complete(folder, found)
    if form is Format.TERMINAL:
        show(found, folder=folder.absolute(), rows=_axes(rows), columns=_axes(columns))
    else:
        _print(found, form, folder)


def _print(found: Matrix, form: Literal[Format.JSON, Format.MD, Format.HTML], folder: Path) -> None:
    match form:
        case Format.JSON:
            sys.stdout.write(document.render(found))
        case Format.MD:
            from lab.report import markdown  # noqa: PLC0415 - each form brings its own library

            sys.stdout.write(markdown.render(found, measured=downtimes(folder, found)))
        case Format.HTML:
            from lab.report import html  # noqa: PLC0415 - likewise

            sys.stdout.write(html.render(found, downtimes(folder, found)))
        case _ as never:
            assert_never(never)


def _complete(folder: Path, found: Matrix) -> None:
    """A run that was killed has no report files; whoever looks at it gets them. An archive may be read-only."""
    if not (folder / "matrix.html").exists():
        with suppress(RecordError):
            write_reports(folder, found)


def _axes(text: str) -> tuple[str, ...]:
    return tuple(axis.strip() for axis in text.split(",") if axis.strip())
