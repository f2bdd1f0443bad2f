"""``lab doctor``: what this machine can do, and the one command that mends what is missing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from lab.deadline import Deadline
from lab.doctor import Diagnosis, cure, diagnose, diagnose_hosts, examine, look, requirements, well
from lab.errors import EXIT_LAB
from lab.report import doctor_table
from lab.scenario.inventory import Inventory
from lab.settings import Settings

__all__ = ["register"]

_EXAMPLE = """Examples: lab doctor | lab doctor --json | lab doctor --probe | lab doctor --hosts hosts.yaml

Exit codes: 0 all is there, 3 something that the lab needs is missing."""

_SECONDS = 90.0
"""A dead mirror is waited for four times 15 s; what is fetched for a probe gets the rest, or its own limit."""

_PROBE_SECONDS = 600.0


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("doctor", epilog=_EXAMPLE)(doctor)


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Write one JSON document instead of a table.")] = False,  # noqa: FBT002 - typer makes a flag of it
    probe: Annotated[  # noqa: FBT002 - likewise
        bool, typer.Option("--probe", help="Fetch a kernel for the accelerator's probe if none is in the cache.")
    ] = False,
    hosts: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Look at your own Xen hosts, too; else those of LAB_HOSTS.")
    ] = None,
) -> None:
    """Say what this machine can do for the lab: packages, disk, memory, FUSE, accelerator, mirror, leftovers. With a
    hosts file also what each host in it lacks: Xen, libvirt, programs, modules, its bridge, memory.

    Installs nothing and changes nothing, and ends with the one command that mends what is missing.
    """
    required, settings = requirements(), Settings.from_environment()
    inventory = Inventory.of(hosts or settings.hosts)
    deadline = Deadline(_PROBE_SECONDS if probe else _SECONDS)
    machine = examine(settings, required, probe=probe, deadline=deadline)
    diagnoses = (*diagnose(machine, required), *diagnose_hosts(look(inventory, deadline=Deadline(_SECONDS))))
    command = cure(machine, diagnoses)
    if as_json:
        typer.echo(json.dumps(_document(diagnoses, command), ensure_ascii=False, indent=1))
    else:
        doctor_table.show(diagnoses, command)
    if not well(diagnoses):
        raise typer.Exit(EXIT_LAB)


def _document(diagnoses: Sequence[Diagnosis], command: str) -> dict[str, object]:
    return {
        "schema": "lab.doctor/1",
        "well": well(diagnoses),
        "cure": command,
        "diagnoses": [
            {"name": each.name, "state": each.state.value, "seen": each.seen, "advice": each.advice}
            for each in diagnoses
        ],
    }
