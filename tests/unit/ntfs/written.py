"""A volume written to for real, by ntfs-3g on this machine, and faults planted in what has become of it."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from lab.deadline import Deadline
from lab.ntfs import probe
from lab.ntfs.checker import NTFSFIX
from lab.ntfs.drivers import drivers
from lab.ntfs.inspection import Inspection, inspect
from lab.ntfs.judging.writing import Judgement, Written, judge_written
from lab.ntfs.operations import Step, operations, terrain_of, to_text
from lab.ntfs.pristine import Pristine
from lab.ntfs.readers import Readings, libfsntfs
from lab.ntfs.specimen import Specimen
from lab.ntfs.volumes import Volume, mounted
from lab.verdict import Check, Outcome, Verdict


@dataclass(frozen=True)
class Done:
    """What an operation has done to a copy of a volume: the file as it is now, and what the driver said."""

    pristine: Pristine
    steps: tuple[Step, ...]
    image: Path
    document: Mapping[str, Any]

    def judged(self, image: Path | None = None, inspection: Inspection | None = None, **changed: Any) -> Judgement:
        """The judgement, with another file, other words of the outsiders or other words of the driver."""
        specimen = self.pristine.specimen
        after = inspection or look(image or self.image)
        case = Written(specimen.manifest, specimen.state, self.steps, self.pristine.source, self.pristine.seen, after)
        return judge_written(replace(case, changed=True), {**copy.deepcopy(dict(self.document)), **changed})

    def planted(self, folder: Path, plant: Callable[[Path], None]) -> Verdict:
        """The verdict, where ``plant`` has changed a copy of the file."""
        path = duplicate(self.image, folder / "planted.img")
        plant(path)
        return self.judged(path).verdict

    def through_a_mount(self, folder: Path, edit: Callable[[Path], None]) -> Verdict:
        """The same, with what ``edit`` does to the mounted tree."""

        def plant(path: Path) -> None:
            at = folder / "edit"
            at.mkdir()
            options = ("rw", "noatime", "streams_interface=xattr")
            with mounted(path, at, options=options, deadline=Deadline(30)):
                edit(at)

        return self.planted(folder, plant)


def duplicate(path: Path, into: Path) -> Path:
    """A sparse copy."""
    subprocess.run(("cp", "--sparse=always", path, into), check=True)
    return into


def look(image: Path) -> Inspection:
    """By libfsntfs and the lab's own eyes; in this process, for to start one takes longer than all the rest."""
    seen = inspect(image, Deadline(60), readers=(), checkers=(NTFSFIX,))
    try:
        return seen.with_readings(Readings({"libfsntfs": libfsntfs.read(str(image))}))
    except OSError as refused:
        return seen.with_readings(Readings(refusals={"libfsntfs": str(refused)}))


@cache
def pristine_of(volume: Volume) -> Pristine:
    """Without the readers that take long."""
    specimen = Specimen.of(volume)
    return Pristine(specimen, terrain_of(specimen.path, Deadline(60)), look(specimen.path))


def do(volume: Volume, name: str, folder: Path, *, streams: str = "xattr", skip: int | None = None) -> Done:
    """Do an operation for real. ``skip`` is the number of a step that the driver says it has done, and has not.

    ``streams`` is what the driver calls attributes in ``user.``: streams, or nothing but attributes.
    """
    pristine = pristine_of(volume)
    steps = pristine.steps(operations[name])
    image = duplicate(volume.path, folder / f"{volume.recipe.name}-{name}.img")
    really = [step for number, step in enumerate(steps) if number != skip]
    document = operate(image, to_text(really), folder / "mnt", streams)
    if skip is not None:
        document["steps"].insert(skip, {})
    return Done(pristine, steps, image, document)


def operate(image: Path, steps: str, at: Path, streams: str = "xattr") -> dict[str, Any]:
    """Run the probe as a guest would: as a program of its own."""
    asked = replace(drivers["ntfs-3g"], streams=streams)
    words = (*asked.probe_arguments(at=str(at), write=True), "--again", ",".join(asked.again))
    said = subprocess.run(
        (sys.executable, probe.__file__, "operate", *words, "--device", image, "--seconds", "60", "--steps", steps),
        capture_output=True,
        check=True,
        timeout=90,
    )
    document: dict[str, Any] = json.loads(said.stdout)
    return document


def broken(verdict: Verdict) -> set[str]:
    """The checks that failed."""
    return {check.name for check in verdict.checks if check.outcome is Outcome.FAIL}


def named(verdict: Verdict, name: str) -> Check:
    """The check of that name."""
    return next(check for check in verdict.checks if check.name == name)


__all__ = ["Done", "broken", "do", "duplicate", "look", "named", "operate", "pristine_of"]
