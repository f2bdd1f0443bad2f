"""The truth about one volume: two readers first, a third where these do not settle it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lab.deadline import Deadline
from lab.errors import ImageError
from lab.ntfs.manifest import Manifest
from lab.ntfs.readers.agreement import WITNESSES, Disagreement, agreement
from lab.ntfs.readers.reader import Readings, read_all, readers

__all__ = ["Truth", "truth_of"]

_FIRST = ("libfsntfs", "ntfs-3g")

_MOST = 160
"""Characters of what one reader said; ntfs-3g tells stories."""


@dataclass(frozen=True, slots=True)
class Truth:
    """What trusted readers agree on, where they part, and what each of them said."""

    manifest: Manifest
    disagreements: tuple[Disagreement, ...]
    readings: Readings


def truth_of(volume: Path, deadline: Deadline, *, each: float = 60.0) -> Truth:
    """Ask the readers about a raw volume, which none of them changes; ``each`` is the time that one may take.

    Raises:
        ImageError: fewer than two readers could read it; the message says why each of them could not.
    """
    readings = read_all(volume, deadline, names=_FIRST, each=each)
    manifest, quarrels = agreement(readings.manifests)
    if len(readings.manifests) < WITNESSES or quarrels or manifest.unsure:
        rest = [name for name in readers if name not in _FIRST]
        more = read_all(volume, deadline, names=rest, each=each)
        readings = Readings({**readings.manifests, **more.manifests}, {**readings.refusals, **more.refusals})
        manifest, quarrels = agreement(readings.manifests)
    if len(readings.manifests) < WITNESSES:
        said = "; ".join(f"{name}: {_brief(why, volume, name)}" for name, why in sorted(readings.refusals.items()))
        raise ImageError(
            f"{volume}: read by {len(readings.manifests)} of {len(readers)} readers, {WITNESSES} must agree: {said}",
            hint="a damaged volume has no known content; only what drivers do to it can be told",
        )
    return Truth(manifest, quarrels, readings)


def _brief(why: str, volume: Path, reader: str) -> str:
    """Without what the message says already, and no longer than a reader needs to be understood."""
    said = why.removeprefix(f"{volume}: {reader}: ").removeprefix(f"{reader} refuses it: ")
    return said if len(said) <= _MOST else f"{said[: _MOST - 3]}..."
