"""How a volume is made, declared; and its key in a content-addressed cache."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from functools import cache
from pathlib import Path

from lab.deadline import Deadline
from lab.ntfs.manifest import Manifest
from lab.ntfs.registry import Registry
from lab.ntfs.volumes.tree import Item, manifest_of
from lab.process import run

__all__ = ["Recipe", "State", "Volume", "recipe_key", "recipes"]

MIB = 1 << 20


class State(Enum):
    """What state a volume is in; some states make a refusal the right answer."""

    CLEAN = "clean"
    DIRTY = "dirty"
    HIBERNATED = "hibernated"
    UNCLEAN_LOG = "unclean-log"
    DAMAGED = "damaged"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Recipe:
    """A volume of ``size`` bytes holding ``items``; ``edits`` change the finished file, in order."""

    name: str
    description: str
    items: tuple[Item, ...] = field(repr=False)
    state: State = State.CLEAN
    size: int = 48 * MIB
    cluster: int = 4096
    sector: int = 512
    options: tuple[str, ...] = ()
    """More mount options for ntfs-3g while the tree is written."""
    edits: tuple[Callable[[Path], None], ...] = ()

    def manifest(self) -> Manifest:
        """What the volume holds, from the recipe alone."""
        return manifest_of(self.items)


@dataclass(frozen=True, slots=True)
class Volume:
    """A volume that was built: a raw file, where it comes from and what it holds."""

    path: Path
    recipe: Recipe
    manifest: Manifest = field(repr=False)


recipes: Registry[Recipe] = Registry("recipe")
"""All recipes by name; importing :mod:`lab.ntfs.volumes` fills it."""


def recipe_key(recipe: Recipe, deadline: Deadline) -> str:
    """A key that changes with anything the bytes depend on: the recipe, the code that builds it, the tools.

    Raises:
        MissingToolError: mkntfs or ntfs-3g is not installed.
    """
    parts = (recipe.name, _sources(), _version("mkntfs", deadline), _version("ntfs-3g", deadline))
    return f"{recipe.name}-{hashlib.sha256(chr(0).join(parts).encode()).hexdigest()[:16]}"


@cache
def _sources() -> str:
    here = Path(__file__).parent
    files = sorted((*here.glob("*.py"), *(here.parent / "ondisk").glob("*.py")))
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()


def _version(program: str, deadline: Deadline) -> str:
    said = run(program, "--version", deadline=deadline)
    return (said.stdout + said.stderr).decode("utf-8", "backslashreplace").strip().partition("\n")[0]
