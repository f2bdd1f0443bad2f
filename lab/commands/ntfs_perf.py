"""``lab ntfs perf``."""

from __future__ import annotations

import json
import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from lab.commands.call import call_of
from lab.engine.perf import FILE, PAGE, PerfAnswer, perf
from lab.engine.perf_question import DEFAULT_ROUNDS, perf_question
from lab.ntfs.naming import spelled
from lab.report.perf_text import perf_sentence, render
from lab.report.progress import Progress
from lab.report.sign import plain, printable
from lab.scenario.stages import Stage
from lab.settings import Settings
from lab.stage.perf import open_perf_stage

__all__ = ["EXAMPLE", "time_drivers"]

EXAMPLE = """Examples: lab ntfs perf | lab ntfs perf --drivers ntfs3,ntfs-3g --kernels trixie --rounds 3 | \
lab ntfs perf --measures mount,mount-1t --stage microvm --json

Exit codes: 0 every driver has its figures, or cannot do what was asked, 1 a driver does it wrong, crashes or hangs,
2 usage error, 3 something was not measured for lab trouble."""


def time_drivers(  # noqa: PLR0913, PLR0917 - one parameter an option, and typer calls it by name
    context: typer.Context,
    drivers: Annotated[
        str, typer.Option(metavar="NAME[,NAME]", help="Only these drivers; else all that a kernel has.")
    ] = "",
    kernels: Annotated[
        str, typer.Option(metavar="RELEASE[,RELEASE]", help="The kernels of these Debian releases, a guest each.")
    ] = "",
    measures: Annotated[
        str, typer.Option(metavar="NAME[,NAME]", help="Only these measures; else all: mount, walk, read, write ...")
    ] = "",
    rounds: Annotated[
        int, typer.Option(metavar="N", help="How often each driver takes its turn; ranks need 3.")
    ] = DEFAULT_ROUNDS,
    host: Annotated[str, typer.Option(metavar="VERSION", help="The Xen that the guests run on.")] = "4.20",
    stage: Annotated[
        Stage, typer.Option(help="Guests on Xen, or bare QEMU guests, which are up sooner and need no host.")
    ] = Stage.XEN,
    reports: Annotated[Path | None, typer.Option(metavar="DIR", help="Where the record goes.")] = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print perf.json instead of the tables.")] = False,
) -> int:
    """Time the drivers next to each other: mounts, walks, reads and writes, all in one guest a kernel.

    In each round every driver has a turn, and each round another one begins. Each measure is taken on a fresh copy of
    a volume with nothing cached, and what has come of it is checked: a fast wrong answer has no figure. Figures say
    who is faster, and how many times; under emulation they say nothing of how fast.
    """
    asked = perf_question(
        names=_names(drivers),
        kernels=_names(kernels),
        measured=_names(measures),
        rounds=rounds,
        stage=stage,
        host=host,
    )
    settings = Settings.from_environment()
    settings = replace(settings, reports=reports.absolute()) if reports else settings
    command = spelled(shlex.join(("lab", *call_of(context).words)))
    answer = perf(asked, settings, command=command, progress=Progress(), open_stage=open_perf_stage)
    _print(answer, as_json=as_json)
    return answer.exit_code


def _print(answer: PerfAnswer, *, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(json.dumps(answer.result.to_json(), ensure_ascii=False, indent=1) + "\n")
    else:
        sys.stdout.write(render(answer.result, encoding=sys.stdout.encoding or "utf-8"))
        where = answer.folder
        sys.stdout.write(f"\nrecord: {where}\nfigures: {where / FILE}\nreport: {where / PAGE}\n")
    for trouble in answer.troubles:
        sys.stderr.write(f"error: {printable(plain(str(trouble), keep=chr(10)), sys.stderr.encoding)}\n")
    if answer.interrupted:
        sys.stderr.write(f"interrupted; {perf_sentence(answer.result)}; record at {answer.folder}\n")


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())
