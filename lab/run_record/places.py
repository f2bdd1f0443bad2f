"""Where records lie, what they are called, and what is said when one cannot be written."""

from __future__ import annotations

import fcntl
from pathlib import Path

from lab.errors import LabError, UnknownNameError

__all__ = ["FILE", "LATEST", "RecordError", "is_being_written", "resolve_run", "unwritable"]

FILE = "run.jsonl"
LATEST = "latest"


class RecordError(LabError, OSError):
    """A run's folder cannot be written, or is not one that can be read."""


def resolve_run(reports: Path, name: str | None) -> Path:
    """The folder of a run: by name, by path, or the latest for ``None``.

    Raises:
        RecordError: there is no run at all.
        UnknownNameError: there is none of that name; the nearest is hinted at.
    """
    runs = {path.parent.name: path.parent for path in sorted(reports.glob(f"*/{FILE}")) if not path.parent.is_symlink()}
    if name is None or name == LATEST:
        latest = reports / LATEST
        if (latest / FILE).is_file():
            return latest.resolve()
        if not runs:
            raise RecordError(f"{reports}: no run is recorded there", hint="`lab run` makes one")
        return runs[max(runs)]
    if name in runs:
        return runs[name]
    if (Path(name) / FILE).is_file():
        return Path(name).resolve()
    raise UnknownNameError("run", name, runs)


def is_being_written(folder: Path) -> bool:
    """Whether a process has the record in ``folder`` open to write; no where the file system knows no locks."""
    try:
        with (folder / FILE).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def unwritable(path: Path, broken: OSError) -> RecordError:
    return RecordError(
        f"{path}: cannot be written: {broken.strerror or broken}",
        hint="free some space there, or name another folder with --reports",
    )
