"""One reader, run in a process of its own under a deadline: damaged volumes make readers spin or crash."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from lab.deadline import Deadline
from lab.errors import DeadlineError, ImageError, LabError
from lab.ntfs.fuse import can_mount
from lab.ntfs.images.busy import Machine
from lab.ntfs.manifest import Manifest
from lab.ntfs.registry import Registry
from lab.process import last_line, run

__all__ = ["Reader", "Readings", "read_all", "readers"]

_PACKAGE = Path(__file__).parents[3]
"""Where the package ``lab`` lies, for a child that was not started from there."""


@dataclass(frozen=True, slots=True)
class Reader:
    """``module`` is run as ``python -m MODULE VOLUME`` and writes a manifest as JSON.

    ``missing`` says why it cannot run here, or nothing. One that is ``slow`` takes the option ``--only``.
    """

    name: str
    module: str
    description: str
    missing: Callable[[], str]
    slow: bool = False

    def read(self, volume: Path, deadline: Deadline, *, only: frozenset[str] | None = None) -> Manifest:
        """What the reader finds in a raw volume, which it does not change.

        Content that neither is in ``only`` nor below it may be left out, if the reader is slow: a volume of 42,000
        files on which two others agree but for a few would take it a quarter of an hour.

        Raises:
            ImageError: the reader refuses the volume, or dies on it.
            DeadlineError: it does not end in time.
        """
        path = os.pathsep.join(filter(None, (str(_PACKAGE), os.environ.get("PYTHONPATH"))))
        more = ("--only",) if self.slow and only is not None else ()
        wanted = json.dumps(sorted(only)).encode() if more and only is not None else b""
        words = (sys.executable, "-m", self.module, str(volume), *more)
        with _scratch() as folder:
            try:
                said = run(*words, deadline=deadline, env={"PYTHONPATH": path, "TMPDIR": str(folder)}, stdin=wanted)
            except DeadlineError as late:
                raise DeadlineError(f"{volume}: {self.name}: not done within {deadline.seconds:.3g} s") from late
        if not said:
            why = last_line(said.stderr) or f"it ended with status {said.status}"
            raise ImageError(f"{volume}: {self.name}: {why}")
        return Manifest.from_json(json.loads(said.stdout))


@contextmanager
def _scratch() -> Iterator[Path]:
    """A folder for what a reader makes, and mounts; one that was killed has not let go of it."""
    with tempfile.TemporaryDirectory(prefix="lab-reader-", ignore_cleanup_errors=True) as made:
        folder = Path(made).resolve()
        try:
            yield folder
        finally:
            for point in Machine().mounts_below(folder):
                # Not canonicalized: umount(8) would ask the dead daemon for the path, and get no answer.
                run("umount", "--no-canonicalize", "--lazy", point, deadline=Deadline(10))


readers: Registry[Reader] = Registry("reader")


def _no_libfsntfs() -> str:
    return "" if importlib.util.find_spec("pyfsntfs") else "libfsntfs-python is not installed"


def _no_sleuthkit() -> str:
    return "" if _on_path("fls") and _on_path("icat") else "fls and icat (package sleuthkit) are not installed"


def _no_ntfs_3g() -> str:
    return can_mount() or ("" if _on_path("ntfs-3g") else "ntfs-3g is not installed")


def _on_path(program: str) -> bool:
    return shutil.which(program) is not None


readers.add(Reader("libfsntfs", "lab.ntfs.readers.libfsntfs", "by index; the most complete", _no_libfsntfs))
readers.add(Reader("ntfs-3g", "lab.ntfs.readers.ntfs3g", "by index; never the only witness", _no_ntfs_3g))
readers.add(
    Reader("sleuthkit", "lab.ntfs.readers.sleuthkit", "names and bytes; a process a file", _no_sleuthkit, slow=True)
)


@dataclass(frozen=True, slots=True)
class Readings:
    """What each reader said of a volume, or why it said nothing.

    ``silent`` are those among ``refusals`` that gave no answer at all: not installed, or not done in time.
    """

    manifests: Mapping[str, Manifest] = field(default_factory=dict)
    refusals: Mapping[str, str] = field(default_factory=dict)
    silent: frozenset[str] = frozenset()

    def __or__(self, more: Readings) -> Readings:
        """These and ``more``."""
        return Readings(
            {**self.manifests, **more.manifests}, {**self.refusals, **more.refusals}, self.silent | more.silent
        )

    @property
    def answers(self) -> int:
        """How many readers read it or refused it."""
        return len(self.manifests) + len(self.refusals.keys() - self.silent)


def read_all(
    volume: Path,
    deadline: Deadline,
    *,
    names: Iterable[str] = (),
    each: float = 60.0,
    only: frozenset[str] | None = None,
) -> Readings:
    """Every reader (or those of ``names``) on one volume, ``each`` with its own share of the time.

    ``only`` is what is still to be learned, if not all of it.
    """
    manifests: dict[str, Manifest] = {}
    refusals: dict[str, str] = {}
    silent: set[str] = set()
    for reader in [readers[name] for name in names] or readers.values():
        if why := reader.missing():
            refusals[reader.name] = why
            silent.add(reader.name)
            continue
        try:
            manifests[reader.name] = reader.read(volume, deadline.at_most(each), only=only)
        except LabError as refused:
            refusals[reader.name] = refused.message
            if not isinstance(refused, ImageError):
                silent.add(reader.name)
    return Readings(manifests, refusals, frozenset(silent))
