"""What a comparison takes over from the one that it continues: verdicts on volumes that are still what they were.

A verdict stands where it is one, and the volume has every byte that it had. Where all of a volume stand, the readers
are not asked again either.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lab.engine.carried import Carried, Earlier, listed
from lab.errors import UsageError
from lab.matrix.model import FROM, MatrixCell
from lab.ntfs.foreign import SCHEMA
from lab.run_record import RunRecord
from lab.scenario.cell import Cell

__all__ = ["PATH", "Recalled", "testimony_of"]

PATH = "ntfs-compare"
"""What stands for a scenario file in the ids of cells that have none."""


def testimony_of(record: RunRecord, volume: str) -> Path:
    """Where a run keeps what the readers said of a volume."""
    return record.evidence_folder(f"{PATH}::{volume}-readers") / "readers.json"


@dataclass(frozen=True, slots=True)
class Recalled:
    """A comparison that another one continues."""

    earlier: Earlier

    @classmethod
    def find(cls, reports: Path, name: str) -> Recalled:
        """The run of that name or in that folder.

        Raises:
            UsageError: there is none, or it is none that can be continued.
        """
        earlier = Earlier.resolve(reports, name)
        if not any(cell_id.startswith(f"{PATH}::") for cell_id in earlier.record.plans):
            raise UsageError(
                f"run {earlier.id}: it is none of `lab ntfs compare`", hint="`lab run` and pytest continue their own"
            )
        return cls(earlier)

    def testimony(self, there: Path, volume: str, digest: str) -> Mapping[str, Any] | None:
        """What readers said of the volume, if it had that digest then; ``there`` is where this run would keep it."""
        said = self.earlier.folder / there.relative_to(there.parents[2])
        try:
            document: dict[str, Any] = json.loads(said.read_text(encoding="ascii"))
        except (OSError, ValueError):
            return None
        known = (document.get("schema"), document.get("volume"), document.get("digest"))
        return document if known == (SCHEMA, volume, digest) else None

    def carry(self, same: Sequence[Cell], others: Sequence[Cell]) -> Carried:
        """What stands: verdicts on ``same``, the cells of volumes that are what they were, and not on ``others``."""
        standing = [(cell, self.earlier.standing(cell)) for cell in same]
        cells = tuple(self._marked(verdict) for _, verdict in standing if verdict is not None)
        decided = self.earlier.decided
        named = {cell.id for cell in (*same, *others)}
        again = [decided[cell.id].name for cell in others if cell.id in decided]
        again += [decided[cell.id].name for cell, verdict in standing if verdict is None and cell.id in decided]
        lost = [verdict.name for cell_id, verdict in decided.items() if cell_id not in named]
        notes = (
            f"{listed(again)} tried again: not what it was in run {self.earlier.id}" if again else "",
            f"{listed(lost)} left out: not asked for now" if lost else "",
        )
        return Carried(self.earlier, cells, (*same, *others), tuple(note for note in notes if note))

    def _marked(self, verdict: MatrixCell) -> MatrixCell:
        return replace(verdict, axes={**verdict.axes, FROM: verdict.origin or self.earlier.id})
