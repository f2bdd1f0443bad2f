"""A bench: a small guest with a shelf of volumes, where NTFS drivers are tried one after the other."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from types import MappingProxyType
from typing import Any

from lab.cache import fingerprint
from lab.deadline import Deadline
from lab.debian.module_tree import ModuleTree, module_name
from lab.guests.bare import BareReadiness, Furnished
from lab.kernels.build import BuiltModule
from lab.kernels.build_delivery import push_built
from lab.kernels.delivery import push_modules
from lab.ntfs.checker import Checker
from lab.ntfs.drivers import Driver, drivers
from lab.ntfs.observation import SCHEMA
from lab.ntfs.pristine import Pristine
from lab.ntfs.shelf import SHELF_BYTES
from lab.stage.probed import Probed

__all__ = ["Bench", "readiness"]

_PROBE = "/root/probe.py"
_PORT = 7079
"""Where the probe listens in the guest."""


def readiness(built: Mapping[str, BuiltModule] = MappingProxyType({})) -> BareReadiness:
    """A guest with a shelf, the probe, and every module that any driver needs; ``built`` are those that were compiled
    for its kernel, by their driver.
    """
    names = ("loop", *dict.fromkeys(name for driver in drivers.values() for name in driver.modules))
    probe = resources.files("lab.ntfs").joinpath("probe.py").read_bytes()
    compiled = sorted((driver, module.folder.name) for driver, module in built.items())
    key = fingerprint("bench 4", names, hashlib.sha256(probe).hexdigest(), *([compiled] if compiled else []))

    def make(guest: Furnished, deadline: Deadline) -> None:
        guest.shell.put(probe, _PROBE, deadline=deadline)
        there = ModuleTree(guest.image.boot.kernel.modules)
        # That a kernel lacks a driver is for the probe to find out: mount(2) says ENODEV.
        wanted = [name for name in names if module_name(name) in there.loadable | there.builtin]
        push_modules(guest.shell, guest.image.boot.kernel, wanted, deadline=deadline)
        folders = {drivers[name].delivered: module for name, module in built.items()}
        push_built(guest.shell, folders, deadline=deadline)
        guest.shell.run("python3", _PROBE, "serve", "--port", str(_PORT), deadline=deadline).check()

    return BareReadiness(key, make, SHELF_BYTES, shell=False, ports=(_PORT,))


@dataclass
class Bench(Probed):
    """``checkers`` look at what was written, ``pristine`` are volumes as they were before anything was."""

    port = _PORT
    checkers: tuple[Checker, ...] = ()
    pristine: dict[str, Pristine] = field(default_factory=dict)

    def read(self, driver: Driver, volume: str, *, seconds: float, deadline: Deadline) -> Mapping[str, Any]:
        """Mount a volume read-only with a driver, read all of it, and return the probe's document.

        A guest that does not come back is an observation too: ``ended`` is then ``deadline``, or ``died``.

        Raises:
            DeadlineError: there is less time left than the driver may take; it must not be blamed for that.
            LabError: the lab's own trouble: the host is gone, the loop device cannot be made.
        """
        self.require(f"reading {volume} by {driver.name}", seconds, deadline)
        words = ("mount-and-read", *driver.probe_arguments(), *self.part(volume))
        return self.tried(f"{driver.name} on {volume}", words, seconds, deadline, silence=self._silence(driver))

    def operate(
        self, driver: Driver, volume: str, steps: str, *, seconds: float, deadline: Deadline
    ) -> Mapping[str, Any]:
        """Mount a volume for writing, do the steps, mount it again and read all of it; the probe's document.

        ``volume`` is a copy made for this alone; ``steps`` is what :func:`lab.ntfs.operations.to_text` makes of them.

        Raises:
            DeadlineError, LabError: as :meth:`read`.
        """
        self.require(f"the steps of {driver.name} on {volume}", seconds, deadline)
        words = ("operate", *driver.probe_arguments(write=True), "--again", ",".join(driver.again))
        words = (*words, *self.part(volume), "--steps", steps)
        document = self.tried(f"{driver.name} on {volume}", words, seconds, deadline, silence=self._silence(driver))
        return {**document, "options_asked": ",".join(driver.options(write=True))}

    def answers(self, deadline: Deadline) -> bool:
        """Whether its probe does; always true.

        Raises:
            LabError: it does not.
        """
        self.ask((), deadline)
        return True

    def _silence(self, driver: Driver) -> Mapping[str, Any]:
        return {
            "schema": SCHEMA,
            "driver": driver.name,
            "kind": driver.kind.value,
            "type_asked": driver.types[0],
            "options_asked": ",".join(driver.options()),
            "streams_as": driver.streams,
            "kernel": self.guest.kernel.release,
            "entries": [],
            "errors": [],
            "kernel_log": [],
        }
