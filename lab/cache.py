"""The cache of things that take minutes to make: content-addressed, complete or absent, safe for two runs at once."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from lab.deadline import Deadline
from lab.errors import CacheError, LabError
from lab.events import step
from lab.wait import wait_until

__all__ = ["Cache", "Entry", "fingerprint"]


def fingerprint(*parts: object) -> str:
    """A short, stable name for what ``parts`` (anything JSON can say) describe."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:20]


@dataclass(frozen=True, slots=True)
class Entry:
    """One finished thing. ``bytes`` is what it takes on disk, ``used`` seconds since it was last wanted."""

    kind: str
    key: str
    path: Path
    bytes: int
    used: float


@dataclass(frozen=True, slots=True)
class Cache:
    """A folder of finished things.

    ::

        ROOT/KIND/KEY/            a finished thing; it is renamed here whole, and never changed again
        ROOT/KIND/KEY.lock        locked alone while it is built or removed, shared while it is used
        ROOT/KIND/KEY.building/   half-made; whoever gets the lock alone may remove it

    A build that is killed leaves only ``KEY.building``, which the next builder removes.
    """

    root: Path

    def folder(self, kind: str, key: str) -> Path:
        """Where the thing is or would be."""
        return self.root / kind / key

    @contextmanager
    def use(
        self, kind: str, key: str, build: Callable[[Path], None], *, deadline: Deadline, title: str = ""
    ) -> Iterator[Path]:
        """The finished thing, built now if it is absent; nobody removes it while the context lasts.

        Raises:
            CacheError: the folder cannot be written, or the disk is full.
        """
        final = self.folder(kind, key)
        with self._locked(kind, key, deadline) as lock:
            if not final.is_dir():
                wait_until(
                    _waiting(final),
                    lambda: _alone_or_built(lock, final),
                    deadline=deadline,
                    interval=0.5,
                )
                if not final.is_dir():
                    with step(f"build {title or kind}", key=key):
                        _build(final, build)
                fcntl.flock(lock, fcntl.LOCK_SH)
            os.utime(final)
            yield final

    @contextmanager
    def alone(self, kind: str, key: str, *, deadline: Deadline) -> Iterator[Path]:
        """Hold the name ``kind``/``key`` against every other run, for state that is changed in place."""
        with self._locked(kind, key, deadline) as lock:
            self._take(lock, fcntl.LOCK_EX, self.folder(kind, key), deadline)
            yield self.folder(kind, key)

    def require(self, mib: int, what: str) -> None:
        """See that ``mib`` MiB are free before something long begins: programs meet a full disk in ways of their own,
        apt-get for one waits for ever.

        Raises:
            CacheError: there is less.
        """
        with _cache_errors(self.root):
            self.root.mkdir(parents=True, exist_ok=True)
            free = shutil.disk_usage(self.root).free >> 20
            if free < mib:
                raise OSError(errno.ENOSPC, f"No space left on device: {what} needs {mib} MiB, and {free} are free")

    def entries(self) -> tuple[Entry, ...]:
        """What is there, largest first."""
        now = time.time()
        found = [
            Entry(path.parent.name, path.name, path, _size(path), now - path.stat().st_mtime)
            for path in self.root.glob("*/*")
            if path.is_dir() and path.parent.name not in ("run", "apt") and not path.name.endswith(".building")
        ]
        return tuple(sorted(found, key=lambda entry: (-entry.bytes, entry.kind, entry.key)))

    def prune(self, *, unused_for: float = 0.0) -> tuple[tuple[Entry, ...], tuple[Entry, ...]]:
        """Remove what nobody has wanted for ``unused_for`` seconds, and what is half-made.

        Returns the removed entries and those that were kept because a run is using them.
        """
        removed: list[Entry] = []
        busy: list[Entry] = []
        for half in self.root.glob("*/*.building"):
            with self._locked(half.parent.name, half.name.removesuffix(".building"), None) as lock:
                if _try(lock, fcntl.LOCK_EX):
                    shutil.rmtree(half, ignore_errors=True)
        for entry in self.entries():
            if entry.used < unused_for:
                continue
            with self._locked(entry.kind, entry.key, None) as lock:
                if _try(lock, fcntl.LOCK_EX):
                    shutil.rmtree(entry.path)
                    removed.append(entry)
                else:
                    busy.append(entry)
        return tuple(removed), tuple(busy)

    @contextmanager
    def _locked(self, kind: str, key: str, deadline: Deadline | None) -> Iterator[IO[str]]:
        path = self.root / kind / f"{key}.lock"
        with _cache_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = path.open("a")
        with lock:
            if deadline is not None:
                self._take(lock, fcntl.LOCK_SH, path, deadline)
            yield lock

    @staticmethod
    def _take(lock: IO[str], mode: int, path: Path, deadline: Deadline) -> None:
        # Going from shared to exclusive drops the lock in between (flock(2)), so the caller looks again afterwards.
        wait_until(_waiting(path), lambda: _try(lock, mode), deadline=deadline, interval=0.5)


def _waiting(path: Path) -> str:
    return f"the end of another run's work on {path}"


def _try(lock: IO[str], mode: int) -> bool:
    try:
        fcntl.flock(lock, mode | fcntl.LOCK_NB)
    except BlockingIOError:
        # A failed conversion has already dropped what was held (flock(2)); a later try starts afresh.
        return False
    return True


def _alone_or_built(lock: IO[str], final: Path) -> bool:
    if _try(lock, fcntl.LOCK_EX):
        return True
    # Whoever has built it meanwhile keeps its lock, shared, as long as it uses the thing: minutes, hours.
    if _try(lock, fcntl.LOCK_SH) and final.is_dir():
        return True
    # Nobody gets it alone while two that wait both hold it shared.
    fcntl.flock(lock, fcntl.LOCK_UN)
    return False


def _build(final: Path, build: Callable[[Path], None]) -> None:
    half = final.with_name(final.name + ".building")
    with _cache_errors(final):
        shutil.rmtree(half, ignore_errors=True)
        half.mkdir(parents=True)
        try:
            build(half)
            half.rename(final)
        except BaseException:
            shutil.rmtree(half, ignore_errors=True)
            raise


@contextmanager
def _cache_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except LabError:
        raise
    except OSError as trouble:
        hint = "point LAB_CACHE at a folder that you may write"
        if trouble.errno == errno.ENOSPC:
            hint = "free some space (`lab clean --all` empties the cache) or point LAB_CACHE at a larger disk"
        raise CacheError(f"{path}: {trouble.strerror or trouble}", hint=hint) from trouble


def _size(path: Path) -> int:
    # Sparse files count by their blocks, which st_blocks gives in units of 512 bytes (stat(2)).
    return sum(member.lstat().st_blocks * 512 for member in path.rglob("*"))
