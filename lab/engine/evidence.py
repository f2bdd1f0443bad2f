"""The evidence of a cell, brought from the folder of one run into that of another."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath

from lab.matrix.model import MatrixCell
from lab.run_record import RecordError

__all__ = ["bring", "is_there"]


def is_there(cell: MatrixCell, folder: Path) -> bool:
    """Whether the run in ``folder`` has all that the cell left behind."""
    return all(place is not None and _is_own(folder / place) for place in _places(cell))


def bring(cell: MatrixCell, source: Path, target: Path) -> None:
    """Put what the cell left behind into another run's folder, under the same names; what is not there is passed over.

    Files are linked where the file system can, for evidence is never changed; either run may be removed.

    Raises:
        RecordError: it cannot be written.
    """
    for place in _places(cell):
        if place is None or not _is_own(source / place) or (target / place).exists():  # cells may share it
            continue
        try:
            _bring(source / place, target / place)
        except OSError as broken:  # what copytree raises gathers others, and is one
            why = broken.strerror or str(broken)
            raise RecordError(f"{target / place}: cannot be written: {why}", hint="free some space there") from broken


def _places(cell: MatrixCell) -> Iterator[PurePosixPath | None]:
    """The cell's folders below ``evidence/``, and files that lie elsewhere; None for a path that leaves the run."""
    yield from dict.fromkeys(_place(PurePosixPath(path)) for path in cell.evidence)


def _place(path: PurePosixPath) -> PurePosixPath | None:
    if path.is_absolute() or ".." in path.parts or not path.parts:
        return None
    return PurePosixPath(*path.parts[:2]) if path.parts[0] == "evidence" else path


def _is_own(path: Path) -> bool:
    return path.exists() and not path.is_symlink()


def _bring(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, symlinks=True, copy_function=_link)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        _link(str(source), str(target))


def _link(source: str, target: str) -> None:
    with suppress(OSError):  # another file system, or one without links
        os.link(source, target, follow_symlinks=False)
        return
    shutil.copy2(source, target)
