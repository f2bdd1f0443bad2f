"""The report files of a run, written beside its ``run.jsonl``: each one whole or not at all."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from lab.matrix.model import Matrix
from lab.report import document, html, markdown
from lab.report.downtime import downtimes
from lab.run_record import RecordError

__all__ = ["write_reports"]


def write_reports(record_folder: Path, matrix: Matrix) -> dict[str, Path]:
    """Write ``matrix.json``, ``matrix.md`` and ``matrix.html``; the answer names them by ``json``, ``md``, ``html``.
    Downtimes are shown from the evidence in the folder.

    Raises:
        RecordError: a file cannot be written; the older one, if any, is as it was.
    """
    measured = downtimes(record_folder, matrix)
    texts = {
        "json": document.render(matrix),
        "md": markdown.render(matrix, measured=measured),
        "html": html.render(matrix, measured),
    }
    return {name: _write(record_folder / f"matrix.{name}", text) for name, text in texts.items()}


def _write(path: Path, text: str) -> Path:
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        # Half a surrogate pair, off a hostile volume, is written as \\udcXX: valid in JSON, readable elsewhere.
        fresh.write_bytes(text.encode("utf-8", "backslashreplace"))
        fresh.replace(path)
    except OSError as broken:
        with contextlib.suppress(OSError):
            fresh.unlink()
        raise RecordError(
            f"{path}: cannot be written: {broken.strerror}", hint="free some space there, then run `lab matrix` again"
        ) from broken
    return path
