"""The hosts of one stage: brought up on first use, shared by its cells, gone with it."""

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
from lab.guests.guest import Guest
from lab.guests.image import obtain_boot_files
from lab.guests.poised import Ground, Readiness, obtain_poised, poised_guest
from lab.hosts.embedded.accelerator import Accelerator, choose_accelerator
from lab.hosts.embedded.build import obtain_host_image
from lab.hosts.embedded.host import embedded_host
from lab.hosts.embedded.network import PrivateNetwork, private_network
from lab.hosts.embedded.recipe import EmbeddedRecipe, embedded_recipe, embedded_versions
from lab.hosts.embedded.snapshot import obtain_snapshot
from lab.hosts.host import Host
from lab.hosts.run_folder import RunFolder
from lab.keys import Keys
from lab.matrix.model import HostFacts
from lab.scenario.cell import GuestRequest, HostRequest, KernelRequest

__all__ = ["HostPool"]

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
    _up: dict[str, tuple[Host, ExitStack]] = field(default_factory=dict)
    _own: list[Host] = field(default_factory=list)
    _seen: dict[str, HostFacts] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=itertools.count)

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
        return (*(host for host, _ in self._up.values()), *self._own)

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
        """A guest that is up on a host that nobody else uses; both go at the end.

        Raises:
            HostError, GuestError: one of them does not come up.
        """
        recipe = self._recipe(host)
        with (
            poised_guest(
                self.ground, recipe, guest, readiness, self.run, shelf=shelf, network=network, deadline=deadline
            ) as up,
            # It may move; the host that it came with is this one.
            self._owned(up.host),
        ):
            yield up

    @contextmanager
    def own(self, request: HostRequest, *, network: PrivateNetwork, deadline: Deadline) -> Iterator[Host]:
        """A host that nobody else uses, on ``network``; gone at the end.

        Raises:
            HostError: it does not come up.
        """
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
            self._recipe(request),
            self.keys,
            self.run,
            network=network,
            accelerator=accelerator,
            deadline=deadline,
        )

    def _recipe(self, request: HostRequest) -> EmbeddedRecipe:
        if request.inventory:
            raise UsageError(f"{request.name}: hosts of an inventory are not supported yet", hint="use xen: VERSION")
        return embedded_recipe(request.xen, self.keys)

    def host(self, request: HostRequest, deadline: Deadline) -> Host:
        """A host, brought up now if it is not up.

        Raises:
            HostError: it does not come up, or has just been found dead.
        """
        name = request.name
        if name in self._up:
            return self._alive(name)
        network = self.network  # made before the first host, so that it goes after the last
        life = self._stack.enter_context(ExitStack())
        host = life.enter_context(self._embedded(request, network, deadline))
        self._seen[name] = host.facts
        self._up[name] = (host, life)
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
        with obtain_poised(self.ground, self._recipe(host), guest, readiness, deadline=deadline):
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
