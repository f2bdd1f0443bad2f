"""``lab host``: Xen hosts that are up, and bringing some up without a scenario."""

from __future__ import annotations

import json
import shlex
import signal
import sys
import time
from contextlib import ExitStack, suppress
from typing import Annotated

import typer

from lab import events
from lab.cache import Cache
from lab.commands.call import call_of
from lab.commands.inside import become, cache, clock, show, table, xen_name
from lab.deadline import Deadline
from lab.engine.patience import interrupted_once, wait_for_interrupt
from lab.errors import DeadlineError, HostError, UnknownNameError
from lab.hosts.embedded.recipe import embedded_versions
from lab.hosts.living import LiveHost, LiveRun, living, mark_waiting, pick, pick_run
from lab.scenario.cell import HostRequest
from lab.settings import Settings
from lab.wait import wait_until

__all__ = ["register"]

_UP_SECONDS = 3600.0
"""For hosts that must be built first; each takes some minutes."""

_DOWN_SECONDS = 90.0
"""A run ends a call that is under way before it takes anything down."""


def register(app: typer.Typer) -> None:
    """Mount the verbs."""
    host = typer.Typer(help="Xen hosts: bring up, look inside, take down.", no_args_is_help=True, rich_markup_mode=None)
    host.command("ls", epilog="Examples: lab host ls | lab host ls --json")(ls)
    host.command("up", epilog="Examples: lab host up 4.20 | lab host up 4.14 4.20")(up)
    host.command("down", epilog="Examples: lab host down | lab host down 6140d550")(down)
    host.command("shell", epilog="Examples: lab host shell xen-4.20 | lab host shell xen-4.20 -- xl info")(shell)
    host.command("console", epilog="Examples: lab host console xen-4.20 | lab host console xen-4.20 --follow")(console)
    app.add_typer(host, name="host")


_Name = Annotated[str, typer.Argument(help="A host that is up, such as xen-4.20.")]
_Run = Annotated[str, typer.Option("--run", metavar="TAG", help="Which run's, where several have one.")]


def ls(*, as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False) -> None:
    """Name the hosts that are up in any run of this cache, and the versions that can be brought up."""
    where = cache()
    hosts = [host for run in living(where) for host in run.hosts]
    versions = {version: _has_snapshot(where, f"xen-{version}") for version in embedded_versions()}
    if as_json:
        sys.stdout.write(json.dumps(_document(hosts, versions), ensure_ascii=False, indent=1) + "\n")
        return
    if hosts:
        rows = [(host.name, host.run, clock(host.since), shlex.join(host.ssh)) for host in hosts]
        sys.stdout.write(table(("HOST", "RUN", "SINCE", "SSH"), rows))
    else:
        sys.stdout.write("no host is up\n")
    sys.stdout.write("\n")
    known = [
        (f"xen-{version}", "in the cache: up in seconds" if cached else "not in the cache: minutes, once")
        for version, cached in versions.items()
    ]
    sys.stdout.write(table(("CAN BE UP", "SNAPSHOT"), known))


def up(
    versions: Annotated[list[str], typer.Argument(metavar="VERSION...", help="Xen versions: 4.14, 4.17, 4.20.")],
) -> None:
    """Bring hosts up on one private network, and stay in the foreground until Ctrl-C takes them down."""
    requests = [_request(version) for version in dict.fromkeys(map(xen_name, versions))]
    from lab.stage import open_stage  # noqa: PLC0415 - brings libvirt along, which the other verbs do not need

    with interrupted_once(), ExitStack() as undo:
        undo.callback(events.subscribe(_tell))
        stage = undo.enter_context(open_stage(Settings.from_environment()))
        for request in requests:
            facts = stage.host(request, Deadline(_UP_SECONDS))
            _say(
                f"{facts.name} is up: Xen {facts.xen}, libvirt {facts.libvirt}, dom0 {facts.kernel}, "
                f"{stage.accelerator}\n  lab host shell {facts.name}\n  lab host console {facts.name} --follow\n"
            )

        def watch() -> None:
            for host in stage.pool.up():
                host.disks.watch()

        with suppress(KeyboardInterrupt):
            mark_waiting(stage.folder.path)
            _say(f"Ctrl-C takes it all down, or from elsewhere: lab host down {stage.folder.tag}\n")
            wait_for_interrupt(watch)
        sys.stderr.write("taking down\n")


