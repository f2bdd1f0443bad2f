"""A specimen before anything is written to it: where its files lie, and what outsiders say of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from lab.deadline import Deadline
from lab.errors import ImageError
from lab.ntfs.checker import Checker
from lab.ntfs.inspection import Inspection, inspect
from lab.ntfs.operations import Operation, Step, Stored, Terrain, terrain_of
from lab.ntfs.readers import read_all
from lab.ntfs.specimen import Specimen
from lab.ntfs.volumes.recipe import State

__all__ = ["FIRST_READERS", "LAST_READERS", "Pristine"]

FIRST_READERS = ("libfsntfs", "ntfs-3g")
"""Besides the lab's own eyes, which are always there."""

LAST_READERS = ("sleuthkit",)
"""Asked where the first ones part; it starts a process a file."""


_USUAL_CLUSTER, _USUAL_RECORD = 4096, 1024
_SOME_ROOM = 1 << 20


@dataclass
class Pristine:
    """What every cell that writes to a copy of the specimen starts from; found out once."""

    specimen: Specimen
    terrain: Terrain = field(repr=False)
    seen: Inspection = field(repr=False)

    @classmethod
    def of(cls, specimen: Specimen, checkers: tuple[Checker, ...], deadline: Deadline) -> Pristine:
        """Look at the specimen's own file, which nobody changes.

        Raises:
            ImageError: it is no NTFS volume, and was not meant to be damaged.
            DeadlineError: it was not done in time.
        """
        each = specimen.reading_seconds
        seen = inspect(specimen.path, deadline, readers=FIRST_READERS, checkers=checkers, each=each)
        try:
            terrain = terrain_of(specimen.path, deadline)
        except ImageError:
            if specimen.state is not State.DAMAGED:
                raise
            # Nothing of it can be found; what drivers make of it can be seen all the same, in files that are new.
            terrain = Terrain(_USUAL_CLUSTER, _USUAL_RECORD, _SOME_ROOM, {})
        return cls(specimen, terrain, seen)

    @property
    def source(self) -> Stored:
        """Reads the bytes that its files hold."""
        return Stored(self.specimen.path, self.terrain)

    def steps(self, operation: Operation) -> tuple[Step, ...]:
        """What the operation does to a copy of it.

        Raises:
            LabError: a file does not hold what the manifest says.
        """
        return operation.steps(self.specimen.manifest, self.terrain, self.source)

    def hear_the_last(self, deadline: Deadline) -> None:
        """Have the readers too that are only asked where the others part."""
        if not set(LAST_READERS) & {*self.seen.readings.manifests, *self.seen.readings.refusals}:
            each = self.specimen.reading_seconds
            more = read_all(self.specimen.path, deadline, names=LAST_READERS, each=each)
            self.seen = self.seen.with_readings(more)
