"""``lab clean``: removes what killed runs left, and what of the cache nobody has used for long."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated

import typer

from lab.cache import Cache
from lab.commands.inside import cache
from lab.deadline import Deadline
from lab.errors import EXIT_LAB, LabError
from lab.hosts import debris
from lab.hosts.inventory.ssh import OneShot
from lab.hosts.inventory.sweep import Remains, remains, remove_remains
from lab.hosts.living import LiveRun, living
from lab.hosts.processes import Process
from lab.hosts.pruning import Kept, prune
from lab.hosts.run_folder import leftovers, sweep
from lab.report.sign import plain
from lab.scenario.inventory import Inventory, ListedHost
from lab.settings import Settings

__all__ = ["register"]

_EXAMPLE = """Examples: lab clean | lab clean --dry-run | lab clean --unused-for 3 | lab clean --hosts hosts.yaml \
| lab clean --all

Exit codes: 0 all that should go is gone, 3 something could not be removed."""
_DAY = 86400.0
_HOST_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class _Removed:
    """Something that went, or would go. ``processes`` were killed with it; ``left`` is what was on a host."""

    what: str
    name: str
    bytes: int
    processes: tuple[int, ...] = ()
    left: Remains | None = None

    def __str__(self) -> str:
        if self.left is not None:
            guests = f"; guests: {', '.join(self.left.guests)}" if self.left.guests else ""
            return f"{self.what} {self.name}: {_count(self.left.disks, 'disk', 'disks')}{guests}"
        killed = f", {_count(len(self.processes), 'process', 'processes')}" if self.processes else ""
        return f"{self.what} {self.name}: {_size(self.bytes)}{killed}"


@dataclass(slots=True)
class _Cleaning:
    """What has come of it so far."""

    dry: bool
    removed: list[_Removed] = field(default_factory=list)
    kept: tuple[Kept, ...] = ()
    troubles: list[LabError] = field(default_factory=list)

    def remove(self, thing: _Removed, action: Callable[[], tuple[int, ...]]) -> None:
        """Remove one thing; trouble with it must not keep the others."""
        try:
            killed = thing.processes if self.dry else action()
            self.removed.append(replace(thing, processes=killed))
        except LabError as trouble:
            self.troubles.append(trouble)


def register(app: typer.Typer) -> None:
    """Mount the verb."""
    app.command("clean", epilog=_EXAMPLE)(clean)


def clean(
    unused_for: Annotated[
        float, typer.Option(metavar="DAYS", min=0, help="Remove of the cache what no run has used for so long.")
    ] = 14.0,
    *,
    everything: Annotated[bool, typer.Option("--all", help="Empty the cache; the next run builds all anew.")] = False,
    dry: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    hosts: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Clean your own Xen hosts, too; else those of LAB_HOSTS.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> int:
    """Remove what killed runs left behind, and what of the cache has not been used for two weeks. On hosts of your own
    it goes by the lab's tag: guests, disks, mounts, addresses of runs that are no more, whoever made them.

    Live runs, and what they use, are never touched. Records in reports/ are never touched either.
    """
    where = cache()
    inventory = Inventory.of(hosts or Settings.from_environment().hosts)
    runs = living(where)
    done = _Cleaning(dry)
    _clean_ruins(where, done)
    for host in inventory.hosts.values():
        _clean_host(host, done)
    try:
        pruning = prune(where, runs, unused_for=unused_for * _DAY, everything=everything, dry=dry)
        done.removed += [_Removed(entry.kind, entry.key, entry.bytes) for entry in pruning.removed]
        done.kept = pruning.kept
    except LabError as stuck:
        done.troubles.append(stuck)
    _print_json(done, runs) if as_json else _print(done, runs)
    for trouble in done.troubles:
        sys.stderr.write(f"error: {trouble}\n")
    return EXIT_LAB if done.troubles else 0


def _clean_ruins(where: Cache, done: _Cleaning) -> None:
    """Runs, builds and short folders; found before anything goes, since one names what belongs to the other."""
    dead, halves = leftovers(where), debris.half_made(where)
    doomed = {pid for ruin in dead for pid in ruin.processes}
    doomed |= {process.pid for half in halves for process in half.processes}
    strays = debris.strays(where, doomed)
    for ruin in dead:
        done.remove(_Removed("run", ruin.tag, ruin.bytes, ruin.processes), lambda ruin=ruin: sweep(ruin))  # type: ignore[misc] # the default binds the loop's value
    for half in halves:
        thing = _Removed("half-made", f"{half.kind}/{half.key}", half.bytes, _pids(half.processes))
        done.remove(thing, lambda half=half: debris.clear(where, half))  # type: ignore[misc] # likewise
    for stray in strays:
        own = [process for process in stray.processes if process.pid not in doomed]
        thing = _Removed("folder", str(stray.path), stray.bytes, _pids(own))
        done.remove(thing, lambda stray=stray: debris.take_away(stray))  # type: ignore[misc] # likewise


def _clean_host(host: ListedHost, done: _Cleaning) -> None:
    """After this machine: a run that was killed here holds its hosts until its programs are ended."""
    shell = OneShot(host)
    try:
        found = remains(shell, deadline=Deadline(_HOST_SECONDS))
    except LabError as trouble:
        done.troubles.append(_of_host(host, trouble))
        return
    for left in found:

        def remove(left: Remains = left) -> tuple[int, ...]:
            try:
                remove_remains(shell, left, deadline=Deadline(_HOST_SECONDS))
            except LabError as trouble:
                raise _of_host(host, trouble) from trouble
            return ()

        done.remove(_Removed(f"on {host.name}", f"run {left.tag}", 0, left=left), remove)


def _of_host(host: ListedHost, trouble: LabError) -> LabError:
    return LabError(f"{host.name}: {trouble.message.removeprefix(f'{host.name}: ')}", hint=trouble.hint)


def _pids(processes: Sequence[Process]) -> tuple[int, ...]:
    return tuple(process.pid for process in processes)


def _print(done: _Cleaning, runs: Sequence[LiveRun]) -> None:
    verb = "would remove" if done.dry else "removed"
    lines = [f"{verb} {thing}" for thing in done.removed]
    lines += [f"kept {kept.entry.kind} {kept.entry.key}: {kept.holder} uses it" for kept in done.kept]
    lines += [f"alive, not touched: run {run}" for run in runs]
    freed = sum(thing.bytes for thing in done.removed)
    if done.removed:
        lines += [f"{_size(freed)} {'would be freed' if done.dry else 'freed'}"] if freed else []
    elif not done.troubles:
        lines.append("nothing to remove")
    sys.stdout.write("".join(f"{plain(line)}\n" for line in lines))


def _print_json(done: _Cleaning, runs: Sequence[LiveRun]) -> None:
    document = {
        "schema": "lab.clean/1",
        "dry_run": done.dry,
        "removed": [_to_json(thing) for thing in done.removed],
        "kept": [{"what": one.entry.kind, "name": one.entry.key, "holder": one.holder} for one in done.kept],
        "alive": [run.tag for run in runs],
        "bytes": sum(thing.bytes for thing in done.removed),
        "troubles": [str(trouble) for trouble in done.troubles],
    }
    sys.stdout.write(json.dumps(document, ensure_ascii=False, indent=1) + "\n")


def _to_json(thing: _Removed) -> dict[str, object]:
    """What is on no host has no ``left``."""
    return {key: value for key, value in asdict(thing).items() if key != "left" or value is not None}


def _size(size: int) -> str:
    for unit, factor in (("GiB", 1 << 30), ("MiB", 1 << 20)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size >> 10} KiB"


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"
