"""Run folders without machines: made as the lab makes them, with stand-ins for its programs."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from lab.cache import Cache
from lab.deadline import Deadline
from lab.hosts.processes import Process
from lab.hosts.run_folder import Owner
from lab.wait import wait_until


@dataclass
class FakeRun:
    """A run's folder. ``processes`` are killed at the end of the test, if nobody did it before."""

    path: Path
    sockets: Path
    undo: ExitStack
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def tag(self) -> str:
        """Its name."""
        return self.path.name

    def host(self, name: str) -> subprocess.Popen[bytes]:
        """A host of the run: its folders, its QEMU, and ssh's configuration."""
        home, sockets = self.path / name, self.sockets / name
        home.mkdir()
        sockets.mkdir()
        (home / "console.log").write_text(f"(XEN) this is {name}\n")
        (sockets / "config").write_text(f"Include {sockets}/*.conf\n")
        (sockets / f"{name}.conf").write_text(f"Host {name}\n  HostName 127.0.0.1\n  Port 4\n")
        process = self.program("qemu-system-x86_64", f"file={home}/disk.qcow2,format=qcow2")
        (home / "qemu.pid").write_text(f"{process.pid}\n")
        return process

    def bare(self, name: str) -> subprocess.Popen[bytes]:
        """A guest without a host: its folders, its QEMU, and ssh's configuration."""
        home, sockets = self.path / f"microvm-{name}", self.sockets / f"microvm-{name}"
        home.mkdir()
        sockets.mkdir()
        (home / "console.log").write_text("lab guest: ready\n")
        (sockets / "config").write_text(f"Include {sockets}/*.conf\n")
        (sockets / f"{name}.conf").write_text(f"Host {name}\n  HostName 127.0.0.1\n  Port 4\n")
        process = self.program("qemu-system-x86_64", "-pidfile", f"{home}/qemu.pid")
        (home / "qemu.pid").write_text(f"{process.pid}\n")
        return process

    def guest(self, name: str, host: str, *, at: float) -> Path:
        """A guest on a host since ``at``; the socket of its connection is not there."""
        conf = self.sockets / host / f"{name}.conf"
        conf.write_text(f"Host {name}\n  HostName 10.77.128.10\n  Port 22\n  ProxyJump {host}\n")
        os.utime(conf, (at, at))
        (self.path / f"{name}.raw").touch()
        return conf

    def program(self, name: str, *words: str) -> subprocess.Popen[bytes]:
        """A process of that name and those words, with a child, in a session of its own."""
        process = program(name, *words)
        self.undo.callback(reap, process)
        self.processes.append(process)
        return process


def program(name: str, *words: str, session: bool = True) -> subprocess.Popen[bytes]:
    """A process that ``/proc`` shows as that program, with these words; it sleeps in a child of its own."""
    argv = (name, "-c", "sleep 60; :", "sh", *words)
    process = subprocess.Popen(argv, executable="/bin/sh", start_new_session=session, stdout=subprocess.DEVNULL)
    asleep(process.pid)
    return process


def asleep(pid: int) -> tuple[int, ...]:
    """The children of that process, once they are what they are to be: until then they look like their parent."""

    def settled() -> tuple[int, ...]:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        found = [Process.read(int(child)) for child in children]
        return tuple(child.pid for child in found if child is not None and child.program == "sleep")

    return wait_until(f"the children of {pid}", settled, deadline=Deadline(10), interval=0.005)


def reap(process: subprocess.Popen[bytes]) -> None:
    """Be sure that it is gone, with its children."""
    with suppress(OSError):
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        for child in map(int, children):
            os.kill(child, signal.SIGKILL)
    process.kill()
    process.wait()


@contextmanager
def fake_run(cache: Cache, tag: str = "abcd1234", *, alive: bool = True, short: bool = False) -> Iterator[FakeRun]:
    """A run; alive as long as the context lasts, or dead from the beginning. ``short`` is for real sockets in it."""
    with ExitStack() as undo:
        path = cache.root / "run" / tag
        path.mkdir(parents=True)
        sockets = Path(tempfile.mkdtemp(prefix="lab-", dir="/tmp" if short else None))  # noqa: S108 - made by mkdtemp
        undo.callback(subprocess.run, ("rm", "-rf", sockets), check=True)
        (path / "sockets").symlink_to(sockets)
        (path / "owner.json").write_text(json.dumps(asdict(Owner.here()) | {"command": f"lab run {tag}"}))
        lock = undo.enter_context((path / "alive").open("w"))
        if alive:
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield FakeRun(path, sockets, undo)
