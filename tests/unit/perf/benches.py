"""A stage without guests, on which drivers are as fast, and as wrong, as a test says."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from lab.deadline import Deadline
from lab.errors import LabError
from lab.matrix.model import HostFacts
from lab.ntfs.drivers import Driver
from lab.ntfs.perf import MEASURES, Measure, Sizes, Truth, manifest_of, truth_of
from lab.ntfs.perf.taken import SCHEMA
from lab.settings import Settings

Document = dict[str, Any]
Edit = Callable[[Document], Document | LabError | BaseException]

SIZES = Sizes(large=1 << 20, small=8, names=20)
"""Small: the truth about them is worked out for real."""

REFERENCE: Document = {
    "schema": SCHEMA,
    "reference": {
        "write-sequential": {"files": {"large.bin": [1 << 20, [7] * 256]}},
        "write-small": {"files": {f"f.{number}": [4096, [number]] for number in range(8)}},
    },
    "fio": "fio-3.39",
}


@cache
def truth(measure: Measure) -> Truth:
    """What must be seen."""
    return truth_of(measure, SIZES, manifest_of(measure.volume, SIZES), REFERENCE)


def document(driver: str, measure: Measure, seconds: float, *, version: str = "6.12.0") -> Document:
    """What the probe says of a driver that did it right, in so many seconds."""
    wanted = truth(measure)
    taken: Document = {"seconds": seconds, "amount": wanted.amount or 10_001}
    if wanted.walked is not None:
        taken["seen"] = {"names": wanted.walked[0], "digest": wanted.walked[1]}
    if wanted.read is not None:
        taken["seen"] = {"files": {name: [size, list(blocks)] for name, (size, blocks) in wanted.read.items()}}
    found: Document = {
        "schema": SCHEMA,
        "measure": measure.name,
        "driver": driver,
        "kernel": version,
        "options_asked": "rw" if measure.writes else "ro",
        "ended": "complete",
        "mount": {"ok": True, "type": driver, "read_only": not measure.writes, "seconds": seconds},
        "taken": taken,
        "root": list(wanted.root),
        "errors": [],
        "kernel_log": [],
        "last_step": ["unmount", "/mnt"],
    }
    if wanted.written is not None:
        found["remount"] = {"ok": True}
        found["written"] = {"files": {name: [size, list(blocks)] for name, (size, blocks) in wanted.written.items()}}
    return found


@dataclass
class FakeBench:
    """``speeds`` are the seconds that each measure of a driver takes, one a round; ``edits`` what is wrong with it."""

    stage: FakeStage
    kernel: str
    kernel_version: str = "6.12.0"
    kernel_package: str = "6.12.0-1"
    missing: Mapping[str, str] = field(default_factory=dict)
    spoiled: str = ""
    _turns: int = 0

    def reference(self, measures: Sequence[Measure], deadline: Deadline) -> Mapping[str, Any]:
        deadline.check("reference")
        self.stage.log.append(f"reference {' '.join(measure.name for measure in measures)}")
        return REFERENCE

    def measure(self, driver: Driver, measure: Measure, deadline: Deadline) -> Mapping[str, Any]:
        deadline.check(measure.name)
        stage = self.stage
        stage.log.append(f"{driver.name} {measure.name}")
        turns = stage.turns[driver.name, measure.name] = stage.turns.get((driver.name, measure.name), -1) + 1
        speeds = stage.speeds.get(driver.name, (1.0,))
        found: Any = document(driver.name, measure, speeds[turns % len(speeds)], version=self.kernel_version)
        for who, what, when, edit in stage.edits:
            if who == driver.name and what == measure.name and turns in when:
                found = edit(found)
        if isinstance(found, BaseException):
            raise found
        if found["ended"] != "complete":
            self.spoiled = f"{measure.name} of {driver.name}"
        return dict(found)

    def keep(self, folder: Path) -> None:
        (folder / "console.log").write_text("said\n")


@dataclass
class FakeStage:
    """What opens, what is asked and what closes is in ``log``. ``turns`` counts from 0; the first is the warm-up of
    ``mount``.
    """

    speeds: dict[str, tuple[float, ...]] = field(default_factory=dict)
    edits: list[tuple[str, str, range, Edit]] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)
    troubles: list[LabError] = field(default_factory=list)
    """Why guests do not come up, one after the other."""
    accelerator: str = "tcg"
    sizes: Sizes = SIZES
    log: list[str] = field(default_factory=list)
    turns: dict[tuple[str, str], int] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def hosts(self) -> tuple[HostFacts, ...]:
        return ()

    @contextmanager
    def bench(
        self, kernel: str, drivers: Sequence[Driver], needed: Sequence[str], deadline: Deadline
    ) -> Iterator[FakeBench]:
        deadline.check(kernel)
        if self.troubles:
            raise self.troubles.pop(0)
        self.log.append(f"open {kernel}: {' '.join(driver.name for driver in drivers)} on {' '.join(needed)}")
        try:
            yield FakeBench(self, kernel, missing=self.missing)
        finally:
            self.log.append("close")

    def open(self, _settings: Settings, *, host: str) -> AbstractContextManager[FakeStage]:
        """As :func:`lab.stage.perf.open_perf_stage`."""
        self.asked.append(host)
        return self._opened()

    @contextmanager
    def _opened(self) -> Iterator[FakeStage]:
        try:
            yield self
        finally:
            self.log.append("end")


def measure(name: str) -> Measure:
    """The measure of that name."""
    return next(each for each in MEASURES if each.name == name)
