"""A bench: a small guest with a shelf of volumes, where NTFS drivers are tried one after the other."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

from lab.deadline import Deadline
from lab.debian.module_tree import ModuleNotFoundInTreeError
from lab.errors import DeadlineError, GuestError, HostError, LabError
from lab.guests.guest import Guest
from lab.kernels.delivery import push_modules
from lab.ntfs.drivers import Driver
from lab.ntfs.observation import SCHEMA
from lab.ntfs.shelf import Shelf
from lab.process import last_line

__all__ = ["Bench"]

_PROBE = "/root/probe.py"
_GRACE = 20.0
"""Seconds over the probe's own limit before the guest itself is taken for hung."""


_SECTORS = (512, 4096)
"""What a loop device can have."""


@dataclass
class Bench:
    """``spoiled`` says why no further cell may use it: a driver that has oopsed taints all that comes after."""

    guest: Guest
    shelf: Shelf
    spoiled: str = ""
    _modules: set[str] = field(default_factory=set)

    def furnish(self, driver: Driver, *, deadline: Deadline) -> None:
        """Bring in the probe and the modules that the driver needs, as far as the guest's kernel has them.

        That a kernel lacks the driver is for the probe to find out: mount(2) says ENODEV.
        """
        shell = self.guest.shell
        if not self._modules:
            probe = resources.files("lab.ntfs").joinpath("probe.py").read_bytes()
            shell.put(probe, _PROBE, deadline=deadline)
        for name in ("loop", *driver.modules):
            if name in self._modules:
                continue
            self._modules.add(name)
            try:
                push_modules(shell, self.guest.image.boot.kernel, (name,), deadline=deadline)
            except ModuleNotFoundInTreeError:
                continue

    def read(self, driver: Driver, volume: str, *, seconds: float, deadline: Deadline) -> Mapping[str, Any]:
        """Mount a volume read-only with a driver, read all of it, and return the probe's document.

        A guest that does not come back is an observation too: ``ended`` is then ``deadline``, or ``died``.

        Raises:
            DeadlineError: there is less time left than the driver may take; it must not be blamed for that.
            LabError: the lab's own trouble: the host is gone, the loop device cannot be made.
        """
        if deadline.remaining() < seconds + _GRACE:
            raise DeadlineError(
                f"{driver.name} on {volume}: {deadline.remaining():.0f} of {deadline.seconds:g} s are left, "
                f"and reading may take {seconds + _GRACE:.0f} s",
                hint="the machine is busy, or bringing up the guest took long; try again",
            )
        place = self.shelf.places[volume]
        shell = self.guest.shell
        sector = min(max(place.specimen.sector, _SECTORS[0]), _SECTORS[-1])
        options = ("-r", "-o", str(place.offset), "--sizelimit", str(place.size), "-b", str(sector))
        # A module that is not loaded yet is loaded by the kernel's own request when /dev/loop-control is opened.
        shell.run("modprobe", "loop", deadline=deadline)
        device = shell.run("losetup", "--show", "-f", *options, "/dev/xvdb", deadline=deadline).check().text
        words = ("mount-and-read", *driver.probe_arguments(device), "--seconds", f"{seconds:g}")
        try:
            done = shell.run("python3", _PROBE, *words, deadline=deadline.at_most(seconds + _GRACE))
            if not done:
                raise GuestError(f"{self.guest.name}: the probe: status {done.status}: {last_line(done.stderr)}")
            document: dict[str, Any] = json.loads(done.stdout)
        except (DeadlineError, HostError) as lost:
            return self._lost(driver, lost)
        if document.get("ended") == "complete":
            shell.run("losetup", "-d", device, deadline=deadline)
        else:
            self.spoiled = f"{driver.name} on {volume}: {document.get('ended')}"
        return document

    def _lost(self, driver: Driver, lost: LabError) -> Mapping[str, Any]:
        self.guest.host.disks.watch()
        self.spoiled = lost.message
        alive = self.guest.domain.is_active(Deadline(10))
        ended = "deadline" if alive else "died"
        return {
            "schema": SCHEMA,
            "driver": driver.name,
            "kind": driver.kind.value,
            "type_asked": driver.types[0],
            "options_asked": ",".join(driver.options()),
            "streams_as": driver.streams,
            "kernel": self.guest.image.boot.kernel.release,
            "ended": ended,
            "last_step": [lost.message],
            "entries": [],
            "errors": [],
            "kernel_log": [],
        }
