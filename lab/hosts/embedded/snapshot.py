"""Snapshots: a host is booted once in a minute and a half, and comes back in seconds ever after."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from lab.cache import Cache, birth, fingerprint
from lab.deadline import Deadline
from lab.events import step
from lab.hosts.embedded.build import HostImage, obtain_host_image
from lab.hosts.embedded.qemu import HARDWARE, Boot, Plug, Wiring, make_overlay, qemu_version, save_memory, start_machine
from lab.hosts.embedded.recipe import EmbeddedRecipe
from lab.hosts.facts import host_facts
from lab.keys import Keys
from lab.matrix.model import HostFacts
from lab.shell import Shell, SshNetwork
from lab.wait import wait_until

__all__ = ["Snapshot", "boot_of", "obtain_snapshot"]

# Loaded before the snapshot is taken, so that no guest waits for a modprobe: the back ends of guests' disks and
# networks.
_WARM = "modprobe -a xen_blkback xen_netback xen_gntalloc loop 2>/dev/null"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A stopped host: its disk's changes over what lies below, its memory, and what it said of itself.

    ``plugs`` are the disks that it had; whoever brings it back gives it the files for them.
    """

    folder: Path
    image: HostImage
    facts: HostFacts
    plugs: tuple[Plug, ...] = ()

    @property
    def disk(self) -> Path:
        """qcow2 over the image; never written."""
        return self.folder / "disk.qcow2"

    @property
    def memory(self) -> Path:
        """QEMU's migration stream, packed by zstd."""
        return self.folder / "memory.zst"


def boot_of(recipe: EmbeddedRecipe, image: HostImage) -> Boot:
    """How a host of that image starts."""
    return Boot(image.xen, recipe.xen_args, image.kernel, recipe.dom0_args, image.initrd)


@contextmanager
def obtain_snapshot(
    cache: Cache, recipe: EmbeddedRecipe, keys: Keys, accelerator: str, *, deadline: Deadline
) -> Iterator[Snapshot]:
    """The snapshot of a recipe under an accelerator, made if it is not in the cache."""
    with obtain_host_image(cache, recipe, deadline=deadline) as image:
        argv = HARDWARE.argv(accelerator, recipe.station)
        key = fingerprint(
            "snapshot 2", birth(image.folder), argv, qemu_version(deadline), recipe.xen_args, recipe.dom0_args, _WARM
        )

        def build(folder: Path) -> None:
            _take(folder, recipe, image, keys, accelerator, deadline)

        with cache.use("snapshot", key, build, deadline=deadline, title=f"snapshot {recipe.name}") as folder:
            facts = HostFacts(**json.loads((folder / "facts.json").read_text()))
            yield Snapshot(folder, image, facts)


def _take(  # noqa: PLR0913, PLR0917 - the call of obtain_snapshot, and where to
    folder: Path, recipe: EmbeddedRecipe, image: HostImage, keys: Keys, accelerator: str, deadline: Deadline
) -> None:
    make_overlay(image.disk, "raw", folder / "disk.qcow2", deadline=deadline)
    with tempfile.TemporaryDirectory(prefix="lab-") as short:
        sockets = Path(short)
        # Nobody else is on this network: the snapshot must not see other hosts.
        wiring = Wiring(folder, sockets, folder / "disk.qcow2", None)
        hardware = HARDWARE.argv(accelerator, recipe.station)
        with start_machine(
            recipe.name, wiring, hardware, boot_of(recipe, image), incoming=None, deadline=deadline
        ) as machine:
            network = SshNetwork(sockets, keys.user, keys.known_host("lab"))
            network.add(recipe.name, address="127.0.0.1", port=machine.ssh_port(deadline))
            with (
                step("boot a host", host=recipe.name),
                network.connect(recipe.name, deadline=deadline, watch=machine.watch) as shell,
            ):
                facts = _settle(shell, recipe, deadline)
            (folder / "facts.json").write_text(json.dumps(asdict(facts)))
            with step("write the snapshot", host=recipe.name):
                save_memory(machine, folder / "memory.zst", deadline=deadline)
    (folder / "qemu.pid").unlink(missing_ok=True)


def _settle(shell: Shell, recipe: EmbeddedRecipe, deadline: Deadline) -> HostFacts:
    virsh = ("virsh", "-q", "-c", "xen:///system")
    wait_until(
        f"{recipe.name}: libvirt answers",
        # timeout(1) runs over there: a virsh that waits for a libvirtd that restarts for ever would wait with it.
        lambda: shell.run("timeout", "30", *virsh, "version", deadline=deadline),
        deadline=deadline.at_most(240),
        interval=1,
        detail=lambda: shell.run("tail", "-n", "3", "/var/log/libvirt/libvirtd.log", deadline=deadline).text,
    )
    shell.run("sh", "-c", _WARM, deadline=deadline)
    facts = host_facts(shell, recipe.name, "embedded", deadline)
    # Cached pages would be written into the snapshot and read back from it, for nothing.
    shell.run("sh", "-c", "sync", deadline=deadline).check()
    return facts
