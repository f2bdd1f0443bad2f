"""ssh to a machine of the user's: by their own configuration, keys and known hosts, which the lab only adds to."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lab.deadline import Deadline
from lab.errors import HostError
from lab.process import Completed, last_line, run
from lab.scenario.inventory import ListedHost
from lab.shell import SshNetwork, SshShell

__all__ = ["OneShot", "UserSsh", "connected", "destination", "plain_words", "ssh_words"]

_CONNECT_SECONDS = 60.0
"""A login takes a real machine a second, and an emulated one that is busy half a minute."""

_TRIES = 3


def ssh_words(host: ListedHost) -> tuple[str, ...]:
    """The ssh command for a host, up to the command to run there. ssh reads the user's configuration as ever; of two
    values it takes the first, and these come first (ssh_config(5)).

    Whether a host's key is known is for ssh to say: the lab asks nothing of it that would make it believe strangers.
    """
    options = [word for option in _OPTIONS for word in ("-o", option)]
    if host.identity is not None:
        options += ["-i", str(host.identity), "-o", "IdentitiesOnly=yes"]
    if host.known_hosts is not None:
        options += ["-o", f'UserKnownHostsFile="{host.known_hosts}"']
    if host.user:
        options += ["-l", host.user]
    if host.port is not None:
        options += ["-p", str(host.port)]
    return ("ssh", *options, host.machine)


_OPTIONS = (
    # Nobody is there to be asked for a password.
    "BatchMode=yes",
    "ConnectTimeout=20",
    "LogLevel=ERROR",
    # What may stand in a user's configuration for their own sessions.
    "RequestTTY=no",
    "RemoteCommand=none",
    "PermitLocalCommand=no",
    "ForwardAgent=no",
    # A host that is gone is known to be after half a minute.
    "ServerAliveInterval=10",
    "ServerAliveCountMax=3",
    "StreamLocalBindUnlink=yes",
)


@dataclass(frozen=True, slots=True)
class OneShot:
    """A :class:`lab.shell.Shell` on a host that logs in for each command."""

    host: ListedHost

    @property
    def shown(self) -> tuple[str, ...]:
        """The ssh command as somebody would type it."""
        return plain_words(self.host)

    def run(self, *argv: str, deadline: Deadline, stdin: bytes = b"") -> Completed:
        """Run a program there.

        Raises:
            HostError: ssh did not get there (it ended with 255, ssh(1)).
            DeadlineError: it did not end in time.
        """
        done = run(*ssh_words(self.host), "--", shlex.join(argv), stdin=stdin, deadline=deadline)
        if done.status == 255:
            raise _unreached(self.host, last_line(done.stderr))
        return Completed(argv, done.status, done.stdout, done.stderr, done.seconds)


def _unreached(host: ListedHost, said: str) -> HostError:
    return HostError(
        f"{host.name}: ssh does not get there: {said or 'no reason given'}",
        hint=f"try it yourself: {shlex.join(plain_words(host))}",
    )


@dataclass(frozen=True, slots=True)
class UserSsh(SshNetwork):
    """A network of that one machine. ``folder`` holds the socket of the master connection, and its path is short."""

    words: tuple[str, ...] = ()

    @classmethod
    def to(cls, host: ListedHost, folder: Path) -> UserSsh:
        """The way to a host."""
        *ssh, machine = ssh_words(host)
        # Their own ControlPath may have a master that does not know of the lab's options, and outlives it.
        mux = ("-o", f"ControlPath={str(folder / machine).replace('%', '%%')}", "-o", "ControlPersist=no")
        return cls(folder, Path(), "", words=(*ssh, *mux, machine))

    def argv(self, alias: str) -> tuple[str, ...]:
        """See :meth:`SshNetwork.argv`."""
        *ssh, _ = self.words
        return (*ssh, alias)

    @property
    def onward(self) -> str:
        """The command that goes through the machine to where ssh wants to go, as a ProxyCommand."""
        *ssh, machine = self.words
        # A word of the command line may hold a percent sign, which is ssh's own here.
        quoted = shlex.join(ssh).replace("%", "%%")
        return f"{quoted} -W [%h]:%p {machine}"


@contextmanager
def connected(host: ListedHost, folder: Path, *, deadline: Deadline) -> Iterator[SshShell]:
    """A shell on a host, its master connection open as long as the context.

    Raises:
        HostError: ssh does not get there; its own words are in the message. It is not tried for long.
    """
    network = UserSsh.to(host, folder)
    try:
        with network.connect(
            host.machine, deadline=deadline.at_most(_CONNECT_SECONDS), watch=_patience(host, folder)
        ) as shell:
            yield SshShell(network, shell.alias, called=host.name)
    finally:
        (folder / host.machine).unlink(missing_ok=True)


def _patience(host: ListedHost, folder: Path) -> Callable[[], None]:
    """Raises where another try makes no sense: after a few, or at once where ssh has made up its mind."""
    tries = 0

    def watch() -> None:
        nonlocal tries
        tries += 1
        said = last_line((folder / f"{host.machine}.log").read_bytes())
        decided = any(words in said for words in _DECIDED)
        if decided or tries == _TRIES:
            raise _unreached(host, said)

    return watch


_DECIDED = ("Permission denied", "Host key verification failed", "Could not resolve", "Too many authentication")


def plain_words(host: ListedHost) -> tuple[str, ...]:
    """The command as somebody would type it."""
    options = ["-i", str(host.identity)] if host.identity is not None else []
    options += ["-o", f"UserKnownHostsFile={host.known_hosts}"] if host.known_hosts is not None else []
    options += ["-p", str(host.port)] if host.port is not None else []
    return ("ssh", *options, f"{host.user}@{host.machine}" if host.user else host.machine)


def destination(host: ListedHost, *, deadline: Deadline) -> str:
    """The name or address that ssh connects to, which for an alias its configuration knows."""
    said = run(*ssh_words(host)[:-1], "-G", host.machine, deadline=deadline)
    found = [line.partition(" ")[2] for line in said.text.splitlines() if line.startswith("hostname ")]
    return found[0] if found else host.machine
