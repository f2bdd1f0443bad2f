"""A way to run commands on another machine, and its one implementation: the OpenSSH client with a master connection."""

from __future__ import annotations

import os
import secrets
import select
import shlex
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Protocol

from lab.deadline import Deadline
from lab.errors import DeadlineError, HostError
from lab.process import Completed, last_line, run, spawn
from lab.wait import pause, wait_until

__all__ = ["AskingShell", "Shell", "SshNetwork", "SshShell", "Talk", "TalkingShell", "converse", "tell"]


class Shell(Protocol):
    """Runs programs somewhere else."""

    def run(self, *argv: str, deadline: Deadline, stdin: bytes = b"") -> Completed:
        """Run ``argv``, quoted as given, to its end."""
        ...


class AskingShell(Shell, Protocol):
    """A shell by which programs that run over there already can be talked to."""

    def ask(
        self, where: str, question: bytes, *, deadline: Deadline, watch: Callable[[], None] = lambda: None
    ) -> Completed:
        """Send a line to a program that listens there, and hear it out.

        ``where`` is a Unix socket's path or ``address:port``, as seen from there. No program is started for it, which
        under emulation is worth a second where that program would be Python. Nobody listening is a status other than 0.
        ``watch`` is asked now and then while nothing comes, and raises when there is no more sense in waiting.
        """
        ...


class Talk(Protocol):
    """A program that answers each line that it is told by one line."""

    def __call__(self, line: str, *, deadline: Deadline) -> str:
        """Tell it a line, and hear its answer; both without the line's end."""
        ...


class TalkingShell(Shell, Protocol):
    """A shell that runs programs one can talk to. A question costs no program of its own, here or there."""

    def talk(self, *argv: str, deadline: Deadline) -> AbstractContextManager[Talk]:
        """Run such a program; it is ended with the context."""
        ...


@dataclass(frozen=True, slots=True)
class SshShell:
    """A shell on the machine that ``network`` knows as ``alias``; every command rides on one open connection.

    ``called`` is what it is called in messages, where that is not its alias.
    """

    network: SshNetwork
    alias: str
    called: str = field(default="", kw_only=True)

    @property
    def name(self) -> str:
        """What messages call it."""
        return self.called or self.alias

    def run(self, *argv: str, deadline: Deadline, stdin: bytes = b"") -> Completed:
        """Run a program there.

        Raises:
            HostError: the connection is gone (ssh itself ended with 255, ssh(1)).
            DeadlineError: it did not end in time; the program over there may still run.
        """
        try:
            done = run(*self.network.argv(self.alias), "--", shlex.join(argv), stdin=stdin, deadline=deadline)
        except DeadlineError as late:
            if not self.called:
                raise
            # ssh's own command line says nothing of which machine the user means, and much that is nobody's business.
            raise DeadlineError(f"{self.called}: {argv[0]}: not done within {deadline.seconds:g} s") from late
        if done.status == 255 and not self.network.alive(self.alias, deadline=deadline):
            raise HostError(f"{self.name}: connection lost: {last_line(done.stderr) or 'no reason given'}")
        return Completed(argv, done.status, done.stdout, done.stderr, done.seconds)

    @contextmanager
    def talk(self, *argv: str, deadline: Deadline) -> Iterator[Talk]:
        """See :meth:`TalkingShell.talk`.

        Raises:
            HostError: the program ended instead of answering; its last words are in the message.
            DeadlineError: it did not answer in time.
        """
        deadline.check(argv[0])
        process = spawn(*self.network.argv(self.alias), "--", shlex.join(argv))
        try:
            yield partial(tell, process, f"{self.name}: {argv[0]}")
        finally:
            process.kill()
            process.communicate()

    def put(self, content: bytes, path: str, *, deadline: Deadline) -> None:
        """Write a file there."""
        self.run("sh", "-c", 'cat > "$1"', "sh", path, stdin=content, deadline=deadline).check()

    def ask(
        self, where: str, question: bytes, *, deadline: Deadline, watch: Callable[[], None] = lambda: None
    ) -> Completed:
        """See :meth:`AskingShell.ask`.

        Raises:
            HostError: the connection is gone.
            DeadlineError: no answer in time; the program over there may still be at it.
        """
        start = time.monotonic()
        local = self.network.folder / f"q{secrets.token_hex(3)}"
        self.forward(local, where, deadline=deadline)
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
                line.settimeout(deadline.check(where))
                line.connect(str(local))
                answer = converse(line, question, where, deadline, watch)
        finally:
            self.network.control(self.alias, "cancel", "-L", f"{local}:{where}", deadline=Deadline(5))
            local.unlink(missing_ok=True)
        if not answer and not self.network.alive(self.alias, deadline=deadline):
            raise HostError(f"{self.name}: connection lost")
        words = b"" if answer else f"nobody answers at {where}".encode()
        return Completed(("ask", where), 0 if answer else 1, answer, words, time.monotonic() - start)

    def forward(self, local: Path, remote: str, *, deadline: Deadline) -> None:
        """Make ``remote`` over there, a Unix socket's path or ``address:port``, reachable as the Unix socket ``local``
        here while the connection lasts.

        Raises:
            HostError: there is no connection.
        """
        done = self.network.control(self.alias, "forward", "-L", f"{local}:{remote}", deadline=deadline)
        if not done:
            raise HostError(f"{self.name}: {remote} cannot be reached: {last_line(done.stderr) or 'no reason given'}")

    def lend(self, local: Path, remote: str, *, deadline: Deadline) -> None:
        """The other way round: make the Unix socket ``local`` of this machine reachable over there, at the path
        ``remote``, while the connection lasts or until :meth:`take_back`.

        Raises:
            HostError: there is no connection, or sshd over there allows no such thing.
        """
        done = self.network.control(self.alias, "forward", "-R", f"{remote}:{local}", deadline=deadline)
        if not done:
            raise HostError(
                f"{self.name}: {remote} cannot be made there: {last_line(done.stderr) or 'no reason given'}",
                hint="sshd_config(5) over there: AllowStreamLocalForwarding must be yes",
            )

    def take_back(self, local: Path, remote: str, *, deadline: Deadline) -> None:
        """End :meth:`lend`. The socket's file stays over there; whoever no longer needs it removes it."""
        self.network.control(self.alias, "cancel", "-R", f"{remote}:{local}", deadline=deadline)


