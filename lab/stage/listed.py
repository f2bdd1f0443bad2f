"""The user's own hosts of one stage: reached once, shared by its cells, each cell having its hosts for itself."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace

from lab.deadline import Deadline
from lab.errors import DeadlineError, HostError, LabError, UsageError
from lab.guests.guest import Address
from lab.hosts.host import Host
from lab.hosts.inventory.host import inventory_host, leased, numbers_of
from lab.hosts.inventory.nbd import Exports
from lab.hosts.run_folder import RunFolder
from lab.keys import Keys
from lab.scenario.cell import HostRequest
from lab.scenario.inventory import Inventory

__all__ = ["ListedHosts"]

_REACH_SECONDS = 180.0


@dataclass
class _Lease:
    """``life`` ends it with the last of those that count on it."""

    life: ExitStack
    users: int = 0


@dataclass
class ListedHosts:
    """Hosts of ``inventory``. What is reached is let go of with the stack; one that was lost stays lost, by its cause.

    Two threads may ask for two hosts at a time.
    """

    inventory: Inventory
    keys: Keys
    run: RunFolder
    _stack: ExitStack
    _up: dict[str, Host] = field(default_factory=dict)
    _lost: dict[str, LabError] = field(default_factory=dict)
    _leases: dict[str, _Lease] = field(default_factory=dict)
    _numbers: dict[str, Iterator[int]] = field(default_factory=dict)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def __post_init__(self) -> None:
        # A place of its own, taken now: whatever uses a host is undone before the host is let go of.
        self._stack = self._stack.enter_context(ExitStack())
        self._exports = Exports(self.run.sockets / "nbd")

    def up(self) -> tuple[Host, ...]:
        """Those that were reached and are not known to be lost."""
        return tuple(self._up.values())

    def host(self, request: HostRequest, deadline: Deadline) -> Host:
        """The host, reached now if it was not.

        Raises:
            UsageError: it is in no hosts file, or is another than the scenario says.
            HostError: it cannot be reached, or was lost before.
        """
        listed = self.inventory.host(request.inventory)
        with self._lock:
            if listed.name in self._lost:
                raise HostError(f"{self._lost[listed.name].message}", hint="it is not tried again in this run")
            try:
                if listed.name in self._up:
                    self._up[listed.name].disks.watch()
                    self._mend(listed.name, deadline)
                else:
                    self._up[listed.name] = self._reach(listed.name, deadline)
            except (HostError, DeadlineError, OSError) as cause:
                self._up.pop(listed.name, None)
                self._lost[listed.name] = cause if isinstance(cause, LabError) else HostError(f"{listed.name}: {cause}")
                raise
            host = self._up[listed.name]
        _check_version(request, host)
        return host

    def _reach(self, name: str, deadline: Deadline) -> Host:
        listed = self.inventory.host(name)
        place = self.run.place(f"h{listed.stand}")
        enter = inventory_host(listed, place, self.keys, self._exports, deadline=deadline.at_most(_REACH_SECONDS))
        try:
            return self._stack.enter_context(enter)
        except DeadlineError as late:
            raise HostError(f"{name}: {late.message}") from late

    def _mend(self, name: str, deadline: Deadline) -> None:
        """A connection to libvirt of which a call was given up is of no more use; the next cell gets a new one."""
        host = self._up[name]
        if host.connection.broken is not None:
            fresh = host.connection.reconnect(deadline.at_most(_REACH_SECONDS))
            self._stack.callback(fresh.close)
            self._up[name] = replace(host, connection=fresh)

    @contextmanager
    def leased(self, requests: Iterable[HostRequest], deadline: Deadline) -> Iterator[None]:
        """Have these hosts for oneself, also against other runs; who has one already has it once more.

        They are asked for in one order, so that two who want the same two do not wait for each other.

        Raises:
            HostError: one cannot be reached, or somebody else has it for too long.
        """
        with ExitStack() as undo:
            for request in sorted(requests, key=lambda request: request.name):
                host = self.host(request, deadline)
                undo.enter_context(self._leased(host, deadline))
            yield

    @contextmanager
    def _leased(self, host: Host, deadline: Deadline) -> Iterator[None]:
        with self._lock:
            if host.name not in self._leases:
                life = ExitStack()
                life.enter_context(leased(host, deadline=deadline))
                self._leases[host.name] = _Lease(life)
            lease = self._leases[host.name]
            lease.users += 1
        try:
            yield
        finally:
            with self._lock:
                lease.users -= 1
                if not lease.users:
                    del self._leases[host.name]
                    lease.life.close()

    def address(self, request: HostRequest) -> Address:
        """A place on the network for a guest that is started there; no guest that lives has the same."""
        listed = self.inventory.host(request.inventory)
        numbers = self._numbers.setdefault(listed.name, itertools.cycle(numbers_of(listed)))
        return Address(next(numbers))


def _check_version(request: HostRequest, host: Host) -> None:
    """A scenario may say which Xen the host has; then it must be that."""
    if request.xen and not f"{host.facts.xen}.".startswith((f"{request.xen}.", f"{request.xen}-")):
        raise UsageError(
            f"{host.name}: runs Xen {host.facts.xen or 'of no version'}, and the scenario says {request.xen}",
            hint="leave xen out, or name another host",
        )
