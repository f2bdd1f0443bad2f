"""All rounds on one kernel: whose turn it is, a fresh guest after the worst, and what came of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from lab import events
from lab.deadline import Deadline
from lab.engine.perf_question import Field, PerfQuestion
from lab.errors import LabError
from lab.matrix.model import HostFacts
from lab.ntfs.drivers import Driver
from lab.ntfs.perf import (
    Entrant,
    Figure,
    KernelResult,
    Measure,
    Sizes,
    Taken,
    Truth,
    manifest_of,
    measures,
    rotated,
    taken,
    truth_of,
)
from lab.verdict import Outcome

__all__ = ["KernelTrial", "Observer", "PerfBench", "PerfStage"]

_BRING_UP_SECONDS = 3600.0
"""With a cold cache: an image, modules, a boot."""

_COPYING_SECONDS = 120.0
"""For a fresh copy of a volume, over what the measure itself may take."""

_REFERENCE_SECONDS = 600.0

_FILLS = frozenset({"write-sequential", "write-small"})
"""Measures that write what only fio knows."""

_WARM_UP = "mount"
"""What each driver does once before its first turn: under emulation the first mount takes several times as long."""


class PerfBench(Protocol):
    """A guest in which drivers can be timed. ``missing`` says which drivers could not be made for it, and why;
    ``spoiled`` why nothing more must be measured in it.
    """

    @property
    def kernel_version(self) -> str: ...
    @property
    def kernel_package(self) -> str: ...
    @property
    def missing(self) -> Mapping[str, str]: ...
    @property
    def spoiled(self) -> str: ...

    def reference(self, measures: Sequence[Measure], deadline: Deadline) -> Mapping[str, Any]:
        """What these measures write, done where nobody doubts the file system.

        Raises:
            LabError: the guest cannot do that.
        """
        ...

    def measure(self, driver: Driver, measure: Measure, deadline: Deadline) -> Mapping[str, Any]:
        """Take a measure on a fresh copy of its volume; the probe's document.

        Raises:
            LabError: the lab's own trouble.
        """
        ...

    def keep(self, folder: Path) -> None:
        """Write what explains the guest's fate into ``folder``. Never raises."""
        ...


class PerfStage(Protocol):
    """Where drivers can be timed."""

    @property
    def accelerator(self) -> str:
        """What runs the guests: ``tcg``, ``kvm`` or ``hardware``."""
        ...

    @property
    def sizes(self) -> Sizes:
        """How much is measured there."""
        ...

    def hosts(self) -> tuple[HostFacts, ...]:
        """The hosts that were brought up so far."""
        ...

    def bench(
        self, kernel: str, drivers: Sequence[Driver], needed: Sequence[str], deadline: Deadline
    ) -> AbstractContextManager[PerfBench]:
        """A guest of that kernel with these drivers, and the volumes that are ``needed``.

        Raises:
            LabError: it does not come up, or a volume cannot be had.
        """
        ...


class Observer(Protocol):
    """Hears what becomes of it."""

    def lap(self, kernel: str, number: int, driver: str) -> AbstractContextManager[Callable[[Outcome, str], None]]:
        """A driver's turn in a round; what it is given is called with the outcome at the end."""
        ...

    def sample(self, kernel: str, number: int, driver: str, measure: str, found: Taken) -> None:
        """A measure was taken."""
        ...

    def evidence(self, kernel: str, driver: str, measure: str) -> Path:
        """A folder for what explains it."""
        ...


