"""Bringing an embedded host up from its snapshot."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from lab.cache import Cache
from lab.deadline import Deadline
from lab.events import step
from lab.hosts.embedded.clock import set_clock
from lab.hosts.embedded.cr2 import hap_fails
from lab.hosts.embedded.network import PrivateNetwork
from lab.hosts.embedded.qemu import HARDWARE, Machine, Plug, Wiring, make_overlay, start_machine
from lab.hosts.embedded.recipe import EmbeddedRecipe
from lab.hosts.embedded.snapshot import Snapshot, boot_of, obtain_snapshot
from lab.hosts.host import Host
from lab.hosts.run_folder import Place, RunFolder
from lab.hypervisor import connect
from lab.keys import Keys
from lab.shell import SshNetwork, SshShell

__all__ = ["Embedded", "embedded_host", "resumed"]

_TARGETS = 256
"""Addresses on a virtio-scsi bus (VIRTIO_SCSI_MAX_TARGET of QEMU's hw/scsi/virtio-scsi.c)."""


@dataclass(frozen=True, slots=True)
class _ScsiShelf:
    """Disks of guests: SCSI disks of QEMU that come and go. ``plugs`` are there, by serial."""

    machine: Machine
    shell: SshShell
    plugs: dict[str, Plug]

    def path(self, serial: str) -> str:
        # udev names it after what scsi_id(8) reads: vendor, model and serial.
        return f"/dev/disk/by-id/scsi-0QEMU_QEMU_HARDDISK_{serial}"

    def plug(self, image: Path, serial: str, *, read_only: bool, sector: int, deadline: Deadline) -> str:
        path = self.path(serial)
        held = self.plugs.get(serial)
        if held is not None:
            # A move that failed has left it here, or half of it.
            if held.image == image and self.shell.run("test", "-b", path, deadline=deadline):
                return path
            self.machine.clear(serial, deadline=deadline)
            del self.plugs[serial]
        taken = {plug.target for plug in self.plugs.values()}
        plug = Plug(image, serial, min(set(range(_TARGETS)) - taken), read_only, sector)
        self.machine.plug(plug, deadline=deadline)
        self.plugs[serial] = plug
        seconds = int(max(1, min(30, deadline.remaining())))
        wait = f'timeout {seconds} sh -c "until [ -b {path} ]; do sleep 0.05; done"'
        self.shell.run("sh", "-c", wait, deadline=deadline).check(
            hint=f"dom0 did not see the disk {serial} in {seconds} s"
        )
        return path

    def unplug(self, serial: str, *, deadline: Deadline) -> None:
        self.machine.unplug(serial, deadline=deadline)
        self.plugs.pop(serial, None)

    def throttle(self, serial: str, bytes_per_second: int, *, deadline: Deadline) -> None:
        self.machine.throttle(serial, bytes_per_second, deadline=deadline)

    def watch(self) -> None:
        self.machine.watch()


@dataclass(frozen=True)
class Embedded:
    """A host, the machine that it is, and its disks. :meth:`leave` closes every connection to it, for good."""

    host: Host
    machine: Machine
    plugs: dict[str, Plug]
    leave: Callable[[], None]


@contextmanager
def embedded_host(  # noqa: PLR0913 - what it is made from, and where it lives
    cache: Cache,
    recipe: EmbeddedRecipe,
    keys: Keys,
    run: RunFolder,
    *,
    network: PrivateNetwork | None,
    accelerator: str,
    deadline: Deadline,
) -> Iterator[Host]:
    """A host of ``recipe``, on its own or together with others on ``network``; gone at the end.

    Raises:
        HostError: it does not come up.
    """
    place = run.place(recipe.name)
    with (
        obtain_snapshot(cache, recipe, keys, accelerator, deadline=deadline) as snapshot,
        resumed(snapshot, recipe, keys, place, network=network, accelerator=accelerator, deadline=deadline) as embedded,
    ):
        yield embedded.host


@contextmanager
def resumed(  # noqa: PLR0913 - what it is made from, and where it lives
    snapshot: Snapshot,
    recipe: EmbeddedRecipe,
    keys: Keys,
    place: Place,
    *,
    network: PrivateNetwork | None,
    accelerator: str,
    deadline: Deadline,
) -> Iterator[Embedded]:
    """A host back from ``snapshot``, with all that ran on it; gone at the end.

    Raises:
        HostError: it does not come back.
    """
    folder, sockets = place.folder, place.sockets
    with ExitStack() as stack:
        make_overlay(snapshot.disk, "qcow2", folder / "disk.qcow2", deadline=deadline)
        port = None if network is None else (network, recipe.station)
        wiring = Wiring(folder, sockets, folder / "disk.qcow2", port, snapshot.plugs)
        booting = boot_of(recipe, snapshot.image)
        hardware = HARDWARE.argv(accelerator, recipe.station)
        with step("resume a host", host=recipe.name):
            machine = stack.enter_context(
                start_machine(recipe.name, wiring, hardware, booting, incoming=snapshot.memory, deadline=deadline)
            )
            ssh = SshNetwork(sockets, keys.user, keys.known_host("lab"))
            ssh.add(recipe.name, address="127.0.0.1", port=machine.ssh_port(deadline))
            connections = stack.enter_context(ExitStack())
            shell = connections.enter_context(ssh.connect(recipe.name, deadline=deadline, watch=machine.watch))
            set_clock(recipe.name, shell, deadline=deadline)
            shell.forward(sockets / "libvirt", "/run/libvirt/libvirt-sock", deadline=deadline)
            uri = f"xen+unix:///system?socket={sockets / 'libvirt'}"
            connection = connections.enter_context(connect(uri, deadline=deadline))
        plugs = {plug.serial: plug for plug in snapshot.plugs}
        host = Host(
            facts=snapshot.facts,
            address=recipe.address,
            bridge="xenbr0",
            shell=shell,
            network=ssh,
            connection=connection,
            disks=_ScsiShelf(machine, shell, plugs),
            console=wiring.console,
            rig=machine,
            accelerator=accelerator,
            hap_fails=hap_fails(recipe.xen, machine.version(deadline), accelerator),
            # The same at every return: guests that came out of a snapshot wear it. Nobody looks for what such a host
            # leaves behind, since nothing of it outlives its QEMU.
            tag="lab",
        )
        yield Embedded(host, machine, plugs, connections.close)
