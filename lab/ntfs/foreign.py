"""Volumes that nobody here made: from a user's image to a specimen, with what the readers said of it."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab import events
from lab.deadline import Deadline
from lab.errors import ImageError
from lab.ntfs.checker import Checker, damage
from lab.ntfs.condition import state_of
from lab.ntfs.images.image import NtfsVolume
from lab.ntfs.manifest import Kind, Manifest
from lab.ntfs.naming import shown, spelled
from lab.ntfs.ondisk.mft import Mft
from lab.ntfs.readers import NoTruthError, Readings, Truth, readers, truth_of
from lab.ntfs.specimen import Specimen
from lab.ntfs.volumes import State

__all__ = ["SCHEMA", "Foreign", "admit", "labels"]

SCHEMA = "lab.ntfs.testimony/1"

_UNKNOWN = Manifest((), frozenset(), frozenset({""}))

_READER_SECONDS = 60.0
_BYTES_A_SECOND = 2_000_000
_RECORDS_A_SECOND = 50
"""What the slowest reader, a process a file, does on a busy machine."""

_PATIENCE = 10
"""Files with holes may be many times as large as all that is stored, and every byte of them is read. A reader that
spins costs that much more; but it has to be one of two, for a third would have settled it.
"""

_MOST_RECORDS = 100_000
"""More may well be what a broken volume says it has."""


@dataclass(frozen=True, slots=True)
class Foreign:
    """A user's volume, copied to a file of its own.

    ``testimony`` is a document of what the readers said. Where they cannot read it, the specimen's manifest is unsure
    from the root on, its doubts say why, and only what a driver does to it can be told. ``trouble`` is that there were
    not even two readers to ask, or None. ``fault`` is what is wrong with its boot sector, its length or, by a checker's
    word, its structures; empty if nothing is known to be.
    """

    specimen: Specimen
    testimony: Mapping[str, Any]
    trouble: ImageError | None = None
    fault: str = ""


def labels(images: Iterable[Path]) -> dict[Path, str]:
    """Short names for images: the file's own name, and as much of its path as tells it from the others."""
    named: dict[Path, str] = {}
    pending, depth = list(dict.fromkeys(images)), 1
    while pending:
        tails = {path: spelled(str(Path(*path.absolute().parts[-depth:]))) for path in pending}
        counts = Counter(tails.values())
        alone = [path for path in pending if counts[tails[path]] == 1 or depth >= len(path.absolute().parts)]
        named.update((path, tails[path]) for path in alone)
        pending, depth = [path for path in pending if path not in named], depth + 1
    return named


def admit(volume: NtfsVolume, name: str, work: Path, deadline: Deadline, checker: Checker | None = None) -> Foreign:
    """Copy a volume into the folder ``work`` and ask the readers what it holds.

    A volume that calls itself clean, or only dirty, is damaged all the same if ``checker`` finds more in it than a
    bitmap that counts wrongly.

    Raises:
        ImageError: it cannot be copied.
        DeadlineError: it was not done in time.
    """
    path = volume.copy(work, deadline)
    # Before the readers: one of them mounts the volume, and ntfsck declines what is mounted.
    checked = _checked(path, checker, deadline)
    fault = volume.fault or checked.fault
    try:
        truth = _patient_truth(path, name, deadline)
    except NoTruthError as unread:
        return _unread(volume, name, path, unread, checked)
    state = State.DAMAGED if volume.fault else checked.judged(state_of(path))
    doubts = (*_moved(volume), *_doubts(truth))
    more = _records(path) if truth.manifest.unsure else 0
    specimen = Specimen(name, path, volume.sector, state, truth.manifest, doubts, more)
    return Foreign(specimen, _testimony(specimen, volume, truth.readings, checked), fault=fault)


@dataclass(frozen=True, slots=True)
class _Checked:
    """What a checker says of a volume: ``word`` of all, ``fault`` of what makes it a damaged one."""

    word: str
    fault: str = ""

    def judged(self, state: State) -> State:
        """The state, where the structures tell of ``state``. A Windows that sleeps may have the rest in its memory."""
        return State.DAMAGED if self.fault and state is not State.HIBERNATED else state


def _checked(path: Path, checker: Checker | None, deadline: Deadline) -> _Checked:
    if checker is None:
        return _Checked("not asked")
    report = checker.check(path, deadline.at_most(_reading_seconds(path)))
    if report.silent:
        return _Checked(f"{checker.name}: no answer: {report.silent}")
    worst = damage(report)
    word = f"{checker.name}: {_shortened(worst or report.findings) or 'content'}"
    return _Checked(word, word if worst else "")


