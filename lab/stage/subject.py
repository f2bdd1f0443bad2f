"""A guest that is harmed on purpose, and watched while it is."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from lab.checks.faults import Fault, Scene, pause_for
from lab.checks.invariants import LIVE, STEERABLE
from lab.checks.journey import Journey
from lab.checks.proof import way_of
from lab.deadline import Deadline
from lab.guests import moving
from lab.guests.guest import Guest
from lab.guests.meter import MeterReport, meter_report
from lab.hosts.host import Host, Throttle
from lab.stage.travel import Travel
from lab.wait import pause

__all__ = ["MEASURED", "Subject", "WatchedGuest", "needs_steering"]

MEASURED = frozenset({"guest-pause", "network-gap"})
"""Invariants that compare a length with a limit: a real move may by itself take longer than the fault does."""

_STAND_IN = 0.5
"""Seconds of the pause that stands for a move: the agent takes the end of its longest gap for the arrival."""

_BEFORE = 1.0
"""Seconds between the first look and what follows: some writes belong to the time before the arrival."""

_STEERING = 60.0
"""Seconds in which a guest is paused, resumed and shut down; one that is deaf takes them all."""


class Subject(Protocol):
    """A guest that faults are tried on, one after the other."""

    def try_out(self, fault: Fault | None, deadline: Deadline) -> Journey:
        """Everything that was seen of it around the fault, or around nothing.

        Raises:
            LabError: the fault cannot be done, or somebody cannot be asked.
        """
        ...

    def heal(self, fault: Fault, deadline: Deadline) -> None:
        """Undo it.

        Raises:
            LabError: it cannot be undone.
        """
        ...


def needs_steering(fault: Fault | None) -> bool:
    """Whether the guest is steered, after which it is off, or deaf."""
    return fault is None or fault.invariant == STEERABLE


@dataclass
class WatchedGuest:
    """A real one, with its agent in it, and the ``other`` host.

    It stays where it is, and a short pause stands for the move: the other host counts as the one that it left. With
    ``moves`` it really goes there, live, unless the fault is of a length that a move would hide.
    """

    guest: Guest
    other: Host
    moves: bool = False

    def try_out(self, fault: Fault | None, deadline: Deadline) -> Journey:
        """See :class:`Subject`."""
        moves = self.moves and (fault is None or fault.invariant not in MEASURED)
        travel, meanwhile = self._moved(fault, deadline) if moves else self._stayed(fault, deadline)
        travel.arrive(deadline)
        if needs_steering(fault):
            travel.steer(deadline.at_most(_STEERING))
        seen = dataclasses.replace(travel.journey, how=way_of(fault))
        return seen if meanwhile is None else dataclasses.replace(seen, meter=meanwhile)

    def heal(self, fault: Fault, deadline: Deadline) -> None:
        """See :class:`Subject`."""
        if fault.heal is not None:
            fault.heal(self._scene(), deadline)

    def _stayed(self, fault: Fault | None, deadline: Deadline) -> tuple[Travel, MeterReport | None]:
        travel = Travel(self.guest, self.guest.host, LIVE, origin=self.other)
        travel.depart(deadline)
        pause(_BEFORE)
        if fault is None or fault.invariant != "guest-pause":
            pause_for(self._scene(), _STAND_IN, deadline)
        return travel, self._harm(fault, deadline)

    def _moved(self, fault: Fault | None, deadline: Deadline) -> tuple[Travel, MeterReport | None]:
        travel = Travel(self.guest, self.other, LIVE)
        travel.depart(deadline)
        arrived = fault is not None and fault.when == "arrived"
        meanwhile = None if arrived else self._harm(fault, deadline)
        moving.move(self.guest, travel.target, LIVE, deadline=deadline)
        self.other = travel.source
        return travel, self._harm(fault, deadline) if arrived else meanwhile

    def _harm(self, fault: Fault | None, deadline: Deadline) -> MeterReport | None:
        """Do the fault and wait until it can be seen; what the meter saw meanwhile, if that is asked for."""
        if fault is None:
            return None
        fault.inject(self._scene(), deadline)
        meanwhile = None
        if fault.metered:
            shell = self.guest.host.shell
            pause(_BEFORE)  # answers that were under way are none of that time
            begin = meter_report(shell, deadline=deadline).now
            pause(fault.metered)
            meanwhile = meter_report(shell, since=begin, deadline=deadline)
        pause(fault.settle)
        if fault.fatal:
            self.guest.reconnect(deadline)
        return meanwhile

    def _scene(self) -> Scene:
        guest, disks = self.guest, self.guest.host.disks
        freeze = thaw = None
        if isinstance(disks, Throttle):
            serial = guest.disks["xvda"].serial
            freeze = partial(_throttle, disks, serial, 1)
            thaw = partial(_throttle, disks, serial, 0)
        return Scene(
            domain=guest.domain,
            guest=guest.shell,
            host=guest.host.shell,
            mac=guest.address.mac,
            bridge=guest.host.bridge,
            source=self.other.connection,
            freeze=freeze,
            thaw=thaw,
        )


def _throttle(disks: Throttle, serial: str, bytes_per_second: int, deadline: Deadline) -> None:
    disks.throttle(serial, bytes_per_second, deadline=deadline)
