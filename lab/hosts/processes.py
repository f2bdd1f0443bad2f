"""Processes of this machine as /proc shows them (proc(5)): whose they are, what they name, and how they are ended."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from lab.deadline import Deadline
from lab.errors import DeadlineError
from lab.wait import wait_until

__all__ = ["Process", "end", "naming", "processes"]

STAYING = frozenset({"qemu-system-x86_64", "qemu-nbd", "ssh", "vde_switch"})
"""What a run keeps running as long as it lives."""

PASSING = frozenset({"qemu-img", "mmdebstrap", "mke2fs", "mkntfs", "ntfs-3g", "cpio", "cp", "zstd"})
"""What runs for a while when something is built. People run such programs, too; the lab's lead their own session."""

_INTERPRETERS = re.compile(r"(perl|python[\d.]*|sh|dash|bash)")


@dataclass(frozen=True, slots=True)
class Process:
    """A process as it was when it was looked at. ``started`` tells it from a later one with the same number."""

    pid: int
    parent: int
    session: int
    started: int
    """Clock ticks after the machine's start."""
    user: int
    words: tuple[bytes, ...]

    @classmethod
    def read(cls, pid: int) -> Process | None:
        """The process of that number; None where there is none, or only what is left of one (a zombie)."""
        folder = Path("/proc") / str(pid)
        try:
            # The second field is the program's name in brackets, and may hold anything, brackets included.
            fields = (folder / "stat").read_bytes().rpartition(b")")[2].split()
            words = (folder / "cmdline").read_bytes()
            user = folder.stat().st_uid
        except OSError:
            return None
        if fields[0] in {b"Z", b"X"}:
            return None
        heard = tuple(words.rstrip(b"\0").split(b"\0")) if words else ()
        return cls(pid, int(fields[1]), int(fields[3]), int(fields[19]), user, heard)

    @property
    def program(self) -> str:
        """The program's name; a script's own where an interpreter runs it."""
        names = [os.fsdecode(word).rpartition("/")[2] for word in self.words[:2]]
        return names[-1] if names and _INTERPRETERS.fullmatch(names[0]) else "".join(names[:1])

    @property
    def ours(self) -> bool:
        """Whether it runs a program that the lab starts, and in the way in which the lab starts it."""
        return self.program in STAYING or (self.program in PASSING and self.pid == self.session)

    @property
    def command(self) -> str:
        """Its words as one line for people."""
        return " ".join(os.fsdecode(word) for word in self.words)

    def names(self, folder: Path) -> bool:
        """Whether a word of it is a path in ``folder``, on its own or after a sign: ``file=FOLDER/x,format=raw``."""
        pattern = re.compile(rb"(?:^|[=:,<>' ])" + re.escape(os.fsencode(folder)) + rb"(?:/|$)")
        return any(pattern.search(word) for word in self.words)

    def uses(self, folder: Path, sockets: Iterable[str] = ()) -> bool:
        """Whether it names ``folder``, works in it, or has something in it open.

        ``sockets`` are such links of /proc/PID/fd as ``socket:[1234]`` that belong to sockets in the folder.
        """
        if self.names(folder):
            return True
        own, below = set(sockets), f"{folder}/"
        return any(link in own or f"{link}/".startswith(below) for link in self._links())

    def _links(self) -> Iterator[str]:
        folder = Path("/proc") / str(self.pid)
        with suppress(OSError):
            for link in (folder / "cwd", *(folder / "fd").iterdir()):
                with suppress(OSError):
                    yield str(link.readlink())

    def ignores(self, number: signal.Signals) -> bool:
        """Whether that signal does nothing to it: what a script starts with ``&`` ignores SIGINT."""
        try:
            status = Path(f"/proc/{self.pid}/status").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return False
        found = re.search(r"^SigIgn:\s*([0-9a-f]+)$", status, re.MULTILINE)
        return bool(found and int(found[1], 16) >> (number - 1) & 1)

    def send(self, number: signal.Signals) -> bool:
        """Send it a signal; False if it is gone. A later process with its number gets nothing."""
        try:
            handle = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return False
        try:
            # The handle stands for whoever had the number when it was opened; only now it is known who that is.
            now = Process.read(self.pid)
            if now is None or now.started != self.started:
                return False
            signal.pidfd_send_signal(handle, number)
        except ProcessLookupError:
            return False
        finally:
            os.close(handle)
        return True

    @property
    def gone(self) -> bool:
        """Whether it has ended."""
        now = Process.read(self.pid)
        return now is None or now.started != self.started


def processes() -> tuple[Process, ...]:
    """Every process that can be seen, by number."""
    numbers = sorted(int(folder.name) for folder in Path("/proc").glob("[0-9]*"))
    return tuple(found for found in map(Process.read, numbers) if found is not None)


def naming(folders: Iterable[Path]) -> tuple[Process, ...]:
    """The processes that run one of the lab's programs and name one of ``folders``; of this user or the folders' own.

    Whatever else names them (an editor, ``tail -f``) is somebody's, and is not among them.
    """
    wanted = tuple(folders)
    users = {os.geteuid()}
    for folder in wanted:
        with suppress(OSError):
            users.add(folder.stat().st_uid)
    return tuple(
        process for process in processes() if process.user in users and process.ours and any(map(process.names, wanted))
    )


def end(doomed: Iterable[Process], *, deadline: Deadline) -> tuple[Process, ...]:
    """Kill processes, with all of its session where one leads its own, and wait until they are gone.

    The lab gives each program a session (:func:`lab.process.spawn`): its children go with it, while of a user's own
    ``ssh``, which is in the session of a terminal, nothing but itself does. Returns those that were killed; one that
    the kernel does not let go of in time is left to it.
    """
    wanted = tuple(doomed)
    leading = {process.session for process in wanted if process.pid == process.session}
    members = {process.pid: process for process in processes() if process.session in leading}
    everybody = tuple({process.pid: process for process in (*wanted, *members.values())}.values())
    killed = tuple(process for process in everybody if process.send(signal.SIGKILL))
    with suppress(DeadlineError):
        wait_until("the end of processes", lambda: all(each.gone for each in killed), deadline=deadline, interval=0.02)
    return killed
