"""A specimen: a volume as drivers are tried on it, whether a recipe of the lab made it or a user brought it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from lab.ntfs.manifest import Manifest
from lab.ntfs.volumes import State, Volume
from lab.verdict import Check, Outcome

__all__ = ["Specimen"]

_LEAST_SECONDS = 60.0
_BYTES_A_SECOND = 2_000_000
_NAMES_A_SECOND = 10
"""Measured under emulation: 25 names and 10 MB a second. A fifth of that is slow, not hung."""

_RECORDS_A_SECOND = 100
"""Few of them need to be names, and a driver that hangs is waited for as long."""

_USUAL_LEAST_SECONDS = 2.0
_USUAL_BYTES_A_SECOND = 10_000_000
_USUAL_NAMES_A_SECOND = 25


@dataclass(frozen=True, slots=True)
class Specimen:
    """A raw file ``path`` that holds one volume, of ``sector`` bytes a sector, and what is known of it.

    ``doubts`` are what nobody here can say of it, so that no driver is judged by it. ``records`` are those of its MFT,
    where readers cannot tell its names: there may be as many.
    """

    name: str
    path: Path
    sector: int
    state: State
    manifest: Manifest = field(repr=False)
    doubts: tuple[str, ...] = ()
    records: int = 0

    @classmethod
    def of(cls, volume: Volume) -> Specimen:
        """One of the lab's own."""
        recipe = volume.recipe
        state = State.WRITE_PROTECTED if recipe.read_only else recipe.state
        return cls(recipe.name, volume.path, recipe.sector, state, volume.manifest)

    @property
    def reading_seconds(self) -> float:
        """How long a driver may take to read all of it under emulation before it counts as hung."""
        names = len(self.manifest.entries) / _NAMES_A_SECOND + self.records / _RECORDS_A_SECOND
        return _LEAST_SECONDS + self._bytes / _BYTES_A_SECOND + names

    @property
    def usual_seconds(self) -> float:
        """How long it takes as a rule on an idle machine: by how much one takes longer than another."""
        names = len(self.manifest.entries) / _USUAL_NAMES_A_SECOND
        return _USUAL_LEAST_SECONDS + self._bytes / _USUAL_BYTES_A_SECOND + names

    @property
    def _bytes(self) -> int:
        known = sum(entry.size or 0 for entry in self.manifest.entries)
        return max(known, self.path.stat().st_blocks * 512)

    def doubt_checks(self) -> tuple[Check, ...]:
        """A check that says what is not judged, where there is such a thing; it never makes a verdict worse."""
        if not self.doubts:
            return ()
        more = f" (and {len(self.doubts) - 1} more)" if len(self.doubts) > 1 else ""
        seen = f"not judged: {self.doubts[0]}{more}"
        return (Check("readers-agree", Outcome.UNSUPPORTED, "two trusted readers say the same of everything", seen),)
