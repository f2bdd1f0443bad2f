"""The five recipes, built once for real; a volume to plant faults in; the probe on this machine's FUSE."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from lab.deadline import Deadline
from lab.ntfs import probe
from lab.ntfs.drivers import drivers
from lab.ntfs.volumes import Directory, File, Recipe, Volume, build, can_mount, mounted, recipes
from lab.ntfs.volumes.content import random, text

Observe = Callable[..., Mapping[str, Any]]

FIRST = ("clean", "compressed", "dirty", "sparse", "unicode-names")

STREAMS = Recipe(
    "streams",
    "named streams, for the tests alone",
    (
        Directory("folder"),
        File("folder/a.txt", text("a", 100), (("Zone.Identifier", text("zone", 80)), ("big", random("big", 9000)))),
        File("folder/b.txt", text("b", 200)),
    ),
    size=16 << 20,
)


def why_not() -> str:
    """Why this machine cannot build volumes, or nothing."""
    if why := can_mount():
        return why
    return next((f"{name} is not installed" for name in ("mkntfs", "ntfs-3g") if not shutil.which(name)), "")


class Built(Mapping[str, Volume]):
    """Volumes by name, each built when it is first asked for; those listed are the first five and one of the tests'."""

    def __init__(self, into: Path) -> None:
        self._into = into
        self._held: dict[str, Volume] = {}

    def __getitem__(self, name: str) -> Volume:
        if name not in self._held:
            recipe = STREAMS if name == STREAMS.name else recipes[name]
            self._held[name] = build(recipe, self._into, Deadline(120))
        return self._held[name]

    def __iter__(self) -> Iterator[str]:
        return iter((*FIRST, STREAMS.name))

    def __len__(self) -> int:
        return len(FIRST) + 1


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Volume]:
    if why := why_not():
        pytest.skip(why)
    return Built(tmp_path_factory.mktemp("volumes"))


@pytest.fixture
def observe(tmp_path: Path) -> Observe:
    """Run the probe as a guest would: as a program of its own."""

    def run(volume: Path, driver: str = "ntfs-3g", *more: str, write: bool = False) -> Mapping[str, Any]:
        words = (*drivers[driver].probe_arguments(at=str(tmp_path / "mnt"), write=write), "--device", str(volume))
        said = subprocess.run(
            (sys.executable, probe.__file__, "mount-and-read", *words, "--seconds", "60", *more),
            capture_output=True,
            check=True,
            timeout=90,
        )
        document: Mapping[str, Any] = json.loads(said.stdout)
        return document

    return run


@pytest.fixture
def change(tmp_path: Path) -> Callable[[Volume, Callable[[Path], None]], Path]:
    """A copy of a volume, changed through a mount."""

    def run(volume: Volume, edit: Callable[[Path], None]) -> Path:
        copy = tmp_path / "changed.img"
        subprocess.run(("cp", "--sparse=always", volume.path, copy), check=True)
        at = tmp_path / "edit"
        at.mkdir()
        with mounted(copy, at, options=("rw", "noatime", "streams_interface=xattr"), deadline=Deadline(30)):
            edit(at)
        return copy

    return run
