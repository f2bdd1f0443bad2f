"""The folder of one live run: what must go when the run is over, and what `lab clean` finds when it was killed."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from lab.cache import Cache
from lab.errors import CacheError

__all__ = ["Leftover", "RunFolder", "leftovers", "run_folder", "sweep"]


@dataclass(frozen=True, slots=True)
class RunFolder:
    """One live run.

    ::

        CACHE/run/TAG/            disks, consoles, logs, the share; on the cache's disk, since disks grow
        CACHE/run/TAG/alive       locked as long as the run lives, also through fork, not through kill -9
        CACHE/run/TAG/sockets ->  a folder with a short name, since a Unix socket's path has at most 107 bytes
    """

    tag: str
    path: Path
    sockets: Path

    def fresh_folder(self, name: str) -> Path:
        """An empty folder below this one; what an earlier life of the same name left is gone."""
        path = self.path / name
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir()
        return path


@dataclass(frozen=True, slots=True)
class Leftover:
    """What a killed run left: its folder and the processes that still use it."""

    tag: str
    path: Path
    processes: tuple[int, ...]
    bytes: int


@contextmanager
def run_folder(cache: Cache) -> Iterator[RunFolder]:
    """A folder for this run, removed at the end.

    Raises:
        CacheError: it cannot be made.
    """
    tag = uuid.uuid4().hex[:8]
    path = cache.root / "run" / tag
    try:
        path.mkdir(parents=True)
        sockets = Path(tempfile.mkdtemp(prefix="lab-"))
        (path / "sockets").symlink_to(sockets)
        alive = (path / "alive").open("w")
    except OSError as trouble:
        raise CacheError(
            f"{path}: {trouble.strerror}", hint="point LAB_CACHE at a folder that you may write"
        ) from trouble
    with alive:
        fcntl.flock(alive, fcntl.LOCK_EX)
        try:
            yield RunFolder(tag, path, sockets)
        finally:
            shutil.rmtree(sockets, ignore_errors=True)
            shutil.rmtree(path, ignore_errors=True)


def leftovers(cache: Cache) -> tuple[Leftover, ...]:
    """The folders of runs that are no more."""
    found = []
    for path in sorted((cache.root / "run").glob("*")):
        if path.is_dir() and not _alive(path):
            size = sum(member.lstat().st_blocks * 512 for member in path.rglob("*"))
            found.append(Leftover(path.name, path, _processes_of(path), size))
    return tuple(found)


def sweep(leftover: Leftover) -> None:
    """Kill what still runs for it (only processes that name its folder), then remove its folders."""
    for process in _processes_of(leftover.path):
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    link = leftover.path / "sockets"
    if link.is_symlink():
        shutil.rmtree(os.readlink(link), ignore_errors=True)
    shutil.rmtree(leftover.path, ignore_errors=True)


def _alive(path: Path) -> bool:
    try:
        with (path / "alive").open() as alive:
            fcntl.flock(alive, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        # The run is between making its folder and its lock; only an old folder without a lock is a ruin.
        return False
    except BlockingIOError:
        return True
    return False


def _processes_of(path: Path) -> tuple[int, ...]:
    link = path / "sockets"
    names = [os.fsencode(path) + b"/", *([os.fsencode(os.readlink(link)) + b"/"] if link.is_symlink() else [])]
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words = (folder / "cmdline").read_bytes()
            program = words.partition(b"\0")[0].rpartition(b"/")[2]
            if program in {b"qemu-system-x86_64", b"ssh", b"qemu-img"} and any(
                name in words for name in names
            ):
                found.append(int(folder.name))
    return tuple(found)
