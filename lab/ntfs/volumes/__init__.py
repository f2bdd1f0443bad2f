"""Sample volumes: declared as recipes, built by mkntfs and ntfs-3g and, where these cannot, by our own edits.

What a volume holds is known from its recipe, never from a driver that read it.
"""

from __future__ import annotations

from lab.ntfs.fuse import can_mount, mounted
from lab.ntfs.volumes import (
    boot_sectors,
    contents,
    damage,
    directories,
    extents,
    first,
    geometry,
    hostile,
    links,
    metadata,
    naming,
    states,
)
from lab.ntfs.volumes.build import build
from lab.ntfs.volumes.recipe import Recipe, State, Volume, recipe_key, recipes
from lab.ntfs.volumes.tree import Directory, File, Item, manifest_of

RECIPES = (
    boot_sectors,
    contents,
    damage,
    directories,
    extents,
    first,
    geometry,
    hostile,
    links,
    metadata,
    naming,
    states,
)
"""The modules that declare recipes; importing them fills the registry."""

__all__ = [
    "Directory",
    "File",
    "Item",
    "Recipe",
    "State",
    "Volume",
    "build",
    "can_mount",
    "first",
    "manifest_of",
    "mounted",
    "recipe_key",
    "recipes",
]
