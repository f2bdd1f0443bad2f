"""The agent and the meter, run for real on this machine: small, and on loopback alone."""

from __future__ import annotations

import socket
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from lab.deadline import Deadline
from lab.errors import LabError
from lab.guests.agent import AgentConfig, Place, agent_report, inject, start_agent, stop_agent
from lab.guests.meter import MeterConfig, MeterReport, meter_report, start_meter, stop_meter
from lab.guests.witness import AgentReport, EchoReport
from lab.process import Completed, run
from lab.shell import converse

__all__ = ["HereShell", "Watched", "hold", "watched", "watching"]


@dataclass(frozen=True, slots=True)
class HereShell:
    """A :class:`lab.shell.Shell` on this machine, whose python3 is the one of the tests."""

    def run(self, *argv: str, deadline: Deadline, stdin: bytes = b"") -> Completed:
        words = [word.replace("exec python3", f"exec {sys.executable}") for word in argv]
        if words[0] == "python3":
            words[0] = sys.executable
        return run(*words, deadline=deadline, stdin=stdin)

    def ask(
        self, where: str, question: bytes, *, deadline: Deadline, watch: Callable[[], None] = lambda: None
    ) -> Completed:
        address, _, port = where.rpartition(":")
        with socket.socket(socket.AF_INET if address else socket.AF_UNIX, socket.SOCK_STREAM) as line:
            try:
                line.connect((address, int(port)) if address else where)
            except OSError:
                return Completed(("ask", where), 1, b"", f"nobody answers at {where}".encode())
            answer = converse(line, question, where, deadline, watch)
        return Completed(("ask", where), 0 if answer else 1, answer, b"")


@dataclass
class Watched:
    """What runs here, as a guest that is watched from within and from without."""

    shell: HereShell
    agent: Place
    meter: Place
    first: AgentReport
    metered: MeterReport

    def report(self, *, since: float = 0.0, verify: bool = True, seconds: float = 20) -> AgentReport:
        return agent_report(self.shell, since=since, verify=verify, where=self.agent.socket, deadline=Deadline(seconds))

    def measured(self, *, since: float = 0.0) -> MeterReport:
        return meter_report(self.shell, since=since, place=self.meter, deadline=Deadline(20))

    def harm(self, fault: str, **words: object) -> None:
        inject(self.shell, fault, words, place=self.agent, deadline=Deadline(20))


def hold(seconds: float) -> None:
    """Let time pass, since it is time that is measured."""
    subprocess.run(["sleep", str(seconds)], check=True)


@contextmanager
def watching(folder: Path) -> Iterator[Watched]:
    shell = HereShell()
    # A Unix socket's path is short, and a test's own folder is not.
    agent = Place(str(folder / "agent.py"), f"/tmp/lab-test-{uuid.uuid4().hex[:12]}")  # noqa: S108 - see above
    meter = Place(str(folder / "netmeter.py"), f"{agent.folder}-meter")
    config = AgentConfig(
        disk_file=str(folder / "disk"),
        address="127.0.0.1",
        port=0,
        echo_port=0,
        memory_mib=2,
        pages_per_second=512,
        regions=8,
        writes_per_second=50,
        lock=False,
    )
    try:
        first = start_agent(shell, config, place=agent, deadline=Deadline(60))
        assert isinstance(first.echo, EchoReport)
        settings = MeterConfig("127.0.0.1", first.echo.port, interval=0.01, tcp_interval=0.02, patience=0.2)
        metered = start_meter(shell, settings, place=meter, deadline=Deadline(30))
        yield Watched(shell, agent, meter, first, metered)
    finally:
        for stop in (
            lambda: stop_meter(shell, place=meter, deadline=Deadline(20)),
            lambda: stop_agent(shell, place=agent, deadline=Deadline(20)),
        ):
            _quietly(stop)
        run("rm", "-rf", agent.folder, meter.folder, deadline=Deadline(10))


def _quietly(stop: Callable[[], None]) -> None:
    with suppress(LabError):
        stop()


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    """An agent and a meter of one test's own, to be harmed."""
    with watching(tmp_path) as both:
        yield both
