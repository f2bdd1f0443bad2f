"""``lab guest``: looking inside guests of live runs."""

from __future__ import annotations

import json
import shlex
import sys
import time
from typing import Annotated

import typer

from lab.commands.call import call_of
from lab.commands.inside import become, cache, clock, show, table
from lab.hosts.living import LiveGuest, LiveHost, LiveRun, living, pick

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Mount the verbs."""
    guest = typer.Typer(help="Guests of live runs: look inside.", no_args_is_help=True, rich_markup_mode=None)
    guest.command("ls", epilog="Examples: lab guest ls | lab guest ls --json")(ls)
    guest.command("shell", epilog="Examples: lab guest shell web32-6140-10 | lab guest shell web32-6140-10 -- lsmod")(
        shell
    )
    guest.command("console", epilog="Example: lab guest console web32-6140-10 --follow")(console)
    app.add_typer(guest, name="guest")


_Name = Annotated[str, typer.Argument(help="A guest, as `lab guest ls` names it.")]
_Run = Annotated[str, typer.Option("--run", metavar="TAG", help="Which run's, where several have one.")]


def ls(*, as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False) -> None:
    """Name the guests of all live runs of this cache, and the hosts on which they are."""
    guests = _guests()
    if as_json:
        document = {"schema": "lab.guests/1", "guests": [_to_json(guest) for guest in guests]}
        sys.stdout.write(json.dumps(document, ensure_ascii=False, indent=1) + "\n")
        return
    if not guests:
        sys.stdout.write("no guest is up\n")
        return
    rows = [
        (
            guest.name,
            guest.host or "none",
            guest.run,
            clock(guest.since),
            "yes" if guest.answers else "no",
            shlex.join(guest.ssh),
        )
        for guest in guests
    ]
    sys.stdout.write(table(("GUEST", "HOST", "RUN", "THERE SINCE", "ANSWERS", "SSH"), rows))


def shell(context: typer.Context, name: _Name, run: _Run = "") -> None:
    """Open a shell in a guest, or run what stands after `--`: one word is a line for its shell, several a command."""
    guest, _runs = _find(name, run)
    become(guest.ssh, call_of(context).extra)


def console(
    name: _Name,
    run: _Run = "",
    *,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what it says from now on.")] = False,
) -> None:
    """Print what a guest has said on its console on the host where it is now; its host keeps that."""
    guest, runs = _find(name, run)
    if guest.console is not None:
        show(guest.console, follow=follow, alive=lambda: any(each.name == name for each in _guests()))
        return
    host = _host_of(guest, runs)
    become(host.ssh, ("tail", "-n", "+1", *(("-f",) if follow else ()), guest.log))


def _find(name: str, tag: str) -> tuple[LiveGuest, tuple[LiveRun, ...]]:
    runs = living(cache())
    return pick("guest", name, _guests(runs), run=tag), runs


def _guests(runs: tuple[LiveRun, ...] | None = None) -> list[LiveGuest]:
    return [guest for run in (living(cache()) if runs is None else runs) for guest in run.guests]


def _host_of(guest: LiveGuest, runs: tuple[LiveRun, ...]) -> LiveHost:
    return next(host for run in runs for host in run.hosts if (host.run, host.name) == (guest.run, guest.host))


def _to_json(guest: LiveGuest) -> dict[str, object]:
    return {
        "name": guest.name,
        "host": guest.host,
        "run": guest.run,
        "since": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(guest.since)),
        "answers": guest.answers,
        "ssh": list(guest.ssh),
    }
