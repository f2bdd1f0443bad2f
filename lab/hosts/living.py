"""What lives now: runs that are alive, the hosts they hold, and the guests on these. Read off the run folders."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar

from lab.cache import Cache
from lab.errors import UnknownNameError, UsageError
from lab.hosts.processes import Process
from lab.hosts.run_folder import Owner, is_alive, run_folders, sockets_of

__all__ = ["LiveGuest", "LiveHost", "LiveRun", "living", "mark_waiting", "pick", "pick_run"]

_WAITS = "waits"
_WIDTH = 80
"""As much of a command as fits into a message."""


@dataclass(frozen=True, slots=True)
class LiveHost:
    """A host whose QEMU runs. ``since`` is seconds since the epoch."""

    name: str
    run: str
    since: float
    config: Path
    """ssh's, which also knows the guests on it."""
    console: Path

    @property
    def ssh(self) -> tuple[str, ...]:
        """The command that opens a shell on it."""
        return ("ssh", "-F", str(self.config), self.name)


@dataclass(frozen=True, slots=True)
class LiveGuest:
    """A guest on ``host``, there since ``since``. ``answers`` says whether the lab's connection to it is open.

    A bare guest has no host, and its ``console`` is a file of this machine.
    """

    name: str
    run: str
    host: str
    since: float
    config: Path
    answers: bool
    console: Path | None = None

    @property
    def ssh(self) -> tuple[str, ...]:
        """The command that opens a shell in it."""
        return ("ssh", "-F", str(self.config), self.name)

    @property
    def log(self) -> str:
        """Where its host keeps what it said on its serial console (xenconsoled(8))."""
        return f"/var/log/xen/console/guest-{self.name}.log"


@dataclass(frozen=True, slots=True)
class LiveRun:
    """A run that is alive. ``waits`` says that it does nothing but wait for somebody to end it."""

    tag: str
    owner: Owner | None
    waits: bool
    hosts: tuple[LiveHost, ...] = field(default=())
    guests: tuple[LiveGuest, ...] = field(default=())

    def __str__(self) -> str:
        doing = " ".join(self.owner.command.split()) if self.owner is not None else "of an unknown process"
        return f"{self.tag} ({doing if len(doing) <= _WIDTH else f'{doing[:_WIDTH]}...'})"


def living(cache: Cache) -> tuple[LiveRun, ...]:
    """Every live run of this cache."""
    return tuple(_run(path) for path in run_folders(cache) if is_alive(path))


def mark_waiting(path: Path) -> None:
    """Note in a run's folder that it only waits from now on: ``lab host down`` may end it without being told which."""
    with suppress(OSError):
        (path / _WAITS).touch()


class _Named(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def run(self) -> str: ...


T = TypeVar("T", bound=_Named)


def pick(kind: str, name: str, found: Iterable[T], *, run: str = "") -> T:
    """The one of that name, in the run whose tag begins with ``run``.

    Raises:
        UnknownNameError: there is none; the message says which there are.
        UsageError: several runs have one.
    """
    there = [each for each in found if each.run.startswith(run)]
    named = [each for each in there if each.name == name]
    if not named:
        raise _unknown(f"live {kind}", name, {each.name for each in there}, nothing=f"no {kind} lives now")
    if len(named) > 1:
        tags = [each.run for each in named]
        raise UsageError(f"{kind} {name!r} lives in {len(tags)} runs: {', '.join(tags)}", hint=f"say --run {tags[0]}")
    return named[0]


def pick_run(tag: str, runs: Sequence[LiveRun]) -> LiveRun:
    """The run whose tag begins so; without a tag the only one that waits to be ended.

    Raises:
        UnknownNameError: there is no such run.
        UsageError: there are several, or none that only waits.
    """
    if tag:
        found = [run for run in runs if run.tag.startswith(tag)]
        if not found:
            holders = [run.tag for run in runs if any(host.name == tag for host in run.hosts)]
            unknown = _unknown("live run", tag, {run.tag for run in runs}, nothing="no run lives now")
            if holders:
                unknown.hint = f"{tag} belongs to run {holders[0]}, and goes with it"
            raise unknown
    else:
        found = [run for run in runs if run.waits]
    if len(found) == 1:
        return found[0]
    several = ", ".join(map(str, found or runs))
    if found:
        raise UsageError(f"{len(found)} runs are meant: {several}", hint=f"name one: lab host down {found[0].tag}")
    raise UsageError(f"no run waits to be ended; at work: {several or 'none'}", hint="name a run to interrupt it")


def _unknown(kind: str, name: str, known: Iterable[str], *, nothing: str) -> UnknownNameError:
    names = sorted(known)
    error = UnknownNameError(kind, name, names)
    error.hint = error.hint or ("" if names else nothing)
    return error


def _run(path: Path) -> LiveRun:
    sockets = sockets_of(path)
    hosts = tuple(_hosts(path, sockets)) if sockets is not None else ()
    guests = (*_guests(path, hosts), *(_bare(path, sockets) if sockets is not None else ()))
    return LiveRun(path.name, Owner.of(path), (path / _WAITS).exists(), hosts, guests)


def _hosts(path: Path, sockets: Path) -> Iterator[LiveHost]:
    """A host has a folder of its name in both of a run's folders; in one QEMU's number, in the other ssh's files."""
    with suppress(OSError):
        for folder in sorted(sockets.iterdir()):
            home = path / folder.name
            since = _qemu_since(home) if (folder / f"{folder.name}.conf").exists() else None
            if since is not None:
                yield LiveHost(folder.name, path.name, since, folder / "config", home / "console.log")


def _qemu_since(home: Path) -> float | None:
    """When the QEMU of that folder started; None if it is gone, which takes no file along when it was killed."""
    with suppress(OSError, ValueError):
        file = home / "qemu.pid"
        process = Process.read(int(file.read_text()))
        if process is not None and process.ours and process.names(home):
            return file.stat().st_mtime
    return None


def _guests(path: Path, hosts: Sequence[LiveHost]) -> Iterator[LiveGuest]:
    """Guests are what ssh reaches through a host. One that moved is known to several hosts, and is on the latest."""
    latest: dict[str, LiveGuest] = {}
    for host in hosts:
        for file in host.config.parent.glob("*.conf"):
            with suppress(OSError):
                if f"ProxyJump {host.name}\n" not in file.read_text(encoding="utf-8"):
                    continue
                since, answers = file.stat().st_mtime, _listens(file.with_suffix(""))
                guest = LiveGuest(file.stem, path.name, host.name, since, host.config, answers)
                if guest.name not in latest or latest[guest.name].since < since:
                    latest[guest.name] = guest
    for name, guest in sorted(latest.items()):
        # Its disk goes when it goes; a guest that hangs has no connection, and is the one that people look for.
        if guest.answers or any(path.glob(f"**/{name}.raw")):
            yield guest


def _bare(path: Path, sockets: Path) -> Iterator[LiveGuest]:
    """Guests without a host: a QEMU in whose folder ssh knows somebody, and nobody of the folder's own name."""
    with suppress(OSError):
        for folder in sorted(sockets.iterdir()):
            home = path / folder.name
            since = None if (folder / f"{folder.name}.conf").exists() else _qemu_since(home)
            for file in sorted(folder.glob("*.conf")) if since is not None else ():
                config, answers = folder / "config", _listens(file.with_suffix(""))
                yield LiveGuest(file.stem, path.name, "", since or 0.0, config, answers, home / "console.log")


def _listens(path: Path) -> bool:
    """Whether somebody listens on the socket of an ssh master; one that was killed leaves the file behind."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1)
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True
