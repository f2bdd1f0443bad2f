"""Directories that are large or deep."""

from __future__ import annotations

from lab.ntfs.volumes.content import text
from lab.ntfs.volumes.mixture import MIB
from lab.ntfs.volumes.recipe import Recipe, recipes
from lab.ntfs.volumes.tree import Crowd, Directory, File, Item

__all__: list[str] = []


def _many(count: int) -> tuple[Item, ...]:
    return (Crowd("many", count), File("beside.txt", text("beside", 90)))


def _deep(depth: int) -> tuple[Item, ...]:
    paths = ["/".join(f"level {one}" for one in range(below + 1)) for below in range(depth)]
    return (*map(Directory, paths), File(f"{paths[-1]}/bottom.txt", text("bottom", 80)))


recipes.add(Recipe("directory-1500", "a directory of 1500 names", _many(1500), size=16 * MIB))
recipes.add(Recipe("directory-10000", "a directory of 10 000 names", _many(10_000), size=48 * MIB, heavy=True))
recipes.add(
    Recipe("directory-100000", "a directory of 100 000 names", _many(100_000), size=192 * MIB, heavy=True),
)
recipes.add(Recipe("directory-deep", "150 directories in each other", _deep(150), size=16 * MIB))
