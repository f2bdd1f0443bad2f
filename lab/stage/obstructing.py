"""Moves that meet an obstacle, on real hosts: what came of the guest, of both hosts, and of the next move."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from lab.checks.invariants import LIVE
from lab.checks.obstacles import BEFORE, Crossing, Obstacle
from lab.checks.setback import Encounter, Onward, Setback, setback_checks
from lab.deadline import Deadline
from lab.errors import GuestError, LabError
from lab.events import step
from lab.guests import moving
from lab.guests.aftermath import await_landing, drop_half_made, end_transfers, free_from_job, renewed
from lab.guests.causes import causes, mark
from lab.guests.life import Life, life_of
from lab.hosts.host import Host
from lab.hosts.traces import Traces, leftovers, take_traces
from lab.hypervisor import DomainState, Sighting, Whereabouts, whereabouts
from lab.verdict import Outcome
from lab.wait import pause

__all__ = ["Encounters", "Passage", "Roads"]

_BRING_UP_SECONDS = 900.0

_SECONDS = 600.0
"""For one obstacle on hosts that are up, with the next move on the same hosts."""

_OVERRUN = 60.0
"""Seconds that a move may take beyond its deadline: libvirt is asked to abort and gets some seconds to come back, both
hosts are asked where the guest is (twice ten), and what was plugged for it is unplugged.
"""

_NEXT_MOVE_SECONDS = 180.0
_LANDING_SECONDS = 60.0
_LOOK_SECONDS = 40.0

_CALM_SECONDS = 20.0
"""What goes by itself after a move may take so long."""

_PART = 8
"""Midway is when the target has this part of the guest's memory."""

# A few looks a command; each costs libxl a third of a second under emulation.
_MIDWAY = r"""
for try in $(seq 4); do
  xl list "$1" 2>/dev/null | { read -r _; read -r _ _ mib _ && [ "$mib" -ge "$2" ]; } && exit 0
done
exit 1
"""


class Roads(Protocol):
    """Where guests that are about to move come from. :class:`lab.stage.proving.Ground` is one."""

    def crossing(self, deadline: Deadline) -> AbstractContextManager[Crossing]:
        """A fresh guest on a host, and another host for it, both nobody else's; all gone at the end.

        Raises:
            LabError: one of them does not come up.
        """
        ...

    def salvage(self, folder: Path) -> None:
        """Collect what explains it. Never raises."""
        ...


@dataclass
class Encounters:
    """Obstacles met one after the other. ``begun`` is told of each before, and answers where its evidence goes."""

    roads: Roads
    begun: Callable[[Obstacle], Path]

    def run(self, obstacles: Sequence[Obstacle]) -> Generator[Encounter]:
        """What came of each."""
        for obstacle in obstacles:
            folder, begin = self.begun(obstacle), time.monotonic()
            try:
                encounter = self._meet(obstacle, folder, begin)
            except LabError as trouble:
                encounter = Encounter.unmet(obstacle.name, obstacle.does, trouble, time.monotonic() - begin)
            yield encounter

    def _meet(self, obstacle: Obstacle, folder: Path, begin: float) -> Encounter:
        with ExitStack() as life:
            crossing = life.enter_context(self.roads.crossing(Deadline(_BRING_UP_SECONDS)))
            try:
                passage, deadline = Passage(obstacle, crossing, life), Deadline(_SECONDS)
                seen = passage.meet(deadline)
                (folder / "setback.json").write_text(json.dumps(seen.to_json(), indent=1) + "\n")
                onward = passage.onward(deadline)
            except LabError:
                self.roads.salvage(folder)
                raise
            checks = setback_checks(seen, onward or Onward("nobody yet", 0.0))
            if any(check.outcome is Outcome.FAIL for check in checks):
                self.roads.salvage(folder)
            # The hosts go before others come: four at once are too much for a small machine.
            life.close()
            if onward is None:
                onward = self._onward_afresh(folder)
        return Encounter(obstacle.name, obstacle.does, setback_checks(seen, onward), time.monotonic() - begin)

    def _onward_afresh(self, folder: Path) -> Onward:
        with self.roads.crossing(Deadline(_BRING_UP_SECONDS)) as fresh:
            onward = _move_on(fresh, "another guest on fresh hosts", Deadline(_SECONDS))
            if onward.trouble:
                self.roads.salvage(folder)
        return onward


