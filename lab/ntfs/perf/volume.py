"""The volumes that measures are taken on, as recipes."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from lab.ntfs.manifest import Manifest
from lab.ntfs.perf.measure import CROWDED, LARGE_FILE, PLAIN, SMALL_FOLDER, TERABYTE
from lab.ntfs.perf.sizes import MIB, Sizes
from lab.ntfs.volumes import Directory, File, Recipe, recipes
from lab.ntfs.volumes.content import random

__all__ = ["manifest_of", "volumes"]


def volumes(sizes: Sizes) -> Mapping[str, Recipe]:
    """Every volume by the name that measures have for it."""
    return {PLAIN: _plain(sizes), TERABYTE: recipes[TERABYTE], CROWDED: recipes[CROWDED]}


@cache
def manifest_of(volume: str, sizes: Sizes) -> Manifest:
    """What a volume holds, by the name that measures have for it."""
    return volumes(sizes)[volume].manifest()


def _plain(sizes: Sizes) -> Recipe:
    """What is read is there, and room for as much again. It is in no registry: nothing else is to be tried on it."""
    mib = sizes.large // MIB
    return Recipe(
        # The name is all that its key in the cache knows of the sizes.
        f"{PLAIN}-{mib}-{sizes.small}-{sizes.each}",
        f"a file of {mib} MiB, {sizes.small} small ones, and room",
        (
            File(LARGE_FILE, random("perf large", sizes.large)),
            Directory(SMALL_FOLDER),
            *(File(f"{SMALL_FOLDER}/f.{n}", random(f"perf small {n}", sizes.each)) for n in range(sizes.small)),
        ),
        size=(2 * mib + sizes.small * sizes.each // MIB * 4 + 32) * MIB,
    )
