"""A Xen host that is up: what guests need of it, whether the lab nested it or the user listed it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

from lab.deadline import Deadline
from lab.hypervisor import Connection
from lab.matrix.model import HostFacts
from lab.shell import SshNetwork, SshShell

__all__ = ["DiskShelf", "Host", "Rig", "Throttle"]


class DiskShelf(Protocol):
    """How an image file of this machine becomes a block device of a host."""

    def path(self, serial: str) -> str:
        """Where the host has, or would have, the device: on every host that a guest may move between the same path."""
        ...

    def plug(self, image: Path, serial: str, *, read_only: bool, sector: int, deadline: Deadline) -> str:
        """The device's :meth:`path` on the host. Plugged already, by a move that failed, it is plugged."""
        ...

    def unplug(self, serial: str, *, deadline: Deadline) -> None:
        """Take it away again."""
        ...

    def watch(self) -> None:
        """Raise HostError if the host itself has died."""
        ...


@runtime_checkable
class Throttle(Protocol):
    """What some shelves can do besides: hold back the disks on them."""

    def throttle(self, serial: str, bytes_per_second: int, *, deadline: Deadline) -> None:
        """Let the disk take no more writes than that; 0 is without a limit."""
        ...


class Rig(Protocol):
    """What can be done to a host from outside, where its machine is the lab's own: for faults, and nothing else."""

    def link(self, net: str, *, up: bool, deadline: Deadline) -> None:
        """Pull the cable of one of its networks (``guests``, ``moves``), or put it back."""
        ...

    def cut_power(self) -> None:
        """End it at once, with all that it has not written yet; it does not come back."""
        ...


@dataclass(frozen=True)
class Host:
    """A running host. ``address`` is where other hosts send migrating guests."""

    facts: HostFacts
    address: str
    bridge: str
    shell: SshShell
    network: SshNetwork
    connection: Connection
    disks: DiskShelf
    console: Path | None = None
    """What the host's own serial port said."""
    rig: Rig | None = None
    """Its machine, if that is the lab's own."""
    accelerator: str = "hardware"
    hap_fails: bool = False
    """Whether a guest would be lost with the CPU's own nested paging (:mod:`lab.hosts.embedded.cr2`)."""
    tag: str = ""
    folder: str = "/run/lab"
    """Where on the host :meth:`mount` mounts."""
    mounted: set[str] = field(default_factory=set)
    """Keys of the images that :meth:`mount` has mounted."""

    @property
    def name(self) -> str:
        """The host's name in reports."""
        return self.facts.name

    def mount(self, image: Path, key: str, *, deadline: Deadline) -> str:
        """The folder on the host where the file system in ``image`` is mounted read-only; mounted once per ``key``.

        It stays there: an embedded host forgets it when it goes, and one of the user's is cleared (:meth:`clear`).
        """
        folder = f"{self.folder}/{key}"
        if key not in self.mounted:
            device = self.disks.plug(image, key, read_only=True, sector=512, deadline=deadline)
            self.shell.run("mkdir", "-p", folder, deadline=deadline).check()
            self.shell.run("mount", "-o", "ro,noload", device, folder, deadline=deadline).check()
            self.mounted.add(key)
        return folder

    def clear(self, *, deadline: Deadline) -> None:
        """Unmount what :meth:`mount` has mounted, and unplug it."""
        for key in sorted(self.mounted):
            self.shell.run("umount", f"{self.folder}/{key}", deadline=deadline).check()
            self.mounted.discard(key)
            self.disks.unplug(key, deadline=deadline)