def _shortened(findings: Sequence[str]) -> str:
    more = f" (and {len(findings) - 1} more)" if len(findings) > 1 else ""
    return spelled(findings[0]) + more if findings else ""


def _patient_truth(path: Path, name: str, deadline: Deadline) -> Truth:
    """What the readers agree on; where too few have come to an end, they get much more time, once."""
    each = _reading_seconds(path)
    try:
        return truth_of(path, deadline, each=each)
    except NoTruthError as unread:
        late = [one for one in unread.readings.silent if one in readers and not readers[one].missing()]
        if not late:
            raise
        with events.step("give readers more time", volume=name, late=sorted(late)):
            return truth_of(path, deadline, each=_PATIENCE * each)


def _reading_seconds(volume: Path) -> float:
    """For one reader, by what is stored and by how many files there may be."""
    return _READER_SECONDS + volume.stat().st_blocks * 512 / _BYTES_A_SECOND + _records(volume) / _RECORDS_A_SECOND


def _records(volume: Path) -> int:
    """How many files there may be."""
    with suppress(ImageError, struct.error), Mft.open(volume) as mft:
        return min(mft.count, _MOST_RECORDS)
    return 0


def _unread(volume: NtfsVolume, name: str, path: Path, unread: NoTruthError, checked: _Checked) -> Foreign:
    # The readers were shown a copy; the user knows the volume by another name.
    said = unread.message.replace(str(path), volume.place)
    why = "; ".join(filter(None, (volume.fault, said.removeprefix(f"{volume.place}: "))))
    # A driver is right to refuse what no reader accepts. Where one of them does, nobody can say who is right, unless it
    # can be seen from outside that the volume is not whole.
    doubtful = unread.readings.manifests or not unread.readings.answers
    fault = volume.fault or checked.fault
    state = State.UNKNOWN if doubtful and not fault else State.DAMAGED
    specimen = Specimen(
        name, path, volume.sector, state, _UNKNOWN, (*_moved(volume), f"its whole content: {why}"), _records(path)
    )
    trouble = None if unread.answered else ImageError(said, hint=unread.hint)
    return Foreign(specimen, _testimony(specimen, volume, unread.readings, checked, trouble=said), trouble, fault)


def _moved(volume: NtfsVolume) -> Iterator[str]:
    if volume.mounted:
        yield f"what changed while it was copied, for it was mounted for writing at {volume.mounted}"


def _doubts(truth: Truth) -> Iterator[str]:
    """Where readers part, then what fewer than two of them can tell."""
    yield from map(str, truth.disagreements)
    disputed = {(one.path, one.what) for one in truth.disagreements}
    for entry in truth.manifest.entries:
        path = entry.path
        if entry.kind is Kind.UNKNOWN and (path, "kind") not in disputed:
            yield f"{shown(path)}: readers cannot tell what it is"
        if entry.kind is Kind.FILE and entry.size is None and (path, "size") not in disputed:
            yield f"{shown(path)}: fewer than two trusted readers know its size"
        if entry.kind is Kind.FILE and entry.sha256 is None and (path, "sha256") not in disputed:
            yield f"{shown(path)}: fewer than two trusted readers know its bytes"
    for path in sorted(truth.manifest.unsure):
        if (path, "exists") not in disputed:
            yield f"{shown(path or '/')}: fewer than two trusted readers can list it"


def _testimony(
    specimen: Specimen, volume: NtfsVolume, readings: Readings, checked: _Checked, *, trouble: str = ""
) -> dict[str, Any]:
    boot = volume.boot
    return {
        "schema": SCHEMA,
        "volume": specimen.name,
        "origin": spelled(str(volume.origin)),
        "offset": volume.offset,
        "mounted": volume.mounted,
        "state": specimen.state.value,
        "sector": volume.sector,
        "cluster": boot.cluster if boot else None,
        "mft_record": boot.record if boot else None,
        "boot_sector": "whole" if volume.is_cut else volume.fault or "whole",
        "truncated": volume.fault if volume.is_cut else "",
        "checker": checked.word,
        "readers": {name: f"{len(manifest.entries)} names" for name, manifest in sorted(readings.manifests.items())},
        "refusals": dict(sorted(readings.refusals.items())),
        "trouble": trouble,
        "not_judged": list(specimen.doubts),
    }
