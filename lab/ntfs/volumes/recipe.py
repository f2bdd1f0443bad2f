"""How a volume is made, declared; and its key in a content-addressed cache."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from functools import cache
from pathlib import Path

from lab.deadline import Deadline
from lab.ntfs.manifest import About, Geometry, Manifest
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
    WRITE_PROTECTED = "write-protected"
    UNKNOWN = "unknown"


def _as_it_is(manifest: Manifest) -> Manifest:
    return manifest


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
    record: int = 0
    """Bytes of an MFT record; 0 for what mkntfs chooses: 1024, or a sector where that is more."""
    options: tuple[str, ...] = ()
    """More mount options for ntfs-3g while the tree is written."""
    edits: tuple[Callable[[Path], None], ...] = ()
    flags: int = 0
    """The volume's flags when all is done."""
    unsure: frozenset[str] = frozenset()
    """Paths that the edits damage: what becomes of them is not laid down, so they count for nothing."""
    fragile: frozenset[str] = frozenset()
    """Paths that the edits damage so that a driver may fail there, loudly; what it shows without an error counts."""
    amend: Callable[[Manifest], Manifest] = field(default=_as_it_is, repr=False)
    """What the edits make of the manifest, where the volume lawfully shows something else afterwards."""
    read_only: bool = False
    """The medium is to be attached write-protected."""
    heavy: bool = False
    """Takes so long to build or to read that it is only for those who ask for it by name."""
    hostile: bool = False
    """Spoiled so that readers may crash or hang on it: only for those who ask for it by name."""

    @property
    def serial(self) -> int:
        """The volume's serial number, which follows from its name."""
        return int.from_bytes(hashlib.sha256(self.name.encode()).digest()[:8], "little")

    @property
    def geometry(self) -> Geometry:
        """What the boot sector says."""
        # mkntfs never makes an index block smaller than a sector or, usually, than 4 KiB.
        record = self.record or max(1024, self.sector)
        return Geometry(self.sector, self.cluster, record, max(4096, self.sector), _volume_bytes(self))

    def manifest(self) -> Manifest:
        """What the volume holds, from the recipe alone."""
        about = About(self.name, self.flags, self.serial, self.geometry)
        return self.amend(manifest_of(self.items, about=about, unsure=self.unsure, fragile=self.fragile))


def _volume_bytes(recipe: Recipe) -> int:
    """The last sector holds the spare boot sector, and is not counted; mkntfs leaves 512 bytes at least."""
    return recipe.size - max(512, recipe.sector)


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
    files = sorted((*here.rglob("*.py"), *(here.parent / "ondisk").glob("*.py")))
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()


def _version(program: str, deadline: Deadline) -> str:
    said = run(program, "--version", deadline=deadline)
    return (said.stdout + said.stderr).decode("utf-8", "backslashreplace").strip().partition("\n")[0]
