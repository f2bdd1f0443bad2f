"""The lab's witness inside a guest, ``files/agent.py``: sending it in, asking it, and having it do harm on purpose."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib import resources

from lab.deadline import Deadline
from lab.guests.answer import as_question, read_answer
from lab.guests.witness import SCHEMA, AgentReport, agent_report_of
from lab.shell import AskingShell

__all__ = [
    "SEND_AND_RUN",
    "AgentConfig",
    "Place",
    "agent_report",
    "by_network",
    "inject",
    "program",
    "start_agent",
    "stop_agent",
]

SEND_AND_RUN = 'program=$1; shift; cat > "$program" && exec python3 "$program" "$@"'
"""For ``sh -c``, with the program's text on its standard input: one command instead of three."""

_ANSWERING = 60.0
_ON_ITS_WAY = 10.0
"""Seconds over what the agent may take, before it counts as silent."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a program and its folder lie: on a tmpfs, so that it can be asked when the disk does not answer."""

    program: str = "/run/lab-agent.py"
    folder: str = "/run/lab-agent"

    @property
    def socket(self) -> str:
        """Where it answers."""
        return f"{self.folder}/socket"


@dataclass(frozen=True, slots=True)
class AgentConfig:
    """How hard the agent works; the defaults are gentle to a guest with one emulated CPU and 128 MiB.

    It fills ``memory_mib`` MiB, but at most ``memory_share`` of what is available, and says how much it was.
    ``notable`` is the length from which on it remembers gaps of its heartbeat one by one. ``regions`` of
    ``region_bytes`` are written in turn: one round takes ``regions / writes_per_second`` seconds.
    ``port`` (-1 for none) answers reports over TCP; 0 lets the guest choose, here and for ``echo_port``.
    """

    seed: int = 1
    disk_file: str = "/var/tmp/lab-agent-disk"  # noqa: S108 - inside a guest that has no other users
    address: str = ""
    port: int = 7070
    echo_port: int = 7077
    tick: float = 0.005
    notable: float = 0.025
    memory_mib: int = 64
    memory_share: float = 0.5
    hot_share: float = 0.25
    pages_per_second: int = 128
    regions: int = 64
    region_bytes: int = 4096
    writes_per_second: float = 10.0
    lock: bool = True

    def to_json(self) -> str:
        """As the agent takes it."""
        return json.dumps(asdict(self))


def program(name: str) -> bytes:
    """The text of a program that runs elsewhere."""
    return resources.files("lab.guests").joinpath("files", name).read_bytes()


def start_agent(
    shell: AskingShell, config: AgentConfig = AgentConfig(), *, place: Place = Place(), deadline: Deadline
) -> AgentReport:
    """Send the agent into a guest and start it; returns when its memory is filled and everybody in it is at work.

    Raises:
        GuestError: it does not start; the message says why.
    """
    words = ("start", "--folder", place.folder, "--config", config.to_json())
    said = shell.run(
        "sh", "-c", SEND_AND_RUN, "sh", place.program, *words, stdin=program("agent.py"), deadline=deadline
    )
    return agent_report_of(read_answer(said, who="agent", schema=SCHEMA))


def by_network(address: str, port: int = AgentConfig().port) -> str:
    """Where the agent of the guest at ``address`` answers those who have no shell in it: its disk may hang, and then
    none can be started. Who comes this way may look, and no more.
    """
    return f"{address}:{port}"


def agent_report(
    shell: AskingShell,
    *,
    since: float = 0.0,
    verify: bool = True,
    where: str = Place().socket,
    deadline: Deadline,
) -> AgentReport:
    """What the agent has seen since ``since`` (BOOTTIME, as in an earlier report's ``now.boot``).

    With ``verify`` it compares all of its memory and reads its regions back from the disk, first. A disk that hangs
    is told of; it does not keep the report from coming. ``where`` is as seen from ``shell``.

    Raises:
        GuestError: it does not run, or its answer is no report.
    """
    seconds = min(_ANSWERING, deadline.remaining() * 0.8)
    question = {"do": "report", "since": since, "verify": int(verify), "deadline": round(seconds, 1)}
    said = shell.ask(where, as_question(question), deadline=deadline.at_most(seconds + _ON_ITS_WAY))
    return agent_report_of(read_answer(said, who="agent", schema=SCHEMA))


def inject(
    shell: AskingShell,
    fault: str,
    words: Mapping[str, object] | None = None,
    *,
    place: Place = Place(),
    deadline: Deadline,
) -> None:
    """Have the agent do harm, such as ``flip-page``; see ``Hub.fault`` in its file.

    Raises:
        GuestError: it does not know that fault, or cannot do it.
    """
    question = {"do": "fault", "name": fault, "with": dict(words or {})}
    said = shell.ask(place.socket, as_question(question), deadline=deadline)
    read_answer(said, who=f"agent: fault {fault}", schema=SCHEMA)


def stop_agent(shell: AskingShell, *, place: Place = Place(), deadline: Deadline) -> None:
    """End the agent and remove its file.

    Raises:
        GuestError: it does not run.
    """
    said = shell.ask(place.socket, as_question({"do": "stop"}), deadline=deadline)
    read_answer(said, who="agent", schema=SCHEMA)
