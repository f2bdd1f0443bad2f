"""``lab run``."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Annotated, TextIO

import typer

from lab.commands.call import call_of
from lab.commands.inside import cache
from lab.engine.carried import Earlier
from lab.engine.door import run as run_session
from lab.engine.rootdir import root_of
from lab.errors import LabError, UsageError
from lab.hosts.debris import clear, half_made, strays, take_away
from lab.hosts.run_folder import leftovers, sweep
from lab.scenario.cell import MAX_ITERATIONS
from lab.scenario.inventory import Inventory
from lab.scenario.stages import Stage
from lab.settings import Settings

__all__ = ["register"]

_EXAMPLE = """Examples: lab run scenarios/quick.lab.yaml | lab run -k live -n 2 | lab run -k live --iterations 30 \
| lab run --hosts hosts.yaml mine.lab.yaml | lab run scenarios/ntfs --stage microvm \
| lab run --continue latest -k live | lab run scenarios -- --maxfail 3

Exit codes: 0 as expected, 1 product failure, 2 usage or scenario error, 3 lab trouble only."""
_DEFAULT = "scenarios"


def register(app: typer.Typer) -> None:
    """Mount the verb."""
    app.command("run", epilog=_EXAMPLE, help="Run scenarios; write the record, print the matrix.")(run)


def run(  # noqa: PLR0913 - one parameter an option
    context: typer.Context,
    paths: Annotated[list[str] | None, typer.Argument(help="Scenario files, folders or cells (FILE::CELL).")] = None,
    select: Annotated[str, typer.Option("-k", metavar="EXPR", help="Only cells whose name or axes match.")] = "",
    workers: Annotated[
        int, typer.Option("-n", metavar="N", min=1, help="Run N cells at once, each on its own stage.")
    ] = 1,
    *,
    unfinished: Annotated[
        str | None,
        typer.Option(
            "--continue",
            metavar="RUN",
            help="Finish that run, by its name or folder: its verdicts are carried into this run's record, and only"
            " cells without one are run; without PATHS, those of its scenario files.",
        ),
    ] = None,
    hosts: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Your own Xen hosts, by the names that scenarios use.")
    ] = None,
    reports: Annotated[Path | None, typer.Option(metavar="DIR", help="Where the record goes.")] = None,
    known: Annotated[Path | None, typer.Option(metavar="FILE", help="Accepted failures.")] = None,
    retries: Annotated[int | None, typer.Option(min=0, help="Tries more, when the lab was at fault.")] = None,
    iterations: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            max=MAX_ITERATIONS,
            help="Make every live and every save-restore move N times, whatever its scenario says, and give its cell as"
            " many times the time; 30 make a distribution of the downtime.",
        ),
    ] = None,
    stage: Annotated[
        Stage | None,
        typer.Option(help="Run NTFS cells in guests on Xen or in bare QEMU guests, whatever their scenario says."),
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="After a failure, keep the stage up for a look.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print matrix.json instead of the table.")] = False,
) -> int:
    """Run pytest on the scenarios, in this process."""
    if keep and workers > 1:
        raise UsageError("--keep is for one stage, and -n makes several", hint="leave out -n")
    Inventory.of(hosts)  # its mistakes are told once, before anything begins
    call = call_of(context)
    earlier = _earlier(unfinished, reports)
    arguments = list(paths or (_files(earlier) if earlier else _default()))
    arguments += ["--lab-continue", str(earlier.folder)] if earlier else []
    arguments += ["-k", select] if select else []
    arguments += ["-n", str(workers)] if workers > 1 else []
    arguments += ["--lab-hosts", str(hosts)] if hosts else []
    arguments += ["--lab-reports", str(reports)] if reports else []
    arguments += ["--lab-known", str(known)] if known else []
    arguments += ["--lab-retries", str(retries)] if retries is not None else []
    arguments += ["--lab-iterations", str(iterations)] if iterations is not None else []
    arguments += ["--lab-stage", stage.value] if stage is not None else []
    arguments += ["--lab-keep"] if keep else []
    with ExitStack() as undo:
        if workers > 1:
            ruined = {left.tag for left in leftovers(cache())} | {half.path.name for half in half_made(cache())}
            undo.callback(_sweep_after_workers, ruined)
        code, door = run_session(
            [*arguments, *call.extra],
            terminal=_terminal(undo),
            command=shlex.join(("lab", *call.words)),
            silent=as_json,
        )
    if as_json and door.matrix is not None:
        sys.stdout.write(json.dumps(door.matrix.to_json(), ensure_ascii=False, indent=1) + "\n")
    return code


def _earlier(name: str | None, reports: Path | None) -> Earlier | None:
    if name is None:
        return None
    return Earlier.find((reports or Settings.from_environment().reports).absolute(), name)


def _files(earlier: Earlier) -> list[str]:
    """The scenario files of the run that goes on, named so that pytest finds the same root folder."""
    return [os.path.relpath(path) for path in earlier.files_below(root_of([Path.cwd()]))]


def _default() -> list[str]:
    if not Path(_DEFAULT).is_dir():
        raise UsageError(f"there is no folder {_DEFAULT!r} here", hint="name scenario files: lab run PATH...")
    return [_DEFAULT]


def _sweep_after_workers(before: set[str]) -> None:
    """Remove what workers of this run left, which pytest-xdist kills at the second Ctrl-C and when they take too long
    to end, and which may also crash: their runs, and the machines that they were making.
    """
    where = cache()
    ruins = [left for left in leftovers(where) if left.tag not in before]
    halves = [half for half in half_made(where) if half.processes and half.path.name not in before]
    # Found before anything goes: a half-made machine names the folder of its sockets.
    folders = strays(where, {process.pid for half in halves for process in half.processes}) if halves else ()
    removals: list[tuple[str, Callable[[], Sequence[int]]]] = [
        *((left.tag, partial(sweep, left)) for left in ruins),
        *((f"half-made {half.kind}/{half.key}", partial(clear, where, half)) for half in halves),
        *((str(folder.path), partial(take_away, folder)) for folder in folders),
    ]
    for name, remove in removals:
        try:
            killed = len(remove())
            what = f"{name}, {killed} process{'' if killed == 1 else 'es'}"
            sys.stderr.write(f"a worker was killed; removed what it left: {what}\n")
        except LabError as stuck:
            sys.stderr.write(f"error: {stuck}\n")


def _terminal(undo: ExitStack) -> TextIO:
    """Standard error as it is now: pytest captures the descriptor itself while a test runs."""
    try:
        descriptor = os.dup(sys.stderr.fileno())
    except (OSError, ValueError):  # not a file: a test's, a notebook's
        return sys.stderr
    return undo.enter_context(os.fdopen(descriptor, "w", encoding=sys.stderr.encoding, errors="backslashreplace"))
