"""Bringing an embedded host up from its snapshot."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from lab.cache import Cache
from lab.deadline import Deadline
from lab.events import step
from lab.hosts.embedded.network import PrivateNetwork
from lab.hosts.embedded.qemu import HARDWARE, Machine, Wiring, make_overlay, start_machine
from lab.hosts.embedded.recipe import EmbeddedRecipe
from lab.hosts.embedded.snapshot import boot_of, obtain_snapshot
from lab.hosts.host import Host
from lab.hosts.run_folder import RunFolder
from lab.hypervisor import connect
from lab.keys import Keys
from lab.shell import SshNetwork, SshShell

__all__ = ["embedded_host", "set_clock"]


@dataclass(frozen=True, slots=True)
class _ScsiShelf:
    """Disks of guests: SCSI disks of QEMU that come and go."""

    machine: Machine
    shell: SshShell

    def plug(self, image: Path, serial: str, *, read_only: bool, sector: int, deadline: Deadline) -> str:
        self.machine.plug(image, serial, read_only=read_only, sector=sector, deadline=deadline)
        # udev names it after what scsi_id(8) reads: vendor, model and serial.
        path = f"/dev/disk/by-id/scsi-0QEMU_QEMU_HARDDISK_{serial}"
        seconds = int(max(1, min(30, deadline.remaining())))
        wait = f'timeout {seconds} sh -c "until [ -b {path} ]; do sleep 0.05; done"'
        self.shell.run("sh", "-c", wait, deadline=deadline).check(
            hint=f"dom0 did not see the disk {serial} in {seconds} s"
        )
        return path

    def unplug(self, serial: str, *, deadline: Deadline) -> None:
        self.machine.unplug(serial, deadline=deadline)

    def watch(self) -> None:
        self.machine.watch()


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
    folder, sockets = run.fresh_folder(recipe.name), run.sockets / recipe.name
    shutil.rmtree(sockets, ignore_errors=True)
    sockets.mkdir()
    with ExitStack() as stack:
        snapshot = stack.enter_context(obtain_snapshot(cache, recipe, keys, accelerator, deadline=deadline))
        make_overlay(snapshot.disk, "qcow2", folder / "disk.qcow2", deadline=deadline)
        port = None if network is None else (network, recipe.station)
        wiring = Wiring(folder, sockets, folder / "disk.qcow2", port)
        booting = boot_of(recipe, snapshot.image)
        hardware = HARDWARE.argv(accelerator, recipe.station)
        with step("resume a host", host=recipe.name):
            machine = stack.enter_context(
                start_machine(recipe.name, wiring, hardware, booting, incoming=snapshot.memory, deadline=deadline)
            )
            ssh = SshNetwork(sockets, keys.user, keys.known_host("lab"))
            ssh.add(recipe.name, address="127.0.0.1", port=machine.ssh_port(deadline))
            shell = stack.enter_context(ssh.connect(recipe.name, deadline=deadline, watch=machine.watch))
            set_clock(shell, deadline=deadline)
            shell.forward(sockets / "libvirt", "/run/libvirt/libvirt-sock", deadline=deadline)
            uri = f"xen+unix:///system?socket={sockets / 'libvirt'}"
            connection = stack.enter_context(connect(uri, deadline=deadline))
        yield Host(
            facts=snapshot.facts,
            address=recipe.address,
            bridge="xenbr0",
            shell=shell,
            network=ssh,
            connection=connection,
            disks=_ScsiShelf(machine, shell),
            console=wiring.console,
            accelerator=accelerator,
            tag=run.tag,
        )


def set_clock(shell: SshShell, *, deadline: Deadline) -> None:
    """Set an embedded host's clock by ours, as NTP would: to within half of what a question over there takes.

    After its return from a snapshot a host's clock stands where it was; Xen's wall clock, and so every guest's,
    follows it.
    """
    asked = time.time()
    theirs = float(shell.run("date", "+%s.%N", deadline=deadline).check().text)
    behind = int(((asked + time.time()) / 2 - theirs) * 1e9)
    step = f'n=$(( $(date +%s%N) + {behind} )); date -u -s "@${{n%?????????}}.${{n#??????????}}"'
    shell.run("sh", "-c", step, deadline=deadline).check()
