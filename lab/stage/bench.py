"""A bench: a small guest with a shelf of volumes, where NTFS drivers are tried one after the other."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from types import MappingProxyType
from typing import Any

from lab.cache import fingerprint
from lab.deadline import Deadline
from lab.debian.module_tree import ModuleTree, module_name
from lab.errors import DeadlineError, GuestError, HostError, LabError
from lab.guests.bare import BareReadiness, Furnished
from lab.kernels.build import BuiltModule
from lab.kernels.build_delivery import push_built
from lab.kernels.delivery import push_modules
from lab.ntfs.checker import Checker
from lab.ntfs.drivers import Driver, drivers
from lab.ntfs.observation import SCHEMA
from lab.ntfs.pristine import Pristine
from lab.ntfs.shelf import SHELF_BYTES, Shelf
from lab.ntfs.volumes import State
from lab.process import last_line
from lab.stage.benched import BenchGuest

__all__ = ["Bench", "readiness"]

_PROBE = "/root/probe.py"
_PORT = 7079
"""Where the probe listens in the guest."""

_GRACE = 20.0
"""Seconds over the probe's own limit before the guest itself is taken for hung."""


_SECTORS = (512, 4096)
"""What a loop device can have."""


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
class Bench:
    """``spoiled`` says why no further cell may use it: a driver that has oopsed taints all that comes after."""

    guest: BenchGuest
    shelf: Shelf
    spoiled: str = ""
    checkers: tuple[Checker, ...] = ()
    """Who looks at what was written."""
    pristine: dict[str, Pristine] = field(default_factory=dict)
    """Volumes as they were before anything was written to them."""

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
        words = ("mount-and-read", *driver.probe_arguments(), *self._part(volume), "--seconds", f"{seconds:g}")
        return self._tried(driver, volume, words, deadline.at_most(seconds + _GRACE))

    def operate(
        self, driver: Driver, volume: str, steps: str, *, seconds: float, deadline: Deadline
    ) -> Mapping[str, Any]:
        """Mount a volume for writing, do the steps, mount it again and read all of it; the probe's document.

        ``volume`` is a copy made for this alone; ``steps`` is what :func:`lab.ntfs.operations.to_text` makes of them.

        Raises:
            DeadlineError, LabError: as :meth:`read`.
        """
        if deadline.remaining() < seconds + _GRACE:
            raise DeadlineError(
                f"{driver.name} on {volume}: {deadline.remaining():.0f} of {deadline.seconds:g} s are left, "
                f"and the steps may take {seconds + _GRACE:.0f} s",
                hint="the machine is busy, or bringing up the guest took long; try again",
            )
        words = ("operate", *driver.probe_arguments(write=True), "--again", ",".join(driver.again))
        words = (*words, *self._part(volume), "--seconds", f"{seconds:g}", "--steps", steps)
        document = self._tried(driver, volume, words, deadline.at_most(seconds + _GRACE))
        return {**document, "options_asked": ",".join(driver.options(write=True))}

    def _part(self, volume: str) -> tuple[str, ...]:
        place = self.shelf.places[volume]
        sector = min(max(place.specimen.sector, _SECTORS[0]), _SECTORS[-1])
        protected = ("--write-protected",) if place.specimen.state is State.WRITE_PROTECTED else ()
        return ("--part", f"{self.guest.shelf_device}:{place.offset}:{place.size}", "--sector", str(sector), *protected)

    def _tried(self, driver: Driver, volume: str, words: Sequence[str], deadline: Deadline) -> Mapping[str, Any]:
        try:
            document: Mapping[str, Any] = self._ask(words, deadline)
        except (DeadlineError, HostError) as lost:
            document = self._lost(driver, lost)
        else:
            if document.get("ended") == "complete":
                return document
            self.spoiled = f"{driver.name} on {volume}: {document.get('ended')}"
        self.guest.acquit(Deadline(20))
        return document

    def answers(self, deadline: Deadline) -> bool:
        """Whether its probe does; always true.

        Raises:
            LabError: it does not.
        """
        self._ask((), deadline)
        return True

    def _ask(self, words: Sequence[str], deadline: Deadline) -> dict[str, Any]:
        guest = self.guest
        question = json.dumps({"words": words}).encode()
        said = guest.ask(_PORT, question, deadline=deadline, watch=self._watch)
        try:
            document: dict[str, Any] = json.loads(said.stdout)
        except ValueError as broken:
            reason = last_line(said.stderr) or f"half an answer, of {len(said.stdout)} bytes"
            raise GuestError(f"{guest.name}: the probe: {reason}") from broken
        if "refused" in document:
            raise GuestError(f"{guest.name}: the probe: {document['refused']}")
        return document

    def _watch(self) -> None:
        self.guest.watch()
        # A time of its own: the other may have run out just now, and that says more.
        if not self.guest.is_active(Deadline(10)):
            raise HostError(f"{self.guest.name}: it has ended")

    def _lost(self, driver: Driver, lost: LabError) -> Mapping[str, Any]:
        self.guest.watch()
        self.spoiled = lost.message
        alive = self.guest.is_active(Deadline(10))
        ended = "deadline" if alive else "died"
        return {
            "schema": SCHEMA,
            "driver": driver.name,
            "kind": driver.kind.value,
            "type_asked": driver.types[0],
            "options_asked": ",".join(driver.options()),
            "streams_as": driver.streams,
            "kernel": self.guest.kernel.release,
            "ended": ended,
            "last_step": [lost.message],
            "entries": [],
            "errors": [],
            "kernel_log": [],
        }