@dataclass
class Passage:
    """One guest that meets one obstacle. What is opened on the way is closed with ``keep``."""

    obstacle: Obstacle
    crossing: Crossing
    keep: ExitStack
    _home: str = ""
    _before: Life = field(init=False)
    _seconds: float = 0.0
    """Of the move."""
    _took: float = 0.0
    """Of the move and the obstacle: of two moves, if that is another one."""

    def meet(self, deadline: Deadline) -> Setback:
        """Move the guest with the obstacle in its way, and see what came of it.

        Raises:
            LabError: the obstacle cannot be put up or taken away, it came too late, or somebody cannot be asked.
        """
        obstacle, crossing = self.obstacle, self.crossing
        guest = crossing.guest
        self._before = life_of(guest.shell, deadline=deadline)
        with ExitStack() as standing:
            target = crossing.target
            with step("look before the move", guest=guest.name):
                if obstacle.when == BEFORE:
                    target = standing.enter_context(obstacle.stand(crossing, deadline))
                marks = {host.name: mark(host, deadline=deadline) for host in self._hosts}
                traces = {host.name: take_traces(host.shell, deadline=deadline) for host in self._hosts}
            limit = Deadline(min(obstacle.seconds, deadline.check("move")))
            error = self._move(target, standing, limit)
            with step("ask why", guest=guest.name):
                said = causes(*self._hosts, marks, deadline=deadline)
            if obstacle.when != BEFORE:
                standing.close()
            with step("look after the move", guest=guest.name):
                swept = self._sweep(deadline) if error else ()
                where = self._find(deadline)
                if error:
                    swept += self._tidy(deadline)
                after = self._life(deadline)
                both, unasked = self._look(traces, deadline)
        return Setback(
            guest=guest.name,
            error=error if not obstacle.rival else crossing.rival.message if crossing.rival else "",
            causes=said,
            named=obstacle.pattern(crossing),
            where=where,
            home=self._home,
            before=self._before,
            after=after,
            traces=both,
            seconds=self._took,
            limit=limit.seconds + _OVERRUN,
            unasked=unasked,
            swept=swept,
        )

    def onward(self, deadline: Deadline) -> Onward | None:
        """The next move of the same guest; nothing where it cannot be that guest's, on these hosts.

        Raises:
            DeadlineError: no time is left for it.
        """
        source, target = self._hosts
        if self.obstacle.rival and self._home == target.name:
            return Onward("the first of the two", self._seconds)
        if self._home != source.name or _dead(target):
            return None
        return _move_on(self.crossing, "the same guest", deadline, self._before)

    @property
    def _hosts(self) -> tuple[Host, Host]:
        return self.crossing.source, self.crossing.target

    def _move(self, target: Host, standing: ExitStack, limit: Deadline) -> str:
        """Move it, the obstacle comes meanwhile if it does; what went wrong, or nothing."""
        over = threading.Event()
        with ThreadPoolExecutor(1) as beside:
            coming: Future[None] | None = None
            if self.obstacle.when != BEFORE:
                coming = beside.submit(self._obstruct, standing, over, limit)
            begin = time.monotonic()
            try:
                moving.move(self.crossing.guest, target, LIVE, deadline=limit)
            except LabError as failed:
                error = failed.message
            else:
                error = ""
            finally:
                over.set()
                self._seconds = time.monotonic() - begin
            try:
                if coming is not None:
                    coming.result()
            except LabError as trouble:
                raise GuestError(f"{trouble.message}; of the move: {error or 'it arrived'}") from trouble
            self._took = time.monotonic() - begin
        return error

    def _obstruct(self, standing: ExitStack, over: threading.Event, limit: Deadline) -> None:
        guest, target = self.crossing.guest, self.crossing.target
        words = (guest.name, str(max(1, guest.request.memory // _PART)))
        midway = False
        while not midway:
            midway = bool(target.shell.run("timeout", "10", "sh", "-c", _MIDWAY, "sh", *words, deadline=limit))
            # Who has arrived has all of its memory there, too.
            if over.is_set():
                raise GuestError(f"{guest.name}: the move was over before {self.obstacle.name} could come")
            limit.check(self.obstacle.name)
        with step("put up an obstacle", obstacle=self.obstacle.name):
            standing.enter_context(self.obstacle.stand(self.crossing, limit))

    def _sweep(self, deadline: Deadline) -> tuple[str, ...]:
        """End what still sends or waits, and have connections again that can be used."""
        swept: tuple[str, ...] = ()
        living = [host for host in self._hosts if not _dead(host)]
        for host in living:
            swept += end_transfers(host, deadline=deadline)
        for host in living:
            await_landing(host.connection, deadline=deadline.at_most(_LANDING_SECONDS))
        self._renew(deadline)
        return swept

    def _renew(self, deadline: Deadline) -> None:
        crossing = self.crossing
        if not _dead(crossing.source):
            crossing.source = renewed(crossing.source, self.keep, deadline=deadline)
        if not _dead(crossing.target):
            crossing.target = renewed(crossing.target, self.keep, deadline=deadline)

    def _find(self, deadline: Deadline) -> Whereabouts:
        """Where it is; the guest knows it then. A machine that is off has nobody on it."""
        guest, (source, target) = self.crossing.guest, self._hosts
        seen = whereabouts(guest.name, source.connection, target.connection, deadline.at_most(_LOOK_SECONDS))
        if _dead(source):
            seen = replace(seen, source=Sighting(seen.source.uri, DomainState.ABSENT, "its machine is off"))
        if _dead(target):
            seen = replace(seen, target=Sighting(seen.target.uri, DomainState.ABSENT, "its machine is off"))
        self._home = ""
        for host, sighting in ((target, seen.target), (source, seen.source)):
            if sighting.state.executes:
                self._home = host.name
        if seen.lives_once and self._home:
            home = source if self._home == source.name else target
            moved = home.name != guest.host.name
            guest.host, guest.domain = home, home.connection.domain(guest.name, deadline)
            if moved:
                guest.settle(guest.host, guest.domain, deadline)
        return seen

    def _tidy(self, deadline: Deadline) -> tuple[str, ...]:
        """Put away what nobody else will: on the target what was made of a guest that lives on the source, and there
        a job that nobody ends.
        """
        source, target = self._hosts
        if self._home != source.name:
            return ()
        guest = self.crossing.guest
        swept = () if _dead(target) else drop_half_made(target, guest.name, deadline=deadline)
        freed = free_from_job(source, guest.name, deadline=deadline)
        if freed:
            self._renew(deadline)
            guest.host = self.crossing.source
            guest.domain = guest.host.connection.domain(guest.name, deadline)
        return (*swept, *freed)

    def _life(self, deadline: Deadline) -> Life | str:
        if not self._home:
            return "it lives nowhere"
        guest = self.crossing.guest
        try:
            return life_of(guest.shell, deadline=deadline.at_most(_LOOK_SECONDS))
        except LabError:
            pass  # its shell may have died with the move
        try:
            guest.reconnect(deadline.at_most(_LOOK_SECONDS))
            return life_of(guest.shell, deadline=deadline.at_most(_LOOK_SECONDS))
        except LabError as trouble:
            return f"it does not answer: {trouble.message}"

    def _look(
        self, before: dict[str, Traces], deadline: Deadline
    ) -> tuple[dict[str, tuple[Traces, Traces]], dict[str, str]]:
        """The traces of both hosts before and after, and why one could not be asked."""
        both, unasked = {}, {}
        for host in self._hosts:
            try:
                host.disks.watch()
                both[host.name] = (before[host.name], self._calm(host, before[host.name], deadline))
            except LabError as trouble:
                unasked[host.name] = trouble.message
        return both, unasked

    def _calm(self, host: Host, before: Traces, deadline: Deadline) -> Traces:
        """The traces of a host once nothing is left, or when enough time was given to it."""
        calm = deadline.at_most(_CALM_SECONDS)
        while True:
            now = take_traces(host.shell, deadline=deadline)
            left = leftovers(before, now, guest=self.crossing.guest.name, home=host.name == self._home)
            if not left or calm.expired:
                return now
            pause(1.0)


def _move_on(crossing: Crossing, who: str, deadline: Deadline, before: Life | None = None) -> Onward:
    """A move without an obstacle, and whether the guest arrived as it was."""
    guest, source, target = crossing.guest, crossing.source, crossing.target
    limit = Deadline(min(_NEXT_MOVE_SECONDS, deadline.check("the next move")))
    begin = time.monotonic()
    try:
        before = before or life_of(guest.shell, deadline=limit)
        seconds = moving.move(guest, target, LIVE, deadline=limit)
        lost = before.lost(life_of(guest.shell, deadline=deadline))
        seen = whereabouts(guest.name, source.connection, target.connection, deadline.at_most(_LOOK_SECONDS))
    except LabError as trouble:
        return Onward(who, time.monotonic() - begin, trouble.message)
    arrived = seen.target.state in {DomainState.RUNNING, DomainState.BLOCKED}
    gone = seen.source.state is DomainState.ABSENT
    return Onward(who, seconds, lost or ("" if arrived and gone else str(seen)))


def _dead(host: Host) -> bool:
    try:
        host.disks.watch()
    except LabError:
        return True
    return False
