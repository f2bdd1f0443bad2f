"""Reaching a host that a user names: one of a live run, or one of their own, of the hosts file or by its libvirt URI.

It is only asked.
"""

from __future__ import annotations

import shlex
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit

from lab.deadline import Deadline
from lab.errors import HostError, UnknownNameError, UsageError
from lab.hosts.inventory.ssh import connected
from lab.hosts.inventory.survey import survey
from lab.hosts.living import LiveHost, LiveRun, pick
from lab.hypervisor import connect
from lab.preflight.ask import Side
from lab.process import Completed, last_line, run
from lab.scenario.inventory import Inventory, ListedHost
from lab.shell import Shell, SshNetwork, SshShell

__all__ = ["Ssh", "ssh_of", "way_to"]

_SCHEMES = frozenset({"xen+ssh", "xen+libssh", "xen+libssh2"})


@dataclass(frozen=True, slots=True)
class Ssh:
    """A shell on a user's own machine, by their own ssh configuration; no password is ever asked for."""

    words: tuple[str, ...]
    name: str

    def run(self, *argv: str, deadline: Deadline, stdin: bytes = b"") -> Completed:
        """Run a program there.

        Raises:
            HostError: ssh did not get there (it ended with 255, ssh(1)).
            DeadlineError: it did not end in time.
        """
        done = run(*self.words, "--", shlex.join(argv), stdin=stdin, deadline=deadline)
        if done.status == 255:
            raise HostError(
                f"{self.name}: no ssh connection: {last_line(done.stderr) or 'no reason given'}",
                hint=f"try it yourself: {shlex.join((*self.words, 'true'))}",
            )
        return Completed(argv, done.status, done.stdout, done.stderr, done.seconds)


Way = Callable[[Deadline], AbstractContextManager[Side]]
"""How a host is reached: entered, it raises HostError or DeadlineError where the host does not answer."""


def way_to(name: str, runs: Sequence[LiveRun], *, inventory: Inventory | None = None, tag: str = "") -> Way:
    """The way to the host that ``name`` means: one of ``runs``, one of ``inventory``, or a libvirt URI such as
    ``xen+ssh://root@alpha/system``. Nobody is asked anything yet.

    Raises:
        UnknownNameError: no such host is up, nor in the inventory.
        UsageError: several are up, or the URI is none of a Xen host that ssh reaches.
    """
    listed = inventory.hosts if inventory is not None else {}
    if "://" in name:
        return partial(_reached_by_uri, name, *ssh_of(name))
    if name in listed:
        return partial(_reached_listed, listed[name])
    live = [each for run in runs for each in run.hosts]
    if listed and name not in {host.name for host in live}:
        assert inventory is not None  # noqa: S101 - it has hosts
        raise UnknownNameError(f"live host or host in {inventory.path}", name, (*(host.name for host in live), *listed))
    return partial(_reached_live, pick("host", name, live, run=tag), runs)


@contextmanager
def _reached_by_uri(uri: str, words: tuple[str, ...], short: str, deadline: Deadline) -> Iterator[Side]:
    with connect(_quiet(uri), deadline=deadline) as connection:
        yield Side(short, Ssh(words, short), connection)


@contextmanager
def _reached_live(host: LiveHost, runs: Sequence[LiveRun], deadline: Deadline) -> Iterator[Side]:
    with connect(f"xen+unix:///system?socket={host.config.parent / 'libvirt'}", deadline=deadline) as connection:
        shells = _shells(host, runs)
        yield Side(host.name, _shell(host.config, host.name), connection, shells.get)


@contextmanager
def _reached_listed(host: ListedHost, deadline: Deadline) -> Iterator[Side]:
    """By one login, whose connection carries libvirt's as well. The host is not leased: it is only asked."""
    with tempfile.TemporaryDirectory(prefix="preflight-") as name, ExitStack() as undo:
        folder = Path(name)
        shell = undo.enter_context(connected(host, folder, deadline=deadline))
        socket = survey(shell, host.bridge, deadline=deadline).socket
        if not socket:
            raise HostError(f"{host.name}: libvirt has no socket there", hint="see lab doctor --hosts FILE")
        shell.forward(folder / "libvirt", socket, deadline=deadline)
        uri = f"xen+unix:///system?socket={folder / 'libvirt'}"
        yield Side(host.name, shell, undo.enter_context(connect(uri, deadline=deadline)))


def ssh_of(uri: str) -> tuple[tuple[str, ...], str]:
    """The ssh command for the host of a libvirt URI, and its name.

    Raises:
        UsageError: it is no such URI.
    """
    parts = urlsplit(uri)
    if parts.scheme not in _SCHEMES or not parts.hostname or parts.path not in {"/system", "/"}:
        raise UsageError(
            f"{uri!r} is no Xen host that ssh reaches", hint="such as xen+ssh://root@alpha/system, or see lab host ls"
        )
    user, port = (("-l", parts.username) if parts.username else ()), _port(parts, uri)
    options = ("-o", "BatchMode=yes", "-o", "ConnectTimeout=20", "-o", "LogLevel=ERROR")
    return ("ssh", *options, *user, *port, parts.hostname), parts.hostname


def _port(parts: SplitResult, uri: str) -> tuple[str, ...]:
    try:
        return ("-p", str(parts.port)) if parts.port else ()
    except ValueError as wrong:
        raise UsageError(f"{uri!r}: {wrong}") from wrong


def _quiet(uri: str) -> str:
    """The URI, by which libvirt's own ssh asks for no password either (https://libvirt.org/uri.html)."""
    parts = urlsplit(uri)
    asked = dict(parse_qsl(parts.query))
    return parts._replace(query=urlencode({"no_tty": "1", **asked}, safe="/")).geturl()


def _shell(config: Path, alias: str) -> SshShell:
    # The run that brought it up holds the master connection; this is one more guest on it, and writes nothing.
    return SshShell(SshNetwork(config.parent, Path(), ""), alias)


def _shells(host: LiveHost, runs: Sequence[LiveRun]) -> dict[str, Shell]:
    """The guests on a host that the lab's connection still reaches."""
    guests = (guest for run in runs if run.tag == host.run for guest in run.guests)
    return {one.name: _shell(one.config, one.name) for one in guests if one.host == host.name and one.answers}
