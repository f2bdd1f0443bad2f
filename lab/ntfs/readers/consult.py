"""The truth about one volume: two readers first, a third where these do not settle it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from lab.deadline import Deadline
from lab.errors import ImageError
from lab.ntfs.manifest import Kind, Manifest
from lab.ntfs.ondisk.boot import BOOT_BYTES, Boot
from lab.ntfs.readers.agreement import WITNESSES, Disagreement, agreement
from lab.ntfs.readers.reader import Readings, read_all, readers
from lab.ntfs.readers.trust import Trait, volume_traits

__all__ = ["NoTruthError", "Truth", "truth_of"]

_FIRST = ("libfsntfs", "ntfs-3g")

_MOST = 160
"""Characters of what one reader said; ntfs-3g tells stories."""


@dataclass(frozen=True, slots=True)
class Truth:
    """What trusted readers agree on, where they part, and what each of them said."""

    manifest: Manifest
    disagreements: tuple[Disagreement, ...]
    readings: Readings


class NoTruthError(ImageError):
    """Fewer than two readers could read a volume; ``readings`` is what all of them said."""

    def __init__(self, message: str, readings: Readings, *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.readings = readings

    @property
    def answered(self) -> bool:
        """Whether enough readers were there to say so."""
        return self.readings.answers >= WITNESSES


def truth_of(volume: Path, deadline: Deadline, *, each: float = 60.0) -> Truth:
    """Ask the readers about a raw volume, which none of them changes; ``each`` is the time that one may take.

    Raises:
        NoTruthError: fewer than two readers could read it; the message says why each of them could not.
    """
    readings = read_all(volume, deadline, names=_FIRST, each=each)
    always = _traits_of(volume)
    manifest, quarrels = agreement(readings.manifests, always=always)
    if len(readings.manifests) < WITNESSES or quarrels or manifest.unsure:
        rest = [name for name in readers if name not in _FIRST]
        only = _open(manifest, quarrels) if len(readings.manifests) >= WITNESSES else None
        readings |= read_all(volume, deadline, names=rest, each=each, only=only)
        manifest, quarrels = agreement(readings.manifests, always=always)
    if len(readings.manifests) < WITNESSES:
        said = "; ".join(f"{name}: {_brief(why, volume, name)}" for name, why in sorted(readings.refusals.items()))
        raise NoTruthError(
            f"{volume}: read by {len(readings.manifests)} of {len(readers)} readers, {WITNESSES} must agree: {said}",
            readings,
            hint="`lab doctor` names what is missing; until then only what drivers do to the volume can be told",
        )
    return Truth(manifest, quarrels, readings)


_CONTENT = frozenset({"exists", "kind", "size", "sha256", "blocks"})
"""What a third reader's look at the content may settle; the rest it does not see, or lists anyway."""


def _open(manifest: Manifest, quarrels: Iterable[Disagreement]) -> frozenset[str]:
    """The paths of which two readers have not told all that a third can tell."""
    files = (entry for entry in manifest.entries if entry.kind in {Kind.FILE, Kind.UNKNOWN})
    untold = (entry.path for entry in files if None in {entry.size, entry.sha256})
    parted = (quarrel.path for quarrel in quarrels if quarrel.what in _CONTENT)
    return frozenset({*manifest.unsure, *untold, *parted})


def _traits_of(volume: Path) -> frozenset[Trait]:
    """What the boot sector says; nothing where it cannot be read, which the readers will tell better."""
    try:
        with volume.open("rb") as file:
            return volume_traits(Boot.parse(file.read(BOOT_BYTES), place=str(volume)).geometry)
    except (OSError, ImageError):
        return frozenset()


def _brief(why: str, volume: Path, reader: str) -> str:
    """Without what the message says already, and no longer than a reader needs to be understood."""
    said = why.removeprefix(f"{volume}: {reader}: ").removeprefix(f"{reader} refuses it: ")
    return said if len(said) <= _MOST else f"{said[: _MOST - 3]}..."
