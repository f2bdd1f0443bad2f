"""``lab prove``: every invariant of a move, shown to go red by its fault; and moves that meet obstacles."""

from __future__ import annotations

import json
import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from lab.checks.obstacles import chosen_obstacles
from lab.checks.proof import chosen, in_order
from lab.commands.call import call_of
from lab.commands.inside import xen_name
from lab.engine import obstacles as obstacle_run
from lab.engine.lone import Answer
from lab.engine.obstacles import Met, Wanted, try_obstacles
from lab.engine.proofs import FILE, Asked, Proven, try_faults
from lab.errors import UnknownNameError, UsageError
from lab.hosts.embedded.recipe import embedded_versions
from lab.report.obstacles_text import render
from lab.report.progress import Progress
from lab.report.proofs_table import show
from lab.report.sign import plain, printable
from lab.settings import Settings
from lab.stage.proving import open_ground

__all__ = ["register"]

_EXAMPLE = """Examples: lab prove | lab prove memory-intact clock | lab prove --from 4.17 --moving --keep-going | \
lab prove --obstacles | lab prove --obstacles unreachable power-cut

Exit codes: 0 every fault was caught and the control is green, 1 one was missed or the control is red, 2 usage error,
3 something was not found out. With --obstacles: 0 every check held, 1 one did not, 2 and 3 likewise."""


def register(app: typer.Typer) -> None:
    """Mount the verb."""
    app.command("prove", epilog=_EXAMPLE)(prove)


def prove(  # noqa: PLR0913 - one parameter an option, and typer calls it by name
    context: typer.Context,
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAME", help="Invariants or faults, or obstacles; else all of them.")
    ] = None,
    source: Annotated[
        str, typer.Option("--from", metavar="VERSION", help="The Xen that the guest starts on.")
    ] = "4.14",
    target: Annotated[str, typer.Option("--to", metavar="VERSION", help="The Xen of the other host.")] = "4.20",
    reports: Annotated[Path | None, typer.Option(metavar="DIR", help="Where the record goes.")] = None,
    *,
    obstacles: Annotated[
        bool, typer.Option("--obstacles", help="No faults: live migrations that meet an obstacle each.")
    ] = False,
    moving: Annotated[
        bool, typer.Option("--moving", help="Around a real live migration each, instead of a short pause.")
    ] = False,
    keep_going: Annotated[bool, typer.Option("--keep-going", help="After lab trouble, go on with the next.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the run's document instead of the table.")] = False,
) -> int:
    """Break one thing at a time on a real guest, and see whether the invariant that must notice goes red.

    A control without any fault must stay green. Faults that can be undone share a guest; each other has a fresh one.
    With --obstacles, guests move and something is in the way: each move must fail in time and name the cause, the
    guest must live on, on one host, nothing may be left behind, and the next move must work.
    """
    versions = _version(source), _version(target)
    if versions[0] == versions[1]:
        raise UsageError(
            f"--from and --to are both {versions[0]}",
            hint="the guest needs another host to go to" if obstacles else "the guest needs another host to come from",
        )
    settings = Settings.from_environment()
    settings = replace(settings, reports=reports.absolute()) if reports else settings
    command = shlex.join(("lab", *call_of(context).words))
    if obstacles:
        if moving:
            raise UsageError("--moving and --obstacles", hint="with --obstacles every guest moves")
        wanted = Wanted(chosen_obstacles(names or ()), *versions, keep_going)
        met = try_obstacles(wanted, settings, command=command, progress=Progress(), open_ground=open_ground)
        _print_met(met, wanted, command, as_json=as_json)
        return met.exit_code
    asked = Asked(chosen(names or ()), *versions, moving, keep_going)
    proven = try_faults(asked, settings, command=command, progress=Progress(), open_ground=open_ground)
    _print_proven(proven, asked, command, as_json=as_json)
    return proven.exit_code


def _version(text: str) -> str:
    """The version of an embedded host that a user means.

    Raises:
        UnknownNameError: the lab cannot nest it.
    """
    version = xen_name(text).removeprefix("xen-")
    if version not in embedded_versions():
        raise UnknownNameError("Xen version", text, embedded_versions())
    return version


def _print_proven(answer: Proven, asked: Asked, command: str, *, as_json: bool) -> None:
    if as_json:
        _print_json(answer.to_json(asked, command))
    else:
        show(in_order(answer.proofs), untried=answer.untried, accelerator=answer.accelerator)
        sys.stdout.write(f"\nrecord: {answer.folder}\nproofs: {answer.folder / FILE}\n")
    _print_end(answer)


def _print_met(answer: Met, wanted: Wanted, command: str, *, as_json: bool) -> None:
    if as_json:
        _print_json(answer.to_json(wanted, command))
    else:
        encoding = sys.stdout.encoding or "utf-8"
        sys.stdout.write(
            render(answer.encounters, untried=answer.untried, accelerator=answer.accelerator, encoding=encoding)
        )
        sys.stdout.write(f"\nrecord: {answer.folder}\nobstacles: {answer.folder / obstacle_run.FILE}\n")
    _print_end(answer)


def _print_json(document: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(document, ensure_ascii=False, indent=1) + "\n")


def _print_end(answer: Answer) -> None:
    for trouble in answer.troubles:
        sys.stderr.write(f"error: {printable(plain(str(trouble), keep=chr(10)), sys.stderr.encoding)}\n")
    if answer.interrupted:
        sys.stderr.write(f"interrupted; {len(answer.untried)} not tried; record at {answer.folder}\n")
