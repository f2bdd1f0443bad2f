"""Which entries of the cache may go, who holds the others, and their removal."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from lab.cache import Cache, Entry
from lab.deadline import Deadline
from lab.errors import CacheError, DeadlineError
from lab.hosts.living import LiveRun

__all__ = ["Kept", "Pruning", "prune"]

_KEYS = "keys"
"""Every image holds the keys of its cache: they go with all of it, or not at all."""


@dataclass(frozen=True, slots=True)
class Kept:
    """An entry that stays, since ``holder`` uses it: a run, or another process."""

    entry: Entry
    holder: str


@dataclass(frozen=True, slots=True)
class Pruning:
    """What was removed, or would be, and what was not."""

    removed: tuple[Entry, ...]
    kept: tuple[Kept, ...]


def prune(cache: Cache, runs: Sequence[LiveRun], *, unused_for: float, everything: bool, dry: bool) -> Pruning:
    """Remove entries that nobody has wanted for ``unused_for`` seconds; with ``everything`` all, and what is no entry.

    ``runs`` are those that live. With ``dry`` nothing is removed.

    Raises:
        CacheError: an entry cannot be removed.
    """
    removed, kept = [], []
    entries = cache.entries()
    wanted = [entry for entry in entries if everything or (entry.used >= unused_for and entry.kind != _KEYS)]
    for entry in (*wanted, *(_package_states(cache) if everything else ())):
        holder = _remove(cache, entry, runs, dry=dry)
        if holder:
            kept.append(Kept(entry, holder))
        else:
            removed.append(entry)
    if everything and not dry:
        _remove_scraps(cache)
    return Pruning(tuple(removed), tuple(kept))


def _remove(cache: Cache, entry: Entry, runs: Sequence[LiveRun], *, dry: bool) -> str:
    """Who keeps it from going, or an empty string."""
    if entry.kind == _KEYS and runs:
        # Keys are not locked while they are used: a run reads them whenever it opens a connection.
        return f"run {runs[0]}"
    try:
        with cache.alone(entry.kind, entry.key, deadline=Deadline(0)):
            if not dry:
                shutil.rmtree(entry.path)
                entry.path.with_name(f"{entry.key}.birth").unlink(missing_ok=True)
    except DeadlineError:
        return _holder(cache.root / entry.kind / f"{entry.key}.lock", runs)
    except OSError as trouble:
        if isinstance(trouble, CacheError):
            raise
        raise CacheError(f"{entry.path}: cannot be removed: {trouble.strerror}") from trouble
    return ""


def _holder(lock: Path, runs: Sequence[LiveRun]) -> str:
    for run in runs:
        if run.owner is not None and str(lock) in _open_files(run.owner.pid):
            return f"run {run}"
    return "another process of the lab"


def _open_files(pid: int) -> Iterator[str]:
    with suppress(OSError):
        for link in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                yield str(link.readlink())


def _package_states(cache: Cache) -> Iterator[Entry]:
    """Folders of apt's, which are no entries: they are changed in place."""
    for path in sorted((cache.root / "apt").glob("*")):
        if path.is_dir():
            size = sum(member.lstat().st_blocks * 512 for member in path.rglob("*"))
            yield Entry("apt", path.name, path, size, 0.0)


def _remove_scraps(cache: Cache) -> None:
    """Answers of probes and logs of failed builds. The locks stay: to remove one that somebody waits for splits it."""
    for pattern in ("accelerator/*.json", "*/failed-*.log"):
        for file in cache.root.glob(pattern):
            file.unlink(missing_ok=True)
