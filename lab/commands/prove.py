"""``lab prove``: every invariant of a move, shown to go red by its fault."""

from __future__ import annotations

import json
import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from lab.checks.proof import chosen, in_order
from lab.commands.call import call_of
from lab.commands.inside import xen_name
from lab.engine.proofs import FILE, Asked, Proven, try_faults
from lab.errors import UnknownNameError, UsageError
from lab.hosts.embedded.recipe import embedded_versions
from lab.report.progress import Progress
from lab.report.proofs_table import show
from lab.report.sign import plain, printable
from lab.settings import Settings
from lab.stage.proving import open_ground

__all__ = ["register"]

_EXAMPLE = """Examples: lab prove | lab prove memory-intact clock | lab prove --from 4.17 --moving --keep-going

Exit codes: 0 every fault was caught and the control is green, 1 one was missed or the control is red, 2 usage error,
3 something was not found out."""


def register(app: typer.Typer) -> None:
    """Mount the verb."""
    app.command("prove", epilog=_EXAMPLE)(prove)


def prove(  # noqa: PLR0913 - one parameter an option, and typer calls it by name
    context: typer.Context,
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAME", help="Invariants or faults; else all of them.")
    ] = None,
    source: Annotated[
        str, typer.Option("--from", metavar="VERSION", help="The Xen that the guest starts on.")
    ] = "4.14",
    target: Annotated[str, typer.Option("--to", metavar="VERSION", help="The Xen of the other host.")] = "4.20",
    reports: Annotated[Path | None, typer.Option(metavar="DIR", help="Where the record goes.")] = None,
    *,
    moving: Annotated[
        bool, typer.Option("--moving", help="Around a real live migration each, instead of a short pause.")
    ] = False,
    keep_going: Annotated[bool, typer.Option("--keep-going", help="After lab trouble, go on with the next.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print proofs.json instead of the table.")] = False,
) -> int:
    """Break one thing at a time on a real guest, and see whether the invariant that must notice goes red.

    A control without any fault must stay green. Faults that can be undone share a guest; each other has a fresh one.
    """
    asked = Asked(chosen(names or ()), _version(source), _version(target), moving, keep_going)
    if asked.source == asked.target:
        raise UsageError(f"--from and --to are both {asked.source}", hint="the guest needs another host to come from")
    settings = Settings.from_environment()
    settings = replace(settings, reports=reports.absolute()) if reports else settings
    command = shlex.join(("lab", *call_of(context).words))
    answer = try_faults(asked, settings, command=command, progress=Progress(), open_ground=open_ground)
    _print(answer, asked, command, as_json=as_json)
    return answer.exit_code


def _version(text: str) -> str:
    """The version of an embedded host that a user means.

    Raises:
        UnknownNameError: the lab cannot nest it.
    """
    version = xen_name(text).removeprefix("xen-")
    if version not in embedded_versions():
        raise UnknownNameError("Xen version", text, embedded_versions())
    return version


def _print(answer: Proven, asked: Asked, command: str, *, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(json.dumps(answer.to_json(asked, command), ensure_ascii=False, indent=1) + "\n")
    else:
        show(in_order(answer.proofs), untried=answer.untried, accelerator=answer.accelerator)
        sys.stdout.write(f"\nrecord: {answer.folder}\nproofs: {answer.folder / FILE}\n")
    for trouble in answer.troubles:
        sys.stderr.write(f"error: {printable(plain(str(trouble), keep=chr(10)), sys.stderr.encoding)}\n")
    if answer.interrupted:
        sys.stderr.write(f"interrupted; {len(answer.untried)} not tried; record at {answer.folder}\n")
