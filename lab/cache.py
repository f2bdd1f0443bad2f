"""The cache of things that take minutes to make: content-addressed, complete or absent, safe for two runs at once."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from lab.deadline import Deadline
from lab.errors import CacheError, LabError
from lab.events import step
from lab.wait import wait_until

__all__ = ["Cache", "Entry", "birth", "fingerprint"]


def fingerprint(*parts: object) -> str:
    """A short, stable name for what ``parts`` (anything JSON can say) describe."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def birth(folder: Path) -> str:
    """A name for this very making of a finished thing.

    Two makings of one key are equal in what they are for, but not in their bytes; whatever is a difference to those
    bytes, such as an overlay of a disk, names this in its own key. Empty for what an older version of the lab made.
    """
    try:
        return _birth_of(folder).read_text()
    except FileNotFoundError:
        return ""


def _birth_of(final: Path) -> Path:
    return final.with_name(final.name + ".birth")


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
        ROOT/KIND/KEY.birth       says which making of it this is
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
            while not final.is_dir():
                deadline.check(f"the making of {final}")  # somebody might remove it again and again
                wait_until(_waiting(final), lambda: _alone_or_built(lock, final), deadline=deadline, interval=0.5)
                if not final.is_dir():
                    with step(f"build {title or kind}", key=key):
                        _build(self.root, final, build)
                # On the way from alone to shared the lock is free for a moment (flock(2)), and whoever takes it then
                # may remove the thing.
                self._take(lock, fcntl.LOCK_SH, final, deadline)
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
        with _cache_errors(self.root, self.root):
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

    @contextmanager
    def _locked(self, kind: str, key: str, deadline: Deadline) -> Iterator[IO[str]]:
        path = self.root / kind / f"{key}.lock"
        with _cache_errors(self.root, path):
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = path.open("a")
        with lock:
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


def _build(root: Path, final: Path, build: Callable[[Path], None]) -> None:
    half = final.with_name(final.name + ".building")
    with _cache_errors(root, final):
        shutil.rmtree(half, ignore_errors=True)
        half.mkdir(parents=True)
        try:
            build(half)
            _birth_of(final).write_text(uuid.uuid4().hex)
            half.rename(final)
        except BaseException:
            shutil.rmtree(half, ignore_errors=True)
            raise


@contextmanager
def _cache_errors(root: Path, path: Path) -> Iterator[None]:
    """Turn what the system says while ``path`` is made into a CacheError; advice only where the cache is at fault."""
    try:
        yield
    except LabError:
        raise
    except OSError as trouble:
        elsewhere = _elsewhere(trouble, root)
        if elsewhere:
            raise CacheError(f"{path}: cannot be made: {elsewhere}: {trouble.strerror or trouble}") from trouble
        hint = "point LAB_CACHE at a folder that you may write"
        if trouble.errno == errno.ENOSPC:
            hint = "free some space (`lab clean --all` empties the cache) or point LAB_CACHE at a larger disk"
        raise CacheError(f"{path}: {trouble.strerror or trouble}", hint=hint) from trouble


def _elsewhere(trouble: OSError, root: Path) -> str:
    """The file outside of the cache that it is about; empty if it is one inside, or nobody knows which."""
    named = [os.fsdecode(name) for name in (trouble.filename, trouble.filename2) if isinstance(name, str | bytes)]
    inside = any(Path(name).absolute().is_relative_to(root.absolute()) for name in named)
    return "" if inside or not named else named[0]


def _size(path: Path) -> int:
    # Sparse files count by their blocks, which st_blocks gives in units of 512 bytes (stat(2)).
    return sum(member.lstat().st_blocks * 512 for member in path.rglob("*"))
