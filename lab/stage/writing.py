"""A cell that writes to a volume: a fresh copy, the steps, the copy taken off again and looked at by outsiders."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lab.checks.ntfs import keep_written
from lab.deadline import Deadline
from lab.events import step
from lab.ntfs.inspection import Inspection, inspect
from lab.ntfs.judging.writing import Judgement, Written, judge_written
from lab.ntfs.operations import Step, operations, to_text
from lab.ntfs.pristine import FIRST_READERS, LAST_READERS, Pristine
from lab.ntfs.readers import read_all
from lab.scenario.cell import NtfsRequest
from lab.stage.bench import Bench
from lab.stage.prepared import PreparedVolume
from lab.verdict import Finding, Outcome, Verdict

__all__ = ["judge_writing", "nothing_to_do", "pristine_of", "written_copy"]

_SECONDS_A_STEP = 0.5
"""Under emulation; most take a tenth of that."""


def judge_writing(request: NtfsRequest, prepared: PreparedVolume, evidence: Path, deadline: Deadline) -> Verdict:
    """Do the operation to a fresh copy of the volume, and put all that is known of it to what has become of it."""
    bench, operation = prepared.bench, operations[request.operation]
    pristine = pristine_of(bench, request.volume, deadline)
    steps = pristine.steps(operation)
    if not steps:
        return nothing_to_do(request, prepared)
    with tempfile.TemporaryDirectory(prefix="written-", dir=bench.shelf.disk.parent) as work:
        verdict, _ = written_copy(prepared, pristine, steps, Path(work), evidence, deadline)
    return dataclasses.replace(
        verdict,
        checks=(*verdict.checks, *pristine.specimen.doubt_checks()),
        facts={**prepared.facts, **verdict.facts},
        evidence=(),  # whoever keeps the record names every file of the folder
    )


def nothing_to_do(request: NtfsRequest, prepared: PreparedVolume) -> Verdict:
    """That the operation finds nothing on the volume that it could be done to."""
    reason = f"nothing-to-do: {request.volume} has nothing for the operation {request.operation}"
    return Verdict(Outcome.SKIPPED, reason, facts=prepared.facts)


def pristine_of(bench: Bench, volume: str, deadline: Deadline) -> Pristine:
    """A volume of the bench as it is before anything is written to it.

    Raises:
        LabError: it cannot be looked at.
    """
    if volume not in bench.pristine:
        specimen = bench.shelf.places[volume].specimen
        with step("look at a volume", volume=volume):
            bench.pristine[volume] = Pristine.of(specimen, bench.checkers, deadline)
    return bench.pristine[volume]


def written_copy(  # noqa: PLR0913, PLR0917 - the cell, what is done, and where what came of it goes
    prepared: PreparedVolume,
    pristine: Pristine,
    steps: tuple[Step, ...],
    work: Path,
    evidence: Path,
    deadline: Deadline,
) -> tuple[Verdict, Path | None]:
    """Do the steps to a fresh copy of the volume; the verdict on that, and the volume as a file in the folder ``work``.

    There is no file where nothing was written, or nothing is known of it.

    Raises:
        LabError: the lab is at fault.
    """
    bench = prepared.bench
    name = bench.shelf.put_fresh(pristine.specimen, deadline)
    try:
        return _judged(prepared, pristine, steps, name, (work, evidence), deadline)
    finally:
        if not bench.spoiled:  # a guest that is stuck in a driver may still write to it
            bench.shelf.discard(name, Deadline(60))
        bench.guest.keep(evidence, deadline=deadline)


def _judged(  # noqa: PLR0913, PLR0917 - the cell, what is done to which copy, and where it is told
    prepared: PreparedVolume,
    pristine: Pristine,
    steps: tuple[Step, ...],
    name: str,
    folders: tuple[Path, Path],
    deadline: Deadline,
) -> tuple[Verdict, Path | None]:
    work, evidence = folders
    bench, specimen = prepared.bench, pristine.specimen
    untouched = bench.shelf.digest(name, deadline)
    seconds = specimen.reading_seconds + _SECONDS_A_STEP * len(steps)
    document = bench.operate(prepared.driver, name, to_text(steps), seconds=seconds, deadline=deadline)
    log = [] if not bench.spoiled else bench.guest.console(deadline=deadline.at_most(20)).splitlines()
    changed = untouched != bench.shelf.digest(name, deadline)
    after, copy = Inspection(), None
    if _was_written(document):
        copy = bench.shelf.take(name, work, deadline)
        readers, each = FIRST_READERS, specimen.reading_seconds
        after = inspect(copy, deadline, readers=readers, checkers=bench.checkers, each=each)
    case = Written(specimen.manifest, specimen.state, steps, pristine.source, pristine.seen, after, changed)
    judgement = judge_written(case, document, log=log)
    if judgement.in_doubt and copy is not None:
        judgement, case = _with_the_last(case, pristine, copy, document, log, deadline)
    keep_written(case, judgement, document, evidence)
    if judgement.verdict.finding in {Finding.CRASH, Finding.HANG}:
        bench.spoiled = bench.spoiled or judgement.verdict.reason
        copy = None  # it may be written to while it is looked at
    return judgement.verdict, copy


def _was_written(document: Mapping[str, Any]) -> bool:
    """Whether there is something to look at: steps were done, and the guest came back to tell."""
    return bool(document.get("steps")) and document.get("ended") == "complete"


def _with_the_last(  # noqa: PLR0913, PLR0917 - as judged the first time, and what there is besides
    case: Written, pristine: Pristine, copy: Path, document: Mapping[str, Any], log: list[str], deadline: Deadline
) -> tuple[Judgement, Written]:
    pristine.hear_the_last(deadline)
    more = read_all(copy, deadline, names=LAST_READERS, each=pristine.specimen.reading_seconds)
    case = dataclasses.replace(case, before=pristine.seen, after=case.after.with_readings(more))
    return judge_written(case, document, log=log), case
