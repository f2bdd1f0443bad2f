"""The same move again and again, for a downtime that is more than one number."""

from __future__ import annotations

import dataclasses
from contextlib import suppress

from lab.checks.downtime import PAUSES, Calibration, Downtime, Iteration, downtime
from lab.checks.faults import Scene, pause_for
from lab.checks.invariants import SAVE_RESTORE
from lab.checks.journey import Journey, heartbeat_of
from lab.deadline import Deadline
from lab.errors import GuestError, LabError, UsageError
from lab.events import step
from lab.guests import moving
from lab.guests.agent import agent_report
from lab.guests.meter import MeterReport, meter_report, start_meter, stop_meter
from lab.guests.witness import AgentReport, Silent
from lab.hypervisor import MigrationError
from lab.stage.travel import Travel, meter_config
from lab.wait import pause

__all__ = ["iteration_of", "repeated"]

_ROOM = 12
"""MiB that a guest must have left (MemAvailable) before it moves again. Linux was seen to lose one at each resume, and
with 10 MiB of 128 left a guest read its programs from the disk over and over, answered after minutes or not at all, and
killed the agent's memory, which then looked like room.
"""

_GIVE = "give it more (docs/findings/0042)"

_AVAILABLE = "sed -n 's/^MemAvailable: *\\([0-9]*\\) kB$/\\1/p' /proc/meminfo"

_SETTLE = 1.5
"""Seconds after a move or a pause: an answer is missed only after one, and the heartbeat must have beaten again."""


def repeated(first: Travel, iterations: int, deadline: Deadline) -> Downtime:
    """Make ``iterations`` of a move: the one that ``first`` has seen, and more of it, returning in between unmeasured.

    The guest must have arrived and not been steered; it is at its target again afterwards. Both meters are then
    calibrated on pauses there. It returns as it came, or saved and restored where that fails; where both do, the
    figure is withheld and says so.

    Raises:
        UsageError: the guest does not live on in such a move; it has no downtime, but an uptime.
        MigrationError: a move did not arrive.
        LabError: the agent or the meter cannot be asked.
    """
    if not first.watched:
        raise UsageError(f"{first.guest.name}: a {first.how} move has no downtime to repeat", hint="how: live")
    done = [iteration_of(first.journey)]
    course = _Course(first)
    refused: tuple[str, ...] = ()
    with step("repeat the move", guest=first.guest.name, iterations=iterations):
        start_meter(first.target.shell, meter_config(first.guest), deadline=deadline)
        try:
            while len(done) < iterations:
                refused = course.back(deadline)
                if refused:
                    break
                done.append(course.go(deadline))
            calibrations = [course.calibrate(seconds, deadline) for seconds in PAUSES]
        finally:
            with suppress(LabError):  # what went wrong before is what counts
                stop_meter(first.target.shell, deadline=deadline)
    found = downtime(done, calibrations, accelerator=first.target.accelerator)
    # Once more for the last move and the pauses after it.
    return dataclasses.replace(found, withheld=tuple(dict.fromkeys((*found.withheld, *refused, *course.lost()))))


def iteration_of(seen: Journey) -> Iteration:
    """What both meters say of one move.

    Raises:
        GuestError: one of them says nothing.
    """
    if isinstance(seen.meter, Silent):
        raise GuestError(f"{seen.guest}: the meter is silent: {seen.meter.why}")
    if isinstance(seen.agent_after, Silent):
        raise GuestError(f"{seen.guest}: the agent is silent: {seen.agent_after.why}")
    return Iteration(_gap(seen.agent_after), seen.meter.gap)


class _Course:
    """From ``source`` to ``target``, and there."""

    def __init__(self, first: Travel) -> None:
        self._guest, self._source, self._target, self._how = first.guest, first.source, first.target, first.how
        self._ways_back = list(dict.fromkeys((first.how, SAVE_RESTORE)))
        self._had = 0
        self._last = first.journey.agent_after

    def _room(self, deadline: Deadline) -> int:
        """MiB that programs in the guest may still have."""
        said = self._guest.shell.run("sh", "-c", _AVAILABLE, deadline=deadline).check().text.strip()
        if not said.isdecimal():
            raise GuestError(f"{self._guest.name}: its kernel does not tell what memory is available")
        room = int(said) >> 10
        self._had = self._had or room
        return room

    def lost(self) -> tuple[str, ...]:
        """What the agent has lost, if not all of it lives: a guest without memory kills its processes, and then seems
        to have some again.
        """
        if isinstance(self._last, Silent):
            return ()
        dead = ", ".join(name for name, process in self._last.processes.items() if not process.alive)
        return (f"the agent lost a process ({dead}), as to a kernel that is short of memory: {_GIVE}",) if dead else ()

    def _tight(self, deadline: Deadline) -> tuple[str, ...]:
        room = self._room(deadline)
        if room >= _ROOM:
            return ()
        tight = f"the guest has {room} MiB of memory left, {self._had - room} less than at first"
        return (f"{tight}; its kernel may lose some at each move: {_GIVE}",)

    def back(self, deadline: Deadline) -> tuple[str, ...]:
        """Return, in the first way that works; one that failed is not tried again. Why not, if all did or the guest is
        not fit to move on.

        Raises:
            MigrationError: one failed, and the guest is lost or on both hosts.
        """
        unfit = self.lost() or self._tight(deadline)
        if unfit:
            return unfit
        refused: list[str] = []
        while self._ways_back:
            try:
                moving.move(self._guest, self._source, self._ways_back[0], deadline=deadline)
            except MigrationError as no:
                # Why a move back fails is another cell's business, as long as the guest has come to no harm.
                if not no.whereabouts.lives_once:
                    raise
                refused.append(f"the way back ({self._ways_back.pop(0)}) failed: {no.message}")
            else:
                return ()
        return tuple(refused)

    def go(self, deadline: Deadline) -> Iteration:
        """Move once, between two looks of both meters."""
        agent, meter = self._look(0.0, 0.0, deadline)
        moving.move(self._guest, self._target, self._how, deadline=deadline)
        pause(_SETTLE)
        agent, meter = self._look(agent.now.boot, meter.now, deadline)
        return Iteration(_gap(agent), meter.gap)

    def calibrate(self, seconds: float, deadline: Deadline) -> Calibration:
        """Pause the guest where it is, between two looks of both meters."""
        agent, meter = self._look(0.0, 0.0, deadline)
        scene = Scene(self._guest.domain, self._guest.shell, self._guest.host.shell)
        paused = pause_for(scene, seconds, deadline)
        pause(_SETTLE)
        agent, meter = self._look(agent.now.boot, meter.now, deadline)
        return Calibration(seconds, paused.least, paused.most, _gap(agent), meter.gap)

    def _look(self, boot: float, now: float, deadline: Deadline) -> tuple[AgentReport, MeterReport]:
        agent = agent_report(self._guest.shell, since=boot, verify=False, deadline=deadline)
        meter = meter_report(self._target.shell, since=now, deadline=deadline)
        self._last = agent
        return agent, meter


def _gap(agent: AgentReport) -> float:
    """The longest gap of the heartbeat of that time.

    Raises:
        GuestError: it does not beat, or there were so many that the longest may be lost.
    """
    beats = heartbeat_of(agent)
    if isinstance(beats, Silent):
        raise GuestError(f"the heartbeat is silent: {beats.why}")
    if beats.forgotten:
        raise GuestError("the heartbeat had so many gaps that some are lost")
    return beats.longest