@dataclass(slots=True)
class KernelTrial:
    """Everything on one kernel, as far as it has come: it can be asked for its result at any time."""

    asked: PerfQuestion
    on: Field
    stage: PerfStage
    observer: Observer
    trouble: LabError | None = None
    """Why it came to its end early."""
    _rounds: dict[tuple[str, str], list[Taken]] = field(default_factory=dict)
    _order: list[tuple[str, ...]] = field(default_factory=list)
    _known: KernelResult = field(default_factory=lambda: KernelResult(""))
    _reference: Mapping[str, Any] = field(default_factory=dict)
    _truths: dict[str, Truth] = field(default_factory=dict)
    _spoilers: set[str] = field(default_factory=set)
    """Drivers that have taken a guest down when nothing but a mount was asked of them."""
    _life: ExitStack = field(default_factory=ExitStack)
    _up: PerfBench | None = None

    def run(self) -> None:
        """All rounds. What a driver cannot do is asked of it once. Trouble of the lab is in ``trouble`` afterwards."""
        try:
            try:
                self._take_turns()
            finally:
                self._close()
        except LabError as trouble:
            self.trouble = trouble

    def _take_turns(self) -> None:
        if self.on.entrants:
            self._bench()  # now: it is nobody's own time
        for number in range(self.asked.rounds):
            order = rotated(self.on.entrants, number)
            self._order.append(tuple(driver.name for driver in order))
            for driver in order:
                with self.observer.lap(self.on.kernel, number + 1, driver.name) as told:
                    told(*self._lap(driver, number + 1))

    def result(self) -> KernelResult:
        """What there is."""
        drivers = (*self.on.entrants, *self.on.absent)
        return replace(
            self._known,
            release=self.on.kernel,
            entrants=tuple(self._entrant(driver) for driver in drivers),
            order=tuple(self._order),
            figures=tuple(self._figure(measure, driver) for measure in self.asked.measures for driver in drivers),
        )

    def _lap(self, driver: Driver, number: int) -> tuple[Outcome, str]:
        """One turn of a driver: the worst that came of it."""
        found: list[tuple[Outcome, str]] = []
        for measure in self.asked.measures:
            before = self._rounds.setdefault((measure.name, driver.name), [])
            if any(one.outcome is not Outcome.PASS for one in before):
                continue
            with events.step(f"measure {measure.name}", driver=driver.name, kernel=self.on.kernel, round=number):
                one = self._confirmed(driver, measure)
            before.append(one)
            self.observer.sample(self.on.kernel, number, driver.name, measure.name, one)
            found += [(one.outcome, f"{measure.name}: {one.reason}")] * (one.outcome in {Outcome.FAIL, Outcome.ERROR})
        return max(found, key=lambda each: each[0] is Outcome.FAIL, default=(Outcome.PASS, ""))

    def _confirmed(self, driver: Driver, measure: Measure) -> Taken:
        """The measure; what speaks against the driver, or is the lab's trouble, is tried again on a fresh guest."""
        if why := self._bench().missing.get(driver.name):
            return Taken(Outcome.ERROR, None, why)
        first = self._once(driver, measure)
        if first.outcome not in {Outcome.FAIL, Outcome.ERROR}:
            return first
        events.emit("repeat on a fresh guest", driver=driver.name, measure=measure.name, why=first.reason)
        self._close()
        second = self._once(driver, measure)
        if Outcome.ERROR in {first.outcome, second.outcome}:
            return second
        if second.outcome is Outcome.FAIL:
            return replace(second, reason=f"{second.reason} (seen twice, the second time on a fresh guest)")
        return Taken(Outcome.ERROR, None, f"not reproduced on a fresh guest: {first.reason}", facts=second.facts)

    def _once(self, driver: Driver, measure: Measure) -> Taken:
        bench, document = self._bench(), {}
        try:
            document = dict(bench.measure(driver, measure, Deadline(measure.seconds + _COPYING_SECONDS)))
            found = taken(measure, document, self._truth(measure))
        except LabError as trouble:
            found = Taken(Outcome.ERROR, None, trouble.message)
        if found.outcome is not Outcome.PASS:
            self._keep(bench, driver, measure, document)
        if bench.spoiled or found.fatal or found.outcome is Outcome.ERROR:
            self._close()
        return found

    def _truth(self, measure: Measure) -> Truth:
        if measure.name not in self._truths:
            sizes = self.stage.sizes
            found = truth_of(measure, sizes, manifest_of(measure.volume, sizes), self._reference)
            self._truths[measure.name] = found
        return self._truths[measure.name]

    def _keep(self, bench: PerfBench, driver: Driver, measure: Measure, document: Mapping[str, Any]) -> None:
        folder = self.observer.evidence(self.on.kernel, driver.name, measure.name)
        (folder / "probe.json").write_text(json.dumps(document, indent=1) + "\n", encoding="ascii")
        bench.keep(folder)

    def _bench(self) -> PerfBench:
        """The guest that is up, or a new one.

        Raises:
            LabError: it does not come up.
        """
        if self._up is None:
            needed = tuple(dict.fromkeys(measure.volume for measure in (measures[_WARM_UP], *self.asked.measures)))
            opened = self.stage.bench(self.on.kernel, self.on.entrants, needed, Deadline(_BRING_UP_SECONDS))
            bench = self._life.enter_context(opened)
            self._prepare(bench)
            self._up = bench
            self._known = replace(
                self._known,
                version=bench.kernel_version,
                package=bench.kernel_package,
                fio=str(self._reference.get("fio", "")),
                guests=self._known.guests + 1,
            )
        return self._up

    def _prepare(self, bench: PerfBench) -> None:
        fills = [measure for measure in self.asked.measures if measure.name in _FILLS]
        if fills and not self._reference:
            with events.step("write the reference", kernel=self.on.kernel):
                self._reference = bench.reference(fills, Deadline(_REFERENCE_SECONDS))
        first = measures[_WARM_UP]
        for driver in self.on.entrants:
            if driver.name in bench.missing or driver.name in self._spoilers:
                continue
            with events.step("warm up", driver=driver.name), suppress(LabError):
                bench.measure(driver, first, Deadline(first.seconds + _COPYING_SECONDS))
            if bench.spoiled:
                self._spoilers.add(driver.name)
                return

    def _close(self) -> None:
        """The next measure gets a fresh guest."""
        self._up = None
        life, self._life = self._life, ExitStack()
        life.close()

    def _figure(self, measure: Measure, driver: Driver) -> Figure:
        if driver in self.on.absent:
            why = f"no-driver: the kernel of {self.on.kernel} has no {driver.name}, and it is not compiled for it"
            return Figure(measure.name, driver.name, Outcome.UNSUPPORTED, why)
        taken_so_far = self._rounds.get((measure.name, driver.name), [])
        if self.trouble is not None and not taken_so_far:
            return Figure(measure.name, driver.name, Outcome.ERROR, self.trouble.message)
        return Figure.of(measure.name, driver.name, taken_so_far)

    def _entrant(self, driver: Driver) -> Entrant:
        facts: dict[str, str] = {}
        options: dict[str, None] = {}
        for measure in self.asked.measures:
            for one in self._rounds.get((measure.name, driver.name), []):
                options.update({one.facts["options"]: None} if "options" in one.facts else {})
                facts.update(one.facts)
        return Entrant(driver.name, facts.get("driver_version", ""), facts.get("type", ""), tuple(options))
