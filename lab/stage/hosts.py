"""The hosts of one stage: brought up on first use, shared by its cells, gone with it."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from lab.cache import Cache
from lab.deadline import Deadline
from lab.errors import HostError, UsageError
from lab.guests.image import obtain_boot_files
from lab.hosts.embedded.accelerator import Accelerator, choose_accelerator
from lab.hosts.embedded.build import obtain_host_image
from lab.hosts.embedded.host import embedded_host
from lab.hosts.embedded.network import PrivateNetwork, private_network
from lab.hosts.embedded.recipe import embedded_recipe, embedded_versions
from lab.hosts.embedded.snapshot import obtain_snapshot
from lab.hosts.host import Host
from lab.hosts.run_folder import RunFolder
from lab.keys import Keys
from lab.scenario.cell import HostRequest, KernelRequest

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
        """What all hosts of this stage share, and nobody else."""
        stations = [embedded_recipe(version, self.keys).station for version in embedded_versions()]
        return self._stack.enter_context(private_network(self.run.sockets / "net", stations, deadline=Deadline(10)))

    def up(self) -> tuple[Host, ...]:
        """The hosts that are up, in the order in which they came."""
        return tuple(host for host, _ in self._up.values())

    def host(self, request: HostRequest, deadline: Deadline) -> Host:
        """A host, brought up now if it is not up.

        Raises:
            HostError: it does not come up, or has just been found dead.
        """
        name = request.name
        if name in self._up:
            return self._alive(name)
        if request.inventory:
            raise UsageError(f"{name}: hosts of an inventory are not supported yet", hint="use xen: VERSION")
        life = self._stack.enter_context(ExitStack())
        host = life.enter_context(
            embedded_host(
                self.cache,
                embedded_recipe(request.xen, self.keys),
                self.keys,
                self.run,
                network=self.network,
                accelerator=self.accelerator.name,
                deadline=deadline,
            )
        )
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
