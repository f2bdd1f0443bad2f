"""The hosts of one stage, nested by the lab or the user's own: whoever asks for one need not know which it is."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from lab.cache import Cache
from lab.deadline import Deadline
from lab.errors import HostError, UsageError
from lab.guests.guest import Address, Guest, start_guest
from lab.guests.image import obtain_boot_files, obtain_guest_image
from lab.guests.poised import Ground, Readiness, obtain_poised, poised_guest
from lab.hosts.embedded.accelerator import Accelerator, choose_accelerator
from lab.hosts.embedded.build import obtain_host_image
from lab.hosts.embedded.host import embedded_host
from lab.hosts.embedded.network import PrivateNetwork, private_network
from lab.hosts.embedded.recipe import embedded_recipe, embedded_versions
from lab.hosts.embedded.snapshot import obtain_snapshot
from lab.hosts.host import Host
from lab.hosts.run_folder import RunFolder
from lab.keys import Keys
from lab.matrix.model import HostFacts
from lab.scenario.cell import GuestRequest, HostRequest, KernelRequest
from lab.scenario.inventory import Inventory
from lab.stage.listed import ListedHosts

__all__ = ["HostPool"]

_MIXED = "{} and {}: a guest cannot move between an embedded host and one of the inventory, which no network joins"

_PROBE_KERNEL = KernelRequest("bookworm")
"""What the accelerator is probed with: any small kernel does."""


@dataclass
class HostPool:
    """Hosts by name. One that dies is replaced for the next cell; the one that met it dead has the cause."""

    cache: Cache
    keys: Keys
    run: RunFolder
    wanted_accelerator: str
    _stack: ExitStack
    inventory: Inventory = field(default_factory=Inventory)
    _up: dict[str, tuple[Host, ExitStack]] = field(default_factory=dict)
    _own: list[Host] = field(default_factory=list)
    _seen: dict[str, HostFacts] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=itertools.count)
    _places: Iterator[int] = field(default_factory=lambda: itertools.cycle(range(10, 100)))
    """Addresses of guests that share an embedded host; a poised one's is above."""
    _stays: dict[str, ExitStack] = field(default_factory=dict)
    """What lodgers hold, by their names."""

    def __post_init__(self) -> None:
        self.listed = ListedHosts(self.inventory, self.keys, self.run, self._stack)

    @cached_property
    def accelerator(self) -> Accelerator:
        """What runs the hosts, probed once."""
        deadline = Deadline(300)
        if self.wanted_accelerator != "auto" or not Path("/dev/kvm").exists():
            return choose_accelerator(
                self.cache, self.wanted_accelerator, kernel=Path(), initrd=Path(), deadline=deadline
            )
        with obtain_boot_files(self.cache, _PROBE_KERNEL, deadline=deadline) as boot:
            kernel, initrd = boot.kernel.bzimage, boot.initrd
            return choose_accelerator(
                self.cache, self.wanted_accelerator, kernel=kernel, initrd=initrd, deadline=deadline
            )

    @cached_property
    def network(self) -> PrivateNetwork:
        """What all hosts share that :meth:`host` gives."""
        return self._stack.enter_context(self.private_network(Deadline(10)))

    @property
    def ground(self) -> Ground:
        """What every embedded host is made with."""
        return Ground(self.cache, self.keys, self.accelerator.name)

    @property
    def seen(self) -> tuple[HostFacts, ...]:
        """What hosts of this stage said of themselves, those that are gone too."""
        return tuple(self._seen.values())

    def up(self) -> tuple[Host, ...]:
        """The hosts that are up, in the order in which they came."""
        return (*(host for host, _ in self._up.values()), *self._own, *self.listed.up())

    @contextmanager
    def together(self, source: HostRequest, target: HostRequest, deadline: Deadline) -> Iterator[PrivateNetwork | None]:
        """What two hosts need for a move, for as long as the cell has them: a network of their own, if the lab nests
        them; and that nobody else uses them, if they are the user's.

        Raises:
            UsageError: one is this and the other that: no network has both.
            HostError: one of them cannot be had.
        """
        _check_alike(source, target)
        if source.inventory:
            with self.listed.leased((source, target), deadline):
                yield None
        else:
            with self.private_network(deadline) as network:
                yield network

    @contextmanager
    def guest(  # noqa: PLR0913 - a guest, where it goes, and what it gets
        self,
        host: HostRequest,
        guest: GuestRequest,
        readiness: Readiness,
        *,
        shelf: Path | None = None,
        network: PrivateNetwork | None = None,
        deadline: Deadline,
    ) -> Iterator[Guest]:
        """A guest that is up on a host that nobody else uses; it goes at the end, and with it a host of the lab's own.

        Raises:
            HostError, GuestError: one of them does not come up.
        """
        if host.inventory:
            with self._started(host, guest, readiness, shelf, deadline) as up:
                yield up
            return
        recipe = embedded_recipe(host.xen, self.keys)
        with (
            poised_guest(
                self.ground, recipe, guest, readiness, self.run, shelf=shelf, network=network, deadline=deadline
            ) as up,
            # It may move; the host that it came with is this one.
            self._owned(up.host),
        ):
            yield up

    @contextmanager
    def own(self, request: HostRequest, *, network: PrivateNetwork | None, deadline: Deadline) -> Iterator[Host]:
        """A host that nobody else uses, on ``network`` (:meth:`together`); one of the lab's own is gone at the end.

        Raises:
            HostError: it does not come up.
        """
        if request.inventory:
            with self.listed.leased((request,), deadline):
                yield self._reached(request, deadline)
            return
        if network is None:
            raise UsageError(f"{request.name}: has no network")
        with (
            self._embedded(request, network, deadline) as host,
            self._owned(host),
        ):
            yield host

    @contextmanager
    def private_network(self, deadline: Deadline) -> Iterator[PrivateNetwork]:
        """What some hosts share, and nobody else."""
        stations = [embedded_recipe(version, self.keys).station for version in embedded_versions()]
        folder = self.run.sockets / f"net-{next(self._numbers)}"
        with private_network(folder, stations, deadline=deadline.at_most(10)) as network:
            yield network

    @contextmanager
    def _owned(self, host: Host) -> Iterator[None]:
        self._seen[host.name] = host.facts
        self._own.append(host)
        try:
            yield
        finally:
            self._own.remove(host)

    def _embedded(
        self, request: HostRequest, network: PrivateNetwork, deadline: Deadline
    ) -> AbstractContextManager[Host]:
        accelerator = self.accelerator.name
        return embedded_host(
            self.cache,
            embedded_recipe(request.xen, self.keys),
            self.keys,
            self.run,
            network=network,
            accelerator=accelerator,
            deadline=deadline,
        )

    def host(self, request: HostRequest, deadline: Deadline) -> Host:
        """A host that others may share, brought up now if it is not up.

        Raises:
            HostError: it does not come up, or has just been found dead.
        """
        if request.inventory:
            return self._reached(request, deadline)
        name = request.name
        if name in self._up:
            return self._alive(name)
        network = self.network  # made before the first host, so that it goes after the last
        life = self._stack.enter_context(ExitStack())
        host = life.enter_context(self._embedded(request, network, deadline))
        self._seen[name] = host.facts
        self._up[name] = (host, life)
        return host

    @contextmanager
    def lodger(self, host: HostRequest, guest: GuestRequest, deadline: Deadline) -> Iterator[Guest]:
        """A guest as its boot left it, on a host that it may share with others of this stage; gone at the end.

        Raises:
            HostError, GuestError: one of them does not come up.
        """
        with ExitStack() as stay:
            if host.inventory:
                stay.enter_context(self.listed.leased((host,), deadline))
            up = stay.enter_context(self._booted(self.host(host, deadline), host, guest, None, deadline))
            self._stays[up.name] = stay
            try:
                yield up
            finally:
                del self._stays[up.name]

    def destination(self, guest: Guest, target: HostRequest, deadline: Deadline) -> Host:
        """The host that a lodger is about to move to; one of the user's is its own for as long as it lives.

        Raises:
            UsageError: no network has both hosts.
            HostError: it cannot be had.
        """
        listed = guest.host.facts.kind == "inventory"
        if listed is not bool(target.inventory):
            raise UsageError(_MIXED.format(guest.host.name, target.name))
        if listed and guest.name in self._stays:
            life = ExitStack()
            life.enter_context(self.listed.leased((target,), deadline))
            # First: it must be left when the guest has gone.
            rest = self._stays[guest.name].pop_all()
            self._stays[guest.name].push(life)
            self._stays[guest.name].push(rest)
        return self.host(target, deadline)

    @contextmanager
    def _started(
        self, host: HostRequest, request: GuestRequest, readiness: Readiness, shelf: Path | None, deadline: Deadline
    ) -> Iterator[Guest]:
        """A guest booted and made ready; of hosts that are not the lab's there are no snapshots."""
        with (
            self.listed.leased((host,), deadline),
            self._booted(self._reached(host, deadline), host, request, shelf, deadline) as guest,
        ):
            readiness.make(guest, deadline)
            yield guest

    @contextmanager
    def _booted(
        self, up: Host, host: HostRequest, request: GuestRequest, shelf: Path | None, deadline: Deadline
    ) -> Iterator[Guest]:
        address = self.listed.address(host) if host.inventory else Address(next(self._places))
        name = f"{request.name}-{self.run.tag[:4]}-{address.number}"
        with (
            obtain_guest_image(self.cache, request, self.keys, deadline=deadline) as image,
            start_guest(name, up, request, image, address, self.run.path, shelf=shelf, deadline=deadline) as guest,
        ):
            yield guest

    def _reached(self, request: HostRequest, deadline: Deadline) -> Host:
        host = self.listed.host(request, deadline)
        self._seen[host.name] = host.facts
        return host

    def make_image(self, request: HostRequest, deadline: Deadline) -> None:
        """See to it that the host's image is in the cache."""
        with obtain_host_image(self.cache, embedded_recipe(request.xen, self.keys), deadline=deadline):
            pass

    def make_snapshot(self, request: HostRequest, deadline: Deadline) -> None:
        """See to it that the host's snapshot is in the cache."""
        recipe = embedded_recipe(request.xen, self.keys)
        with obtain_snapshot(self.cache, recipe, self.keys, self.accelerator.name, deadline=deadline):
            pass

    def make_poised(self, host: HostRequest, guest: GuestRequest, readiness: Readiness, deadline: Deadline) -> None:
        """See to it that the guest is in the cache, up on its host."""
        recipe = embedded_recipe(host.xen, self.keys)
        with obtain_poised(self.ground, recipe, guest, readiness, deadline=deadline):
            pass

    def _alive(self, name: str) -> Host:
        host, life = self._up[name]
        try:
            host.disks.watch()
        except HostError as dead:
            # The cell that meets it dead gets the cause; the next one gets a new host from the snapshot.
            del self._up[name]
            life.close()
            raise HostError(f"{dead.message}", hint="the next cell gets a fresh host") from dead
        return host


def _check_alike(source: HostRequest, target: HostRequest) -> None:
    if bool(source.inventory) is not bool(target.inventory):
        raise UsageError(_MIXED.format(source.name, target.name))
