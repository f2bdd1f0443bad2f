"""The record of a run: a folder whose ``run.jsonl`` is the truth, readable at any moment, also after ``kill -9``.

::

    reports/
      latest -> 20261122-143015-quick      relative, repointed when a run starts
      20261122-143015-quick/
        run.jsonl                          one JSON object a line: {"at": ..., "event": ..., ...}
        matrix.json matrix.md matrix.html  written from run.jsonl at the end
        evidence/<cell>/                   what each cell left behind

Lines of ``run.jsonl``, by ``event``: ``run`` (the first line), ``planned``, ``continues``, ``started``, ``verdict``,
``host``, ``accelerator``, ``finished``; a reader passes over any other.
"""

from __future__ import annotations

from lab.run_record.places import RecordError, is_being_written, resolve_run
from lab.run_record.reading import Plan, Record, read_matrix, read_record
from lab.run_record.record import PlannedCell, RunRecord

__all__ = [
    "Plan",
    "PlannedCell",
    "Record",
    "RecordError",
    "RunRecord",
    "is_being_written",
    "read_matrix",
    "read_record",
    "resolve_run",
]
