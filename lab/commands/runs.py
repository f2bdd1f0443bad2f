"""Runs by the names that users give them: a run's name or folder, a matrix.json, or nothing for the latest."""

from __future__ import annotations

from pathlib import Path

from lab.matrix.model import Matrix
from lab.report.document import read
from lab.run_record import read_matrix, resolve_run
from lab.settings import Settings

__all__ = ["folder_of", "matrix_of"]


def matrix_of(name: str | None, reports: Path | None) -> Matrix:
    """The matrix that a user names.

    Raises:
        UnknownNameError: there is no such run.
        UsageError: the file holds something else.
        RecordError: the record cannot be read.
    """
    if name is not None and Path(name).is_file():
        return read(Path(name))
    return read_matrix(folder_of(name, reports))


def folder_of(name: str | None, reports: Path | None) -> Path:
    """The folder of a run, among those in ``reports`` or where the settings keep them; raises like matrix_of."""
    return resolve_run(reports or Settings.from_environment().reports, name)
