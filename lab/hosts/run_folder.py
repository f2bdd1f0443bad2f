"""The folder of one live run: what must go when the run is over, and what `lab clean` finds when it was killed."""

from __future__ import annotations

import fcntl
import itertools
import json
import os
import shlex
import shutil
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from lab.cache import Cache
from lab.deadline import Deadline
from lab.errors import CacheError
from lab.hosts.mounts import remove
from lab.hosts.processes import Process, end, naming

__all__ = [
    "Leftover",
    "Owner",
    "Place",
    "RunFolder",
    "is_alive",
    "leftovers",
    "run_folder",
    "run_folders",
    "sockets_of",
    "sweep",
]

_PREFIX = "lab-"
_YOUNG_SECONDS = 60.0
"""A folder without its lock is one that is being made or removed, unless it has been so for long."""


@dataclass(frozen=True, slots=True)
class Owner:
    """The process that a run belongs to. ``started`` is :attr:`lab.hosts.processes.Process.started`."""

    pid: int
    started: int
    since: float
    """Seconds since the epoch."""
    command: str

    @classmethod
    def here(cls) -> Owner:
        """The process that calls it."""
        process = Process.read(os.getpid())
        words = [os.fsdecode(word) for word in process.words] if process is not None else []
        if len(words) > 1 and Path(words[0]).name.startswith("python") and not words[1].startswith("-"):
            words = [Path(words[1]).name, *words[2:]]
        return cls(os.getpid(), process.started if process is not None else 0, time.time(), shlex.join(words))

    @classmethod
    def of(cls, path: Path) -> Owner | None:
        """Who made the run folder ``path``; None if it does not say."""
        with suppress(OSError, ValueError, TypeError):
            return cls(**json.loads((path / "owner.json").read_text(encoding="utf-8")))
        return None

    @property
    def process(self) -> Process | None:
        """The process itself, if it still runs: never another one that has its number by now."""
        found = Process.read(self.pid)
        return found if found is not None and found.started == self.started else None


@dataclass(frozen=True, slots=True)
class Place:
    """Where one machine lives: files in ``folder``, sockets in ``sockets``, whose path is short.

    ``tag`` is that of its run.
    """

    folder: Path
    sockets: Path
    tag: str


@dataclass(frozen=True, slots=True)
class RunFolder:
    """One live run.

    ::

        CACHE/run/TAG/            disks, consoles, logs, the share; on the cache's disk, since disks grow
        CACHE/run/TAG/alive       locked as long as the run lives, also through fork, not through kill -9
        CACHE/run/TAG/owner.json  the process it belongs to
        CACHE/run/TAG/waits       there while the run does nothing but wait for its user
        CACHE/run/TAG/sockets ->  a folder with a short name, since a Unix socket's path has at most 107 bytes
    """

    tag: str
    path: Path
    sockets: Path

    def place(self, name: str) -> Place:
        """Where a machine of that name can live; what an earlier life of it left is gone.

        While one of that name lives, the next gets another folder, which `lab host ls` does not know.
        """
        names = itertools.chain((name,), (f"{name}.{number}" for number in itertools.count(2)))
        folder = next(each for each in names if not (self.sockets / each / "qmp").exists())
        for path in (self.path / folder, self.sockets / folder):
            shutil.rmtree(path, ignore_errors=True)
            path.mkdir()
        return Place(self.path / folder, self.sockets / folder, self.tag)

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
    path = cache.root / "run" / uuid.uuid4().hex[:8]
    with ExitStack() as undo:
        try:
            folder = _make(path, undo)
        except OSError as trouble:
            raise CacheError(
                f"{path}: {trouble.strerror}", hint="point LAB_CACHE at a folder that you may write"
            ) from trouble
        yield folder


def _make(path: Path, undo: ExitStack) -> RunFolder:
    path.mkdir(parents=True)
    # Locked before it has its name: whoever sees it sees it locked.
    alive = undo.enter_context((path / "alive.new").open("w"))
    undo.callback(shutil.rmtree, path, ignore_errors=True)
    fcntl.flock(alive, fcntl.LOCK_EX)
    (path / "alive.new").rename(path / "alive")
    sockets = Path(tempfile.mkdtemp(prefix=_PREFIX))
    undo.callback(shutil.rmtree, sockets, ignore_errors=True)
    # Held open, so that `lab clean` with another cache sees that somebody uses it.
    undo.callback(os.close, os.open(sockets, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
    (path / "sockets").symlink_to(sockets)
    half = path / "owner.json.new"
    half.write_text(json.dumps(asdict(Owner.here())), encoding="utf-8")
    half.rename(path / "owner.json")
    return RunFolder(path.name, path, sockets)


def run_folders(cache: Cache) -> tuple[Path, ...]:
    """The folders of all runs, alive or not."""
    return tuple(path for path in sorted((cache.root / "run").glob("*")) if path.is_dir())


def is_alive(path: Path) -> bool:
    """Whether the run with that folder lives, or may be about to."""
    try:
        with (path / "alive").open() as alive:
            # Shared, so that two who ask at once do not take each other for the run.
            fcntl.flock(alive, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        with suppress(OSError):
            return time.time() - path.stat().st_mtime < _YOUNG_SECONDS
    return False


def sockets_of(path: Path) -> Path | None:
    """The short folder that a run's folder points to."""
    with suppress(OSError):
        folder = (path / "sockets").readlink()
        if folder.name.startswith(_PREFIX):  # what is removed with all that is in it must look like ours
            return folder
    return None


def leftovers(cache: Cache) -> tuple[Leftover, ...]:
    """The folders of runs that are no more."""
    found = []
    for path in run_folders(cache):
        if not is_alive(path):
            pids = tuple(process.pid for process in naming(_folders(path)))
            size = sum(member.lstat().st_blocks * 512 for member in path.rglob("*"))
            found.append(Leftover(path.name, path, pids, size))
    return tuple(found)


def sweep(leftover: Leftover) -> tuple[int, ...]:
    """Kill what still runs for it (only the lab's programs that name its folders), then remove its folders.

    Returns the processes that were killed.

    Raises:
        CacheError: something of it cannot be removed.
    """
    folders = _folders(leftover.path)
    killed = end(naming(folders), deadline=Deadline(10))
    for folder in reversed(folders):
        remove(folder)
    return tuple(process.pid for process in killed)


def _folders(path: Path) -> tuple[Path, ...]:
    sockets = sockets_of(path)
    return (path,) if sockets is None else (path, sockets)
