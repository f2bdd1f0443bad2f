"""Mutations as recipes: a base, spoiled when all else is done, and a manifest that knows what may fail."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

from lab.ntfs.manifest import Entry, Manifest
from lab.ntfs.volumes.hostile.base import BASES
from lab.ntfs.volumes.hostile.mutation import Mutation, apply
from lab.ntfs.volumes.mixture import MIB
from lab.ntfs.volumes.recipe import Recipe, State
from lab.ntfs.volumes.tree import entry_of

__all__ = ["base_recipe", "hostile_recipe"]

_SIZE = 8 * MIB


def base_recipe(name: str) -> Recipe:
    """The sound volume of that name, which no scenario can ask for."""
    base = BASES[name]
    return Recipe(
        f"base-{name}", f"what is spoiled in hostile volumes: {name}", base.items, size=_SIZE, cluster=base.cluster
    )


def hostile_recipe(mutation: Mutation, seed: int = 0) -> Recipe:
    """The volume of a mutation; another seed spoils the same structure with other values."""
    return replace(
        base_recipe(mutation.base),
        name=f"hostile-{mutation.name}{f'-{seed}' if seed else ''}",
        description=f"{mutation.breaks}; a good driver: {mutation.good.value}",
        state=State.DAMAGED,
        edits=(partial(_spoil, mutation, seed),),
        fragile=mutation.fragile,
        amend=partial(_amended, mutation),
        hostile=True,
    )


def _spoil(mutation: Mutation, seed: int, path: Path) -> None:
    apply(mutation, path, seed)


def _amended(mutation: Mutation, manifest: Manifest) -> Manifest:
    """The base's manifest with what the mutation lawfully shows otherwise, and without what nobody can say now."""
    entries = dict(manifest.by_path)
    for file in mutation.shows:
        shown = entry_of(file)
        known = entries[file.path]
        entries[file.path] = replace(known, size=shown.size, sha256=shown.sha256, blocks=shown.blocks)
    for path, field in mutation.forgets:
        entries[path] = _without(entries[path], field)
    return replace(manifest, entries=tuple(entries.values()))


def _without(entry: Entry, field: str) -> Entry:
    return Entry(**{**{name: getattr(entry, name) for name in Entry.__slots__}, field: None})
