"""A bench on which drivers are timed, one measure after the other."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from lab.cache import fingerprint
from lab.deadline import Deadline
from lab.guests.bare import BareReadiness, Furnished
from lab.kernels.build import BuiltModule
from lab.ntfs.drivers import Driver
from lab.ntfs.perf import Measure, Sizes
from lab.ntfs.perf.taken import SCHEMA
from lab.ntfs.specimen import Specimen
from lab.stage.bench import readiness
from lab.stage.probed import Probed

__all__ = ["PerfBench", "perf_readiness"]

_PROBE = "/root/perf_probe.py"
_PORT = 7080
"""Where it listens, beside the other probe."""

_REFERENCE_SECONDS = 120.0

_MOST_COPIED = 1 << 30
"""Bytes of a volume from which on its one copy is used again: a shelf has no room for more than a few of a terabyte.
No measure writes to such a one, and its loop device is write-protected.
"""

_CONSOLE_LINES = 200


def perf_readiness(built: Mapping[str, BuiltModule]) -> BareReadiness:
    """What a bench has, and the program that measures."""
    base = readiness(built)
    program = resources.files("lab.ntfs").joinpath("perf_probe.py").read_bytes()

    def make(guest: Furnished, deadline: Deadline) -> None:
        base.make(guest, deadline)
        guest.shell.put(program, _PROBE, deadline=deadline)
        guest.shell.run("python3", _PROBE, "serve", "--port", str(_PORT), deadline=deadline).check()

    key = fingerprint("perf 1", base.key, hashlib.sha256(program).hexdigest())
    return BareReadiness(key, make, base.shelf, shell=False, ports=(*base.ports, _PORT))


@dataclass
class PerfBench(Probed):
    """Implements :class:`lab.engine.perf.Bench`. ``missing`` says why drivers are not here that could have been
    compiled.
    """

    port = _PORT
    specimens: Mapping[str, Specimen]
    sizes: Sizes
    missing: Mapping[str, str]

    @property
    def kernel_version(self) -> str:
        """What ``uname -r`` says."""
        return self.guest.kernel.release

    @property
    def kernel_package(self) -> str:
        """The version of its package."""
        return self.guest.kernel.package_version

    def reference(self, measures: Sequence[Measure], deadline: Deadline) -> Mapping[str, Any]:
        """What these measures write, done where nobody doubts the file system.

        Raises:
            LabError: the guest cannot do that.
        """
        works = {measure.name: measure.work(self.sizes) for measure in measures}
        return self.ask(("reference", "--work", json.dumps(works)), deadline.at_most(_REFERENCE_SECONDS))

    def measure(self, driver: Driver, measure: Measure, deadline: Deadline) -> Mapping[str, Any]:
        """Take a measure on a fresh copy of its volume; the probe's document.

        A guest that does not come back is an observation too: ``ended`` is then ``deadline``, or ``died``.

        Raises:
            LabError: the lab's own trouble: the host is gone, there is no room for the volume, the time is over.
        """
        self.require(f"{measure.name} of {driver.name}", measure.seconds, deadline)
        specimen = self.specimens[measure.volume]
        fresh = specimen.path.stat().st_size <= _MOST_COPIED
        name = self.shelf.put_fresh(specimen, deadline) if fresh else self._put(specimen, deadline)
        try:
            return self._taken(driver, measure, name, deadline)
        finally:
            if fresh and not self.spoiled:  # a guest that is stuck in a driver may still write to it
                self.shelf.discard(name, Deadline(60))

    def keep(self, folder: Path) -> None:
        """Write what explains the guest's fate into ``folder``. Never raises."""
        self.guest.keep(folder, deadline=Deadline(20))

    def _put(self, specimen: Specimen, deadline: Deadline) -> str:
        self.shelf.put(specimen, deadline)
        return specimen.name

    def _taken(self, driver: Driver, measure: Measure, volume: str, deadline: Deadline) -> Mapping[str, Any]:
        words = (
            *(measure.name, *driver.probe_arguments(write=measure.writes), "--again", ",".join(driver.options())),
            *(*self.part(volume), "--work", json.dumps(measure.work(self.sizes))),
        )
        silence = {
            "schema": SCHEMA,
            "measure": measure.name,
            "driver": driver.name,
            "kernel": self.kernel_version,
            "options_asked": ",".join(driver.options(write=measure.writes)),
            "errors": [],
        }
        document = self.tried(f"{measure.name} of {driver.name}", words, measure.seconds, deadline, silence=silence)
        if "kernel_log" in document:
            return document
        console = self.guest.console(deadline=Deadline(20)).splitlines()
        return {**document, "kernel_log": console[-_CONSOLE_LINES:]}