def tell(process: subprocess.Popen[bytes], who: str, line: str, *, deadline: Deadline) -> str:
    """Tell a program that was started with pipes a line, and hear its answer; ``who`` it is, for errors.

    Raises:
        HostError: it ended instead of answering; its last words are in the message.
        DeadlineError: it did not answer in time.
    """
    assert process.stdin is not None  # noqa: S101 - it was started with pipes
    assert process.stdout is not None  # noqa: S101 - likewise
    answer = bytearray()
    with suppress(BrokenPipeError):
        process.stdin.write(line.encode() + b"\n")
        process.stdin.flush()
    while not answer.endswith(b"\n"):
        if select.select([process.stdout], [], [], deadline.check(who))[0]:
            some = os.read(process.stdout.fileno(), 1 << 12)
            if not some:
                _, words = process.communicate()
                raise HostError(f"{who} ended instead of answering: {last_line(words) or 'no reason given'}")
            answer += some
    return answer.decode("utf-8", "backslashreplace").removesuffix("\n")


def converse(
    line: socket.socket, question: bytes, where: str, deadline: Deadline, watch: Callable[[], None] = lambda: None
) -> bytes:
    """Send a question, and return what comes back until the other side hangs up; nothing if it did so at once.

    Raises:
        DeadlineError: it did not hang up in time; ``where`` is in the message.
    """
    answer = bytearray()
    try:
        line.sendall(question + b"\n")
        while True:
            if not select.select([line], [], [], min(_WATCH, deadline.check(where)))[0]:
                watch()
            elif some := line.recv(1 << 16):
                answer += some
            else:
                return bytes(answer)
    except (BrokenPipeError, ConnectionResetError):
        return b""


_WATCH = 10.0
"""Seconds of silence after which one looks whether there is still somebody to answer."""


@dataclass(frozen=True, slots=True)
class SshNetwork:
    """How the machines of one stage are reached. ``folder`` holds config, sockets; its path must be short.

    A Unix socket's path has at most 107 bytes (unix(7)), and ssh adds 17 while it makes one.
    """

    folder: Path
    key: Path
    known_host: str
    """The one known_hosts line, under the alias ``lab``: every machine of the lab has the same host key."""
    jump: str = field(default="", kw_only=True)
    """The command that goes through a machine which is none of this network's, as ProxyCommand of ssh_config(5)."""

    def add(self, alias: str, *, address: str, port: int = 22, through: str = "") -> None:
        """Name a machine. ``through`` is the alias of the machine that reaches it; with a ``jump``, that goes there."""
        (self.folder / "known_hosts").write_text(self.known_host)
        way = f"ProxyCommand {self.jump}" if self.jump else f"ProxyJump {through}"
        lines = [f"HostName {address}", f"Port {port}", *([way] if through else [])]
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
        *ssh, name = self.argv(alias)
        return run(*ssh, "-O", verb, *options, name, deadline=deadline)

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
