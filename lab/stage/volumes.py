"""The half of the stage that is about NTFS: volumes, the benches on which drivers meet them, and what they write."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from lab.cache import Cache
from lab.deadline import Deadline
from lab.debian.kernel import Kernel
from lab.events import emit, step
from lab.hosts.run_folder import RunFolder
from lab.ntfs.checker import NTFSFIX, Checker
from lab.ntfs.drivers import drivers
from lab.ntfs.ntfsck import ntfsck_if_any
from lab.ntfs.operations import operations
from lab.ntfs.pristine import Pristine
from lab.ntfs.specimen import Specimen
from lab.ntfs.volumes import Volume, build, recipe_key, recipes
from lab.scenario.cell import NtfsRequest
from lab.stage import judging
from lab.stage.crossing import Crossed, cross, writing_request
from lab.stage.hosts import HostPool
from lab.stage.prepared import Foregone, PreparedVolume
from lab.stage.slot import BenchSlot
from lab.verdict import Verdict

__all__ = ["VolumeCells", "kernel_facts"]

_CHECKER_SECONDS = 300.0


@dataclass
class VolumeCells:
    """``specimens`` are volumes that no recipe made. What is brought up ends with ``stack`` at the latest."""

    cache: Cache
    folder: RunFolder
    pool: HostPool
    stack: ExitStack
    specimens: dict[str, Specimen] = field(default_factory=dict)
    _volumes: dict[str, Volume] = field(default_factory=dict)
    _checking: list[Checker] = field(default_factory=list)
    """Who looks at volumes that were written to."""
    _pristine: dict[str, Pristine] = field(default_factory=dict)
    """What was found out of volumes that are written to; it outlives the bench, for half a second each is long."""
    _crossed: dict[NtfsRequest, Crossed] = field(default_factory=dict)
    """What was written by one driver to be read by others, by the cell in which it was."""
    _folders: count[int] = field(default_factory=count)

    def __post_init__(self) -> None:
        self._reading = BenchSlot(self.pool, self.folder, self.stack, "shelf")
        self._writing = BenchSlot(self.pool, self.folder, self.stack, "writing")

    def prepare(self, request: NtfsRequest, evidence: Path, deadline: Deadline) -> PreparedVolume | Foregone:
        """A bench with the cell's volume on its shelf; or the verdict, where there is nothing to be put there.

        Raises:
            LabError: it does not come up, or the volume cannot be had.
        """
        facts: Mapping[str, str] = {}
        if request.writer:
            crossed = self._written(request, evidence, deadline)
            facts = crossed.facts
            if crossed.specimen is None:
                assert crossed.verdict is not None  # noqa: S101 - one of them is there
                return Foregone(crossed.verdict, facts)
            specimen = crossed.specimen
        else:
            self._writing.close()
            specimen = self.specimen(request.volume, deadline)
        prepared = self._prepared(self._reading, request, specimen, deadline)
        return dataclasses.replace(prepared, facts={**prepared.facts, **facts})

    def judge(self, request: NtfsRequest, prepared: PreparedVolume, evidence: Path, deadline: Deadline) -> Verdict:
        """The verdict on what the driver does; before it is blamed, it does so on a fresh guest, too."""
        verdict = judging.judge_volume(request, prepared, evidence, deadline)
        if not judging.blames(verdict):
            return verdict
        # Under emulation, guests have died of their emulated CPU, and a guest that was tainted by an earlier oops
        # proves nothing.
        self._put_aside(request, verdict, evidence)
        prepared.bench.spoiled = prepared.bench.spoiled or f"repeat of {request.driver} on {request.shelved}"
        specimen = prepared.bench.shelf.places[request.shelved].specimen
        bench = self._prepared(self._reading, request, specimen, deadline).bench
        again = PreparedVolume(bench, prepared.driver, prepared.facts)
        return judging.confirmed(verdict, judging.judge_volume(request, again, evidence, deadline))

    def close(self) -> None:
        """Take down the benches."""
        self._reading.close()
        self._writing.close()

    def specimen(self, name: str, deadline: Deadline) -> Specimen:
        """The volume of that name.

        Raises:
            LabError: it cannot be built.
        """
        return self.specimens.get(name) or Specimen.of(self.volume(name, deadline))

    def volume(self, name: str, deadline: Deadline) -> Volume:
        """The volume that the recipe of that name makes, which nobody may change.

        Raises:
            LabError: there is no such recipe, or it cannot be built.
        """
        if name not in self._volumes:
            recipe = recipes[name]

            def make(into: Path) -> None:
                build(recipe, into, deadline)

            key = recipe_key(recipe, deadline)
            folder = self.stack.enter_context(
                self.cache.use("volume", key, make, deadline=deadline, title=f"volume {name}")
            )
            image = next(path for path in folder.iterdir() if path.is_file())
            self._volumes[name] = Volume(image, recipe, recipe.manifest())
        return self._volumes[name]

    def _prepared(
        self, slot: BenchSlot, request: NtfsRequest, specimen: Specimen, deadline: Deadline
    ) -> PreparedVolume:
        bench = slot.take(request, specimen, deadline)
        bench.pristine = self._pristine
        if operations[request.operation].write:
            bench.checkers = self._checkers(deadline)
        return PreparedVolume(bench, drivers[request.driver], kernel_facts(bench.guest.kernel))

    def _written(self, request: NtfsRequest, evidence: Path, deadline: Deadline) -> Crossed:
        """What the cell's writer has written, the first time by having it write."""
        writing = writing_request(request)
        if writing not in self._crossed:
            with step("write", volume=request.volume, driver=writing.driver, kernel=writing.guest.kernel.name):
                self._crossed[writing] = self._cross(writing, request.shelved, evidence / "written", deadline)
        return self._crossed[writing]

    def _cross(self, writing: NtfsRequest, name: str, evidence: Path, deadline: Deadline) -> Crossed:
        first = self._crossed_once(writing, name, evidence, deadline)
        if first.verdict is None or not judging.blames(first.verdict):
            return first
        self._put_aside(writing, first.verdict, evidence)
        second = self._crossed_once(writing, name, evidence, deadline)
        if second.verdict is None:
            return second
        return dataclasses.replace(second, verdict=judging.confirmed(first.verdict, second.verdict))

    def _crossed_once(self, writing: NtfsRequest, name: str, evidence: Path, deadline: Deadline) -> Crossed:
        evidence.mkdir(parents=True, exist_ok=True)
        prepared = self._prepared(self._writing, writing, self.specimen(writing.volume, deadline), deadline)
        work = self.folder.path / f"written-{next(self._folders)}"
        work.mkdir()
        return cross(writing, prepared, name, work, evidence, deadline)

    def _checkers(self, deadline: Deadline) -> tuple[Checker, ...]:
        """As many as can be had: ntfsck of another suite, and what is installed."""
        if not self._checking:
            others = self.stack.enter_context(ntfsck_if_any(self.cache, deadline.at_most(_CHECKER_SECONDS)))
            self._checking += [checker for checker in (others, NTFSFIX) if checker is not None]
        return tuple(self._checking)

    def _put_aside(self, request: NtfsRequest, verdict: Verdict, evidence: Path) -> None:
        """Keep the evidence of a first try beside that of the second."""
        first = evidence / "first"
        first.mkdir(exist_ok=True)
        for file in evidence.iterdir():
            if file.is_file():
                file.rename(first / file.name)
        emit("repeat on a fresh guest", volume=request.shelved, driver=request.driver, why=verdict.reason)


def kernel_facts(kernel: Kernel) -> dict[str, str]:
    """What a verdict says of the kernel it was come to with."""
    return {"kernel_version": kernel.release, "kernel_package": kernel.package_version}
