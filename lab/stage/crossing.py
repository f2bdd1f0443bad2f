"""Volumes that one driver has written, made ready for another to read.

What the reading driver is measured by is not what the writing one was told to do, but what independent readers find on
the volume afterwards: whether the writer did as it was told is the verdict of its own cell.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lab.deadline import Deadline
from lab.errors import ImageError
from lab.events import step
from lab.ntfs.checker import Checker
from lab.ntfs.drivers import Driver, DriverKind, drivers
from lab.ntfs.foreign import Foreign, admit
from lab.ntfs.images.image import open_image
from lab.ntfs.ntfsck import NTFSCK
from lab.ntfs.operations import operations
from lab.ntfs.specimen import Specimen
from lab.ntfs.volumes import State
from lab.scenario.cell import KernelRequest, NtfsRequest
from lab.stage.prepared import PreparedVolume
from lab.stage.writing import nothing_to_do, pristine_of, written_copy
from lab.verdict import FINDING_OUTCOMES, Outcome, Verdict

__all__ = ["Crossed", "cross", "writing_request"]

_MENDED = frozenset({State.CLEAN, State.DIRTY, State.UNCLEAN_LOG})
"""States that a driver which writes may lead into one another."""


@dataclass(frozen=True, slots=True)
class Crossed:
    """What has come of the writing: ``specimen`` is the volume to be read, or ``verdict`` says why there is none."""

    specimen: Specimen | None = None
    verdict: Verdict | None = None
    facts: Mapping[str, str] = field(default_factory=dict)


def writing_request(request: NtfsRequest) -> NtfsRequest:
    """The cell in which the writer of ``request`` does its part: in the same guest, on a kernel that has the writer."""
    writer = drivers[request.writer]
    guest = dataclasses.replace(request.guest, kernel=_kernel(writer, request.guest.kernel))
    return dataclasses.replace(request, driver=writer.name, guest=guest, writer="")


def _kernel(driver: Driver, wish: KernelRequest) -> KernelRequest:
    """``wish`` if it has the driver or nobody knows which has, else the first that does."""
    if driver.kind is DriverKind.FUSE or not driver.releases or wish.release in driver.releases:
        return wish
    return KernelRequest(driver.releases[0])


def cross(  # noqa: PLR0913, PLR0917 - who writes what, what that is called, and where it goes
    request: NtfsRequest, prepared: PreparedVolume, name: str, work: Path, evidence: Path, deadline: Deadline
) -> Crossed:
    """Have the driver of ``prepared`` do the operation to a fresh copy of a volume, and ask the readers what is there.

    ``request`` is of :func:`writing_request`. The copy stays in the folder ``work``, which must be new; the volume is
    called ``name``. What is known of the writing goes to the folder ``evidence``.

    Raises:
        LabError: the lab is at fault.
        DeadlineError: it was not done in time.
    """
    pristine = pristine_of(prepared.bench, request.volume, deadline)
    steps = pristine.steps(operations[request.operation])
    if not steps:
        return Crossed(verdict=nothing_to_do(request, prepared))
    verdict, copy = written_copy(prepared, pristine, steps, work, evidence, deadline)
    facts = {f"writer_{key}": value for key, value in {**prepared.facts, **verdict.facts}.items()}
    facts["writer_finding"] = verdict.finding.value if verdict.finding else verdict.outcome.value
    if copy is None:
        return Crossed(verdict=_not_written(request, verdict), facts=facts)
    with step("ask the readers", volume=name):
        foreign = _admitted(copy, name, work, prepared.bench.checkers, deadline)
    (evidence / "readers.json").write_text(json.dumps(foreign.testimony, ensure_ascii=True, indent=1) + "\n")
    return Crossed(_as_meant(foreign.specimen, pristine.specimen), facts=facts)


def _not_written(request: NtfsRequest, verdict: Verdict) -> Verdict:
    """A driver that crashed is wrong whoever reads; one that declined leaves nothing to read."""
    if verdict.finding is not None and FINDING_OUTCOMES[verdict.finding] is Outcome.FAIL:
        return dataclasses.replace(verdict, reason=f"{request.driver} while it wrote: {verdict.reason}", evidence=())
    if verdict.outcome is Outcome.ERROR:
        return verdict
    reason = f"not-written: {request.driver}: {verdict.reason}"
    return Verdict(Outcome.UNSUPPORTED, reason, verdict.checks, verdict.finding)


def _admitted(copy: Path, name: str, work: Path, checkers: Iterable[Checker], deadline: Deadline) -> Foreign:
    disk = open_image(copy, work, deadline)
    if not disk.volumes:
        raise ImageError(f"{name}: is no volume any more")
    folder = work / "read"
    folder.mkdir()
    strict = next((checker for checker in checkers if checker.name == NTFSCK), None)
    foreign = admit(disk.volumes[0], name, folder, deadline, strict)
    copy.unlink()
    if foreign.trouble is not None:
        raise foreign.trouble
    return foreign


def _as_meant(found: Specimen, original: Specimen) -> Specimen:
    """The volume with the state that the original was in, unless writing may have changed it."""
    state = found.state if original.state in _MENDED else original.state
    return dataclasses.replace(found, state=state, sector=original.sector)