def down(
    run: Annotated[str, typer.Argument(help="A run's tag, as `lab host ls` shows it; else the one that waits.")] = "",
) -> None:
    """Ask a live run to end, in order: one of `lab host up`, or one that is kept by --keep."""
    runs = living(cache())
    if not runs and not run:
        sys.stdout.write("no host is up\n")
        return
    _end(pick_run(run, runs))


def shell(context: typer.Context, name: _Name, run: _Run = "") -> None:
    """Open a shell on a host, or run what stands after `--`: one word is a line for its shell, several a command."""
    host = _find(name, run)
    become(host.ssh, call_of(context).extra)


def console(
    name: _Name,
    run: _Run = "",
    *,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what it says from now on.")] = False,
) -> None:
    """Print what a host's Xen and dom0 have said on the serial port."""
    host = _find(name, run)
    show(host.console, follow=follow, alive=lambda: host in [each for run in living(cache()) for each in run.hosts])


def _find(name: str, run: str) -> LiveHost:
    return pick("host", xen_name(name), [host for each in living(cache()) for host in each.hosts], run=run)


def _request(name: str) -> HostRequest:
    """What brings up the host of that name.

    Raises:
        UnknownNameError: the lab cannot nest that version.
    """
    known = [f"xen-{version}" for version in embedded_versions()]
    if name not in known:
        raise UnknownNameError("host that can be brought up", name, known)
    return HostRequest("host", xen=name.removeprefix("xen-"))


def _end(run: LiveRun) -> None:
    """Interrupt a run and wait for its end.

    Raises:
        HostError: nobody can be asked, or nobody obeys.
    """
    process = run.owner.process if run.owner is not None else None
    if process is None:
        raise HostError(f"run {run}: its process is not to be found", hint="`lab clean`, once it is dead")
    # What a script started in the background hears no SIGINT.
    process.send(signal.SIGTERM if process.ignores(signal.SIGINT) else signal.SIGINT)
    sys.stderr.write(f"run {run} is asked to end\n")
    try:
        wait_until(f"the end of run {run.tag}", lambda: process.gone, deadline=Deadline(_DOWN_SECONDS))
    except DeadlineError as late:
        raise HostError(
            f"run {run} (process {process.pid}) has not ended within {_DOWN_SECONDS:g} s",
            hint=f"kill -9 {process.pid}, then `lab clean`",
        ) from late
    sys.stdout.write(f"run {run.tag} is down\n")


def _has_snapshot(where: Cache, name: str) -> bool:
    """Whether a snapshot of that host is in the cache; of today's packages or not, only the mirror could say."""
    for file in (where.root / "snapshot").glob("*/facts.json"):
        with suppress(OSError, ValueError, AttributeError):
            if json.loads(file.read_text(encoding="utf-8")).get("name") == name:
                return True
    return False


def _document(hosts: list[LiveHost], versions: dict[str, bool]) -> dict[str, object]:
    return {
        "schema": "lab.hosts/1",
        "hosts": [
            {
                "name": host.name,
                "run": host.run,
                "since": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(host.since)),
                "ssh": list(host.ssh),
                "console": str(host.console),
            }
            for host in hosts
        ],
        "versions": [{"xen": xen, "name": f"xen-{xen}", "snapshot": cached} for xen, cached in versions.items()],
    }


def _tell(event: events.Event) -> None:
    if event.kind == "start":
        of = event.fields.get("host") or event.fields.get("suite") or ""
        sys.stderr.write(f"{event.fields.get('step', '')} {of}".rstrip() + " ...\n")


def _say(text: str) -> None:
    """Say it now, whoever reads it."""
    sys.stdout.write(text)
    sys.stdout.flush()
