"""``lab ntfs``."""

from __future__ import annotations

import json
import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from lab.commands.call import call_of
from lab.commands.ntfs_perf import EXAMPLE, time_drivers
from lab.engine.comparing import Compared, compare
from lab.engine.question import images_of, operations, question
from lab.matrix.tally import sentence
from lab.ntfs.naming import spelled
from lab.report.progress import Progress
from lab.report.sign import plain, printable
from lab.report.terminal import show
from lab.scenario.stages import Stage
from lab.settings import Settings
from lab.stage import open_stage

__all__ = ["register"]

_EXAMPLE = """Examples: lab ntfs compare disk.img | lab ntfs compare a.img b.qcow2 --drivers ntfs3,ntfs-3g --json |
lab ntfs compare /dev/sdb --write | lab ntfs compare images/ --drivers ntfs3 |
lab ntfs compare images/ --continue latest

Exit codes: 0 no driver is wrong, 1 a driver misreads a volume, 2 usage error or no such file, 3 an image cannot be used
or lab trouble."""


def register(app: typer.Typer) -> None:
    """Mount the verb."""
    group = typer.Typer(help="Your own NTFS images against every driver.", rich_markup_mode=None)
    group.callback(epilog="Example: lab ntfs compare disk.img")(_ntfs)
    group.command("compare", epilog=_EXAMPLE)(compare_images)
    group.command("perf", epilog=EXAMPLE)(time_drivers)
    app.add_typer(group, name="ntfs")


def _ntfs() -> None:
    """Your own NTFS images against every driver."""


def compare_images(  # noqa: PLR0913, PLR0917 - one parameter an option, and typer calls it by name
    context: typer.Context,
    images: Annotated[
        list[Path] | None,
        typer.Argument(help="Images of volumes or of whole disks, block devices, tar archives or folders of images."),
    ] = None,
    drivers: Annotated[
        str, typer.Option(metavar="NAME[,NAME]", help="Only these drivers; else all, where a kernel ships them.")
    ] = "",
    kernels: Annotated[
        str, typer.Option(metavar="RELEASE[,RELEASE]", help="Every driver on the kernel of each Debian release.")
    ] = "",
    host: Annotated[str, typer.Option(metavar="VERSION", help="The Xen that the guests run on.")] = "4.20",
    stage: Annotated[
        Stage, typer.Option(help="Guests on Xen, or bare QEMU guests, which are up sooner and need no host.")
    ] = Stage.XEN,
    reports: Annotated[Path | None, typer.Option(metavar="DIR", help="Where the record goes.")] = None,
    wanted: Annotated[
        str,
        typer.Option(
            "--operations",
            metavar="NAME[,NAME]",
            help="What to do to a copy of your volume besides reading it; as --write, but only these.",
        ),
    ] = "",
    *,
    continues: Annotated[
        str,
        typer.Option(
            "--continue",
            metavar="RUN",
            help="Finish that comparison, by its name or folder: verdicts on volumes that are what they were are "
            "carried into this run's record, and only what has none is tried.",
        ),
    ] = "",
    write: Annotated[
        bool,
        typer.Option(
            "--write", help="Write, too: everything, on a copy of your volume; the image itself is never written."
        ),
    ] = False,
    samples: Annotated[bool, typer.Option("--samples", help="The folder that LAB_SAMPLES names, too.")] = False,
    allow_mounted: Annotated[
        bool,
        typer.Option(
            "--allow-mounted", help="Take a volume that is mounted for writing as it is, half-written or not."
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print matrix.json instead of the table.")] = False,
) -> int:
    """Show your NTFS images, which are only read, to every driver in a Xen guest, and compare.

    What a volume holds is what independent readers agree on. For each volume a sentence says what each driver makes
    of it, which of them are safe to read it with, and with --write, which are safe to write to it with.
    """
    settings = Settings.from_environment()
    asked = replace(
        question(images_of(images or (), settings.samples, wanted=samples), _names(drivers), _names(kernels), host),
        operations=operations(_names(wanted), write=write),
        allow_mounted=allow_mounted,
        stage=stage,
        continues=continues,
    )
    settings = replace(settings, reports=reports.absolute()) if reports else settings
    command = spelled(shlex.join(("lab", *call_of(context).words)))
    answer = compare(asked, settings, command=command, progress=Progress(), open_stage=open_stage)
    _print(answer, as_json=as_json)
    for note in answer.notes:
        sys.stderr.write(f"note: {_safe(note, sys.stderr.encoding)}\n")
    for trouble in answer.troubles:
        sys.stderr.write(f"error: {_safe(str(trouble), sys.stderr.encoding)}\n")
    if answer.interrupted and answer.matrix is not None:
        sys.stderr.write(f"interrupted; {sentence(answer.matrix)}; record at {answer.folder}\n")
    return answer.exit_code


def _print(answer: Compared, *, as_json: bool) -> None:
    if answer.matrix is None or answer.folder is None:
        return
    if as_json:
        sys.stdout.write(json.dumps(answer.matrix.to_json(), ensure_ascii=False, indent=1) + "\n")
        return
    show(answer.matrix, folder=answer.folder)
    for one in answer.advice:
        sys.stdout.write(f"\n{_safe(one.text, sys.stdout.encoding)}\n")
    sys.stdout.write(f"\nrecord: {answer.folder}\nreport: {answer.folder}/matrix.html\n")


def _safe(text: str, encoding: str) -> str:
    """Names off a hostile volume must not act on the terminal."""
    return printable(plain(text, keep="\n"), encoding)


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())
