"""A volume file looked at from outside, without the driver: by the readers, by the checkers, and at its flags."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lab.beside import beside
from lab.deadline import Deadline
from lab.errors import DeadlineError, ImageError
from lab.ntfs.checker import Checker, Report
from lab.ntfs.ondisk import attribute
from lab.ntfs.ondisk.mft import VOLUME, Mft
from lab.ntfs.ondisk.volume_information import read_flags
from lab.ntfs.operations.stored_reading import OWN, read_stored
from lab.ntfs.readers import Readings, read_all

__all__ = ["Inspection", "inspect"]

_VOLUME_NAME = 0x60


@dataclass(frozen=True, slots=True)
class Inspection:
    """What was seen. ``flags`` and ``label`` are None where $Volume cannot be read, which ``broken`` explains."""

    readings: Readings = field(default_factory=Readings)
    reports: Mapping[str, Report] = field(default_factory=dict)
    flags: int | None = None
    label: str | None = None
    broken: str = ""

    def to_json(self) -> dict[str, Any]:
        """For the evidence: who read it, who did not, and what the checkers found."""
        return {
            "flags": self.flags,
            "label": self.label,
            "broken": self.broken,
            "readers": {name: len(manifest.entries) for name, manifest in sorted(self.readings.manifests.items())},
            "refusals": dict(sorted(self.readings.refusals.items())),
            "checkers": {name: asdict(report) for name, report in sorted(self.reports.items())},
        }

    def with_readings(self, more: Readings) -> Inspection:
        """As seen by more readers."""
        return Inspection(self.readings | more, self.reports, self.flags, self.label, self.broken)


def inspect(
    volume: Path, deadline: Deadline, *, readers: Iterable[str], checkers: Iterable[Checker] = (), each: float = 60.0
) -> Inspection:
    """Look at a volume file, which nobody changes, with the lab's own eyes and those ``readers``.

    ``each`` is the time that one reader or checker may take.

    Raises:
        DeadlineError: there is no time left.
    """
    names = tuple(readers)
    # Before the readers, not beside them: one of them mounts the volume, and ntfsck declines what is mounted.
    reports = {checker.name: checker.check(volume, deadline.at_most(each)) for checker in checkers}
    with beside(lambda: read_all(volume, deadline, names=names, each=each) if names else Readings()) as others:
        own = _own(volume, deadline.at_most(each))
    readings = others() | own
    try:
        return Inspection(readings, reports, read_flags(volume), _label(volume))
    except (ImageError, struct.error) as broken:
        return Inspection(readings, reports, broken=str(broken))


def _own(volume: Path, deadline: Deadline) -> Readings:
    try:
        return Readings({OWN: read_stored(volume, deadline)})
    except ImageError as refused:
        return Readings(refusals={OWN: refused.message})
    except DeadlineError as late:
        return Readings(refusals={OWN: late.message}, silent=frozenset({OWN}))


def _label(volume: Path) -> str:
    with Mft.open(volume) as mft:
        record = mft.read(VOLUME)
        with suppress(ImageError):  # without a label there is no such attribute
            found = attribute.find(record, _VOLUME_NAME, place=f"{volume}: $Volume")
            return found.value.decode("utf-16-le", "surrogatepass")
    return ""
