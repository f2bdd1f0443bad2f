"""A mutation: one thing that is wrong with a volume, where it stands, and what a good driver makes of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from lab.ntfs.ondisk.mft import Mft
from lab.ntfs.registry import Registry
from lab.ntfs.volumes.hostile.dice import Dice
from lab.ntfs.volumes.hostile.place import Place, Span
from lab.ntfs.volumes.tree import File

__all__ = ["Change", "Edit", "Good", "Mutation", "apply", "mutations", "spans"]

Change = Callable[[bytearray, Dice, Mft], None]
"""Spoils a structure in place. Its length stays; the volume, still sound, is there to look things up."""


class Good(Enum):
    """What a good driver does. To refuse the volume, loudly, is never wrong; to show other bytes always is."""

    REFUSE = "refuse mount"
    """What is broken belongs to the volume: any name may fail."""
    ERROR = "error on that file only"
    NOTHING = "as if nothing"
    """All that is asked for can be read; to fail on a file is to be poorer than need be."""


@dataclass(frozen=True, slots=True)
class Edit:
    """One structure and how it is spoiled."""

    place: Place
    change: Change


@dataclass(frozen=True, slots=True)
class Mutation:
    """``breaks`` says what is wrong; ``structure`` which on-disk structure it is, with the source.

    ``costs`` are the names that may fail, loudly; all else has to be right. ``base`` is the volume it is done to.
    ``shows`` are files that hold something else afterwards, lawfully; ``forgets`` are fields of an entry (path, name)
    of which nobody can say what they are now.
    """

    name: str
    breaks: str
    structure: str
    good: Good
    edits: tuple[Edit, ...]
    costs: tuple[str, ...] = ()
    base: str = "plain"
    shows: tuple[File, ...] = ()
    forgets: tuple[tuple[str, str], ...] = field(default=())

    @property
    def fragile(self) -> frozenset[str]:
        """The paths that a driver may fail on; the empty one stands for all."""
        return frozenset({""}) if self.good is Good.REFUSE else frozenset(self.costs)


mutations: Registry[Mutation] = Registry("mutation")
"""All mutations by name; importing :mod:`lab.ntfs.volumes.hostile` fills it."""


def apply(mutation: Mutation, path: Path, seed: int = 0) -> None:
    """Spoil the volume file ``path``, which is to be sound; the same seed gives the same bytes.

    Raises:
        ImageError: the volume has no such structure.
    """
    dice = Dice(f"{mutation.name}/{seed}")
    with Mft.open(path, write=True) as mft:
        # All are found before the first is spoiled: afterwards there may be no way to them.
        sites = [edit.place.find(mft) for edit in mutation.edits]
        for edit, site in zip(mutation.edits, sites, strict=True):
            before = site.load(mft)
            structure = bytearray(before)
            edit.change(structure, dice, mft)
            if len(structure) != len(before):
                raise ValueError(f"{mutation.name}: {edit.place.name} has {len(structure)} bytes, not {len(before)}")
            site.store(mft, bytes(structure))


def spans(mutation: Mutation, path: Path) -> Iterator[Span]:
    """Where the structures that it spoils lie on the volume file ``path``, which is to be sound: nothing else changes.

    Raises:
        ImageError: the volume has no such structure.
    """
    with Mft.open(path) as mft:
        for edit in mutation.edits:
            site = edit.place.find(mft)
            yield from (*site.spans, *site.copies)
