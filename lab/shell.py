"""A way to run commands on another machine, and its one implementation: the OpenSSH client with a master connection."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from lab.deadline import Deadline
from lab.errors import DeadlineError, HostError
from lab.process import Completed, last_line, run, spawn
from lab.wait import pause, wait_until

__all__ = ["Shell", "SshNetwork", "SshShell"]


class Shell(Protocol):
    """Runs programs somewhere else."""

    def run(self, *argv: str, deadline: Deadline, stdin: bytes = b"") -> Completed:
        """Run ``argv``, quoted as given, to its end."""
        ...


@dataclass(frozen=True, slots=True)
class SshShell:
    """A shell on the machine that ``network`` knows as ``alias``; every command rides on one open connection."""

    network: SshNetwork
    alias: str

    def run(self, *argv: str, deadline: Deadline, stdin: bytes = b"") -> Completed:
        """Run a program there.

        Raises:
            HostError: the connection is gone (ssh itself ended with 255, ssh(1)).
            DeadlineError: it did not end in time; the program over there may still run.
        """
        done = run(*self.network.argv(self.alias), "--", shlex.join(argv), stdin=stdin, deadline=deadline)
        if done.status == 255 and not self.network.alive(self.alias, deadline=deadline):
            raise HostError(f"{self.alias}: connection lost: {last_line(done.stderr) or 'no reason given'}")
        return Completed(argv, done.status, done.stdout, done.stderr, done.seconds)

    def put(self, content: bytes, path: str, *, deadline: Deadline) -> None:
        """Write a file there."""
        self.run("sh", "-c", 'cat > "$1"', "sh", path, stdin=content, deadline=deadline).check()

    def forward(self, local: Path, remote: str, *, deadline: Deadline) -> None:
        """Make the Unix socket ``remote`` over there reachable as ``local`` here while the connection lasts."""
        self.network.control(self.alias, "forward", "-L", f"{local}:{remote}", deadline=deadline).check()


@dataclass(frozen=True, slots=True)
class SshNetwork:
    """How the machines of one stage are reached. ``folder`` holds config, sockets; its path must be short.

    A Unix socket's path has at most 107 bytes (unix(7)), and ssh adds 17 while it makes one.
    """

    folder: Path
    key: Path
    known_host: str
    """The one known_hosts line, under the alias ``lab``: every machine of the lab has the same host key."""

    def add(self, alias: str, *, address: str, port: int = 22, through: str = "") -> None:
        """Name a machine. ``through`` is the alias of the machine that reaches it."""
        (self.folder / "known_hosts").write_text(self.known_host)
        lines = [f"HostName {address}", f"Port {port}", *([f"ProxyJump {through}"] if through else [])]
        (self.folder / f"{alias}.conf").write_text(f"Host {alias}\n" + "".join(f"  {line}\n" for line in lines))
        (self.folder / "config").write_text(
            f"Include {self.folder}/*.conf\nHost *\n  User root\n  IdentityFile {self.key}\n  IdentitiesOnly yes\n"
            f"  UserKnownHostsFile {self.folder}/known_hosts\n  GlobalKnownHostsFile none\n  HostKeyAlias lab\n"
            f"  ControlPath {self.folder}/%n\n  BatchMode yes\n  LogLevel ERROR\n  ServerAliveInterval 10\n"
            "  ServerAliveCountMax 3\n  ConnectTimeout 30\n  KexAlgorithms curve25519-sha256\n"
            "  Ciphers aes128-gcm@openssh.com,chacha20-poly1305@openssh.com\n  StreamLocalBindUnlink yes\n"
        )

    def argv(self, alias: str) -> tuple[str, ...]:
        """The ssh command for a machine, up to the command to run there."""
        return ("ssh", "-F", str(self.folder / "config"), alias)

    def control(self, alias: str, verb: str, *options: str, deadline: Deadline) -> Completed:
        """Speak to the master connection (ssh -O)."""
        config = str(self.folder / "config")
        return run("ssh", "-F", config, "-O", verb, *options, alias, deadline=deadline)

    def alive(self, alias: str, *, deadline: Deadline) -> bool:
        """Whether the master connection is there."""
        return bool(self.control(alias, "check", deadline=deadline.at_most(5)))

    @contextmanager
    def connect(
        self, alias: str, *, deadline: Deadline, watch: Callable[[], None] = lambda: None
    ) -> Iterator[SshShell]:
        """Hold a master connection open; retries until the machine lets us in.

        ``watch`` is asked between tries and raises when there is no more sense in trying.

        Raises:
            HostError: it never did; the last reason is in the message.
        """
        master = self._master(alias, deadline, watch)
        try:
            yield SshShell(self, alias)
        finally:
            master.terminate()
            try:
                master.wait(5)
            except subprocess.TimeoutExpired:
                master.kill()
                master.wait()

    def _master(self, alias: str, deadline: Deadline, watch: Callable[[], None]) -> subprocess.Popen[bytes]:
        log, reason = self.folder / f"{alias}.log", ""
        while True:
            master = self._try(alias, log, deadline)
            if master.poll() is None:
                return master
            # The last one may have been cut off before it could say a word.
            reason = last_line(log.read_bytes()) or reason
            if deadline.expired:
                raise HostError(f"{alias}: no ssh connection within {deadline.seconds:g} s: {reason or 'no answer'}")
            watch()
            pause(0.3)

    def _try(self, alias: str, log: Path, deadline: Deadline) -> subprocess.Popen[bytes]:
        """A master that is connected, or has ended."""
        socket = self.folder / alias
        # A master that was killed leaves its socket, and with that in its way ssh goes on without being a master.
        socket.unlink(missing_ok=True)
        with log.open("wb") as words:
            *ssh, name = self.argv(alias)
            master = spawn(
                *ssh, "-M", "-N", name, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=words.fileno()
            )
        try:
            wait_until(
                f"ssh to {alias}",
                lambda: socket.exists() or master.poll() is not None,
                deadline=deadline.at_most(40),
                interval=0.05,
            )
        except BaseException as trouble:
            master.kill()
            master.wait()
            if not isinstance(trouble, DeadlineError):
                raise
        return master
