"""What killed builds and probes left: half-made cache entries, and short folders in the folder for temporary files."""

from __future__ import annotations

import os
import re
import stat
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from lab.cache import Cache
from lab.deadline import Deadline
from lab.errors import DeadlineError
from lab.hosts.mounts import mounts_in, remove
from lab.hosts.processes import Process, end, naming, processes
from lab.hosts.run_folder import run_folders, sockets_of

__all__ = ["HalfMade", "Stray", "clear", "half_made", "strays", "take_away"]

_BUILDING = ".building"
_STRAY = re.compile(r"lab-(?:ntfs-3g-|doctor-)?[a-z0-9_]{8}")
"""What tempfile makes of the prefixes that the lab gives it; a folder of sockets has none after ``lab-``."""

_YOUNG_SECONDS = 900.0
"""Whoever has just made a folder may not have begun to use it."""


@dataclass(frozen=True, slots=True)
class HalfMade:
    """An entry of the cache that nobody builds any more. ``path`` is its folder, ``*.building``."""

    kind: str
    key: str
    path: Path
    processes: tuple[Process, ...]
    bytes: int


@dataclass(frozen=True, slots=True)
class Stray:
    """A folder for sockets or a mount that belongs to nobody alive; ``processes`` are orphans that still use it."""

    path: Path
    processes: tuple[Process, ...]
    bytes: int


def half_made(cache: Cache) -> tuple[HalfMade, ...]:
    """The entries that killed builders left."""
    found = []
    for path in sorted(cache.root.glob(f"*/*{_BUILDING}")):
        kind, key = path.parent.name, path.name.removesuffix(_BUILDING)
        with suppress(DeadlineError), cache.alone(kind, key, deadline=Deadline(0)):
            found.append(HalfMade(kind, key, path, naming([path]), _size(path)))
    return tuple(found)


def clear(cache: Cache, ruin: HalfMade) -> tuple[int, ...]:
    """Remove it, unless somebody has begun to build it anew; returns the processes that were killed for it.

    Raises:
        CacheError: it cannot be removed.
    """
    with suppress(DeadlineError), cache.alone(ruin.kind, ruin.key, deadline=Deadline(0)):
        killed = end(naming([ruin.path]), deadline=Deadline(10))
        remove(ruin.path)
        return tuple(process.pid for process in killed)
    return ()


def strays(cache: Cache, doomed: Iterable[int] = ()) -> tuple[Stray, ...]:
    """Folders that no run of this cache points to and no live process uses. ``doomed`` are about to be killed."""
    folders = [path for path in _candidates() if path not in {sockets_of(run) for run in run_folders(cache)}]
    if not folders:
        return ()
    everybody, gone = processes(), set(doomed)
    found = []
    for path in folders:
        sockets = _sockets_in(path)
        users = [process for process in everybody if process.uses(path, sockets)]
        held = [process for process in users if process.pid not in gone and not _orphan(process, everybody)]
        if not held and (users or _age(path) > _YOUNG_SECONDS):
            found.append(Stray(path, tuple(users), _size(path)))
    return tuple(found)


def take_away(stray: Stray) -> tuple[int, ...]:
    """Kill the orphans and remove the folder; returns the processes that were killed.

    Raises:
        CacheError: it cannot be removed.
    """
    killed = end((process for process in stray.processes if process.ours), deadline=Deadline(10))
    remove(stray.path)
    return tuple(process.pid for process in killed)


def _candidates() -> Iterator[Path]:
    base = Path(tempfile.gettempdir())
    for path in sorted(base.glob("lab-*")):
        if not _STRAY.fullmatch(path.name):
            continue
        with suppress(OSError):
            status = path.lstat()
            private = stat.S_ISDIR(status.st_mode) and stat.S_IMODE(status.st_mode) == 0o700
            if (private and status.st_uid == os.geteuid() and _ours(path)) or _dead_mount(path):
                yield path


def _ours(path: Path) -> bool:
    """Whether nothing is in it but what the lab puts there: the name alone may be anybody's."""
    if path.name.startswith("lab-doctor-"):
        return True
    known = re.compile(r"config|known_hosts|.*\.(conf|log)")
    members = [member for member in path.rglob("*") if not member.is_dir()]
    return all(member.is_socket() or known.fullmatch(member.name) for member in members)


def _dead_mount(path: Path) -> bool:
    """Of a mounted volume the owner and mode say nothing."""
    return path.name.startswith("lab-ntfs-3g-") and bool(mounts_in(path))


def _orphan(process: Process, everybody: Sequence[Process]) -> bool:
    """Whether it is one of the lab's programs, and the Python that started it is gone."""
    if not process.ours:
        return False
    parent = next((each for each in everybody if each.pid == process.parent), None)
    # Not by the number of its parent: whom orphans are given to differs, and in a container the lab itself may be 1.
    return parent is None or not re.match(r"python|pytest|lab$|tox$", _first(parent))


def _first(process: Process) -> str:
    return os.fsdecode(process.words[0]).rpartition("/")[2] if process.words else ""


def _sockets_in(folder: Path) -> tuple[str, ...]:
    """The sockets bound there, as /proc/PID/fd calls them (proc_net(5))."""
    found = []
    for line in Path("/proc/net/unix").read_text(encoding="utf-8", errors="surrogateescape").splitlines()[1:]:
        fields = line.split(maxsplit=7)
        if len(fields) == 8 and Path(fields[7]).is_relative_to(folder):
            found.append(f"socket:[{fields[6]}]")
    return tuple(found)


def _age(path: Path) -> float:
    return time.time() - path.lstat().st_mtime


def _size(path: Path) -> int:
    if mounts_in(path):
        return 0  # of what is mounted nothing is freed, and a dead FUSE daemon would not answer
    return sum(member.lstat().st_blocks * 512 for member in path.rglob("*"))
