"""One move of one guest, watched from within, from outside, and on both hosts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TypeVar

from lab.beside import beside
from lab.checks.invariants import COLD, LIVE, SAVE_RESTORE
from lab.checks.journey import NOT_ASKED, Journey
from lab.checks.steerable import steer
from lab.checks.whereabouts import Sides
from lab.deadline import Deadline
from lab.errors import LabError
from lab.events import step
from lab.guests.agent import AgentConfig, agent_report, by_network, start_agent, stop_agent
from lab.guests.guest import Guest
from lab.guests.meter import MeterConfig, MeterReport, meter_report, start_meter, stop_meter
from lab.guests.observation import Observation, observe
from lab.guests.witness import AgentReport, Silent
from lab.hosts.host import Host
from lab.hosts.traces import Traces, take_traces
from lab.hypervisor import Connection, DomainIdentity, DomainState, GuestNotFoundError, identity
from lab.wait import pause

__all__ = ["EMULATED_ROUNDS", "ROUNDS", "Travel", "agent_config", "meter_config", "state_on"]

T = TypeVar("T")

ROUNDS = AgentConfig(regions=8, writes_per_second=5.0, pages_per_second=32, notable=0.25)
"""A round over so few regions takes 1.6 s, so that the wait for one is short."""

EMULATED_ROUNDS = replace(ROUNDS, tick=0.05)


def agent_config(host: Host) -> AgentConfig:
    """How hard the agent works. Emulated, a guest has one slow CPU, and all of the lab shares two: a heartbeat of 5 ms
    would take a third of that and make the very pauses that it looks for. There it is 50 ms.
    """
    return EMULATED_ROUNDS if host.accelerator == "tcg" else ROUNDS


def meter_config(guest: Guest) -> MeterConfig:
    """How hard the meter works, likewise."""
    brisk = MeterConfig(guest.address.ip)
    return replace(brisk, interval=0.1, tcp_interval=0.5) if guest.host.accelerator == "tcg" else brisk


_HANGS = 5.0
"""Seconds from which on a write that is under way is not waited for."""

_ROUND = ROUNDS.regions / ROUNDS.writes_per_second


@dataclass
class Travel:
    """A guest that is about to go from where it is to ``target``.

    :meth:`depart`, the move, :meth:`arrive`, :attr:`journey`. The meter runs on the target: before the move what it
    sends crosses the network, afterwards it comes from next door. ``origin`` is for a guest that is at its target
    already: the host that counts as the one it left.
    """

    guest: Guest
    target: Host
    how: str
    changes: frozenset[str] = frozenset()
    origin: Host | None = None
    source: Host = field(init=False)
    before: Observation = field(init=False)
    after: Observation = field(init=False)
    _was: DomainIdentity = field(init=False)
    _agent: AgentReport | Silent = NOT_ASKED
    _meter: MeterReport | Silent = NOT_ASKED
    _traces: dict[str, Traces] = field(default_factory=dict)
    _journey: Journey = field(init=False)

    def __post_init__(self) -> None:
        self.source = self.origin or self.guest.host

    @property
    def watched(self) -> bool:
        """Whether the guest lives on while it moves, and so can be watched."""
        return self.how in {LIVE, SAVE_RESTORE}

    @property
    def journey(self) -> Journey:
        """What was seen, once it has arrived."""
        return self._journey

    def depart(self, deadline: Deadline) -> None:
        """The looks before the move.

        Raises:
            LabError: the agent or the meter does not start, or somebody cannot be asked.
        """
        with step("look before the move", guest=self.guest.name):
            meter_shell = self.target.shell
            with beside(lambda: self._look_at_target(deadline)) as there:
                here = take_traces(self.source.shell, deadline=deadline)
                self.before = observe(self.guest.shell, deadline=deadline)
                self._was = identity(self.guest.domain.xml(deadline))
                self._traces = {self.source.name: here, self.target.name: there()}
            if self.watched:
                self._agent = agent_report(meter_shell, where=by_network(self.guest.address.ip), deadline=deadline)
                self._meter = meter_report(meter_shell, deadline=deadline)

    def arrive(self, deadline: Deadline) -> None:
        """The looks after the move.

        Raises:
            LabError: a host or the guest's shell cannot be asked.
        """
        with step("look after the move", guest=self.guest.name):
            meter_shell = self.target.shell
            if not self.watched:
                # Of a guest that was off nobody asks whether its memory is intact, and to fill it takes seconds.
                start_agent(self.guest.shell, replace(agent_config(self.target), memory_mib=1), deadline=deadline)
                start_meter(meter_shell, meter_config(self.guest), deadline=deadline)
            with beside(lambda: take_traces(self.source.shell, deadline=deadline)) as left_behind:
                agent = _ask(lambda: self._ask_agent(deadline))
                # The agent tells of a disk that does not answer; whoever asked for a file on it would wait for ever.
                self.after = observe(self.guest.shell, disk=not _disk_hangs(agent), deadline=deadline)
                meter = _ask(lambda: meter_report(meter_shell, since=_now(self._meter), deadline=deadline))
                _ask(lambda: stop_meter(meter_shell, deadline=deadline))
                here = take_traces(self.target.shell, deadline=deadline)
                traces = {self.source.name: left_behind(), self.target.name: here}
            sides = Sides(
                state_on(self.source.connection, self.guest.name, deadline),
                state_on(self.target.connection, self.guest.name, deadline),
                self._was,
                identity(self.guest.domain.xml(deadline)),
            )
        self._journey = Journey(
            how=self.how if self.watched else COLD,
            guest=self.guest.name,
            home=self.target.name,
            before=self.before,
            after=self.after,
            sides=sides,
            agent_before=self._agent,
            agent_after=agent,
            meter_before=self._meter,
            meter=meter,
            traces={host: (self._traces[host], traces[host]) for host in traces},
            changes=self.changes,
        )

    def steer(self, deadline: Deadline) -> None:
        """See whether it can still be steered; it is off afterwards."""
        with step("pause, resume, shut down", guest=self.guest.name):
            _ask(lambda: stop_agent(self.guest.shell, deadline=deadline.at_most(20)))
            steering = steer(
                self.guest.domain, lambda: bool(self.guest.shell.run("true", deadline=deadline.at_most(20))), deadline
            )
        self._journey = replace(self._journey, steering=steering)

    def _ask_agent(self, deadline: Deadline) -> AgentReport:
        shell, where, since = self.target.shell, by_network(self.guest.address.ip), _boot(self._agent)
        report = agent_report(shell, since=since, where=where, deadline=deadline)
        # Writes from before the arrival say nothing of the disk over here: let every region be written once more.
        few = not isinstance(report.disk, Silent) and report.disk.writes_after.count < ROUNDS.regions
        if few and not _disk_hangs(report):
            pause(_ROUND)
            report = agent_report(shell, since=since, where=where, deadline=deadline)
        return report

    def _look_at_target(self, deadline: Deadline) -> Traces:
        if self.watched:
            start_meter(self.target.shell, meter_config(self.guest), deadline=deadline)
        return take_traces(self.target.shell, deadline=deadline)


def state_on(connection: Connection, name: str, deadline: Deadline) -> DomainState:
    """The state of a domain on one host."""
    try:
        return connection.domain(name, deadline).state(deadline)
    except GuestNotFoundError:
        return DomainState.ABSENT


def _ask(question: Callable[[], T]) -> T | Silent:
    try:
        return question()
    except LabError as trouble:
        return Silent(trouble.message)


def _disk_hangs(agent: AgentReport | Silent) -> bool:
    if isinstance(agent, Silent) or isinstance(agent.disk, Silent):
        return False
    return agent.disk.in_flight is not None and agent.disk.in_flight > _HANGS


def _now(meter: MeterReport | Silent) -> float:
    return 0.0 if isinstance(meter, Silent) else meter.now


def _boot(agent: AgentReport | Silent) -> float:
    return 0.0 if isinstance(agent, Silent) else agent.now.boot
