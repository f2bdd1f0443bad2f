"""The reader of ``run.jsonl``: what a run planned, saw and judged, as far as its lines are whole."""

from __future__ import annotations

import json
import logging
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from lab.matrix.merge import weakest_accelerator
from lab.matrix.model import NO_VERDICT, HostFacts, Matrix, MatrixCell, RunFacts
from lab.run_record.places import FILE, RecordError
from lab.verdict import Outcome

__all__ = ["Plan", "Record", "read_matrix", "read_record"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a record says of a cell that it planned. The fingerprint is empty in those of older labs."""

    kind: str
    axes: Mapping[str, str]
    fingerprint: str = ""


@dataclass(frozen=True, slots=True)
class Record:
    """All that a record says. ``plans`` are by the cells' ids; ``files`` are those of the run that it continues."""

    matrix: Matrix
    plans: Mapping[str, Plan]
    files: tuple[str, ...] = ()


def read_matrix(folder: Path) -> Matrix:
    """The matrix of a record, from ``run.jsonl`` alone. What could not be read is logged as a warning.

    A planned cell without a verdict is an error. Several verdicts of one cell are attempts: the first that is not an
    error counts, and its reason begins with ``flaky: `` when it was not the first of all.

    Raises:
        RecordError: there is no such folder, or it holds no record.
    """
    return _read(folder).matrix(folder)


def read_record(folder: Path) -> Record:
    """The matrix of a record and what was planned of it; raises like :func:`read_matrix`."""
    reading = _read(folder)
    plans = {
        cell_id: Plan(cell.get("kind", ""), cell.get("axes", {}), cell.get("fingerprint", ""))
        for cell_id, cell in reading.planned.items()
    }
    return Record(reading.matrix(folder), plans, tuple(reading.files))


def _read(folder: Path) -> _Reading:
    reading = _Reading()
    for event in _events(folder):
        reading.take(event)
    for problem in reading.problems:
        _log.warning("%s: %s", folder / FILE, problem)
    return reading


@dataclass(slots=True)
class _Reading:
    """What has been read so far."""

    run: dict[str, Any] = field(default_factory=dict)
    seconds: float | None = None
    last: str = ""
    planned: dict[str, dict[str, Any]] = field(default_factory=dict)
    started: set[str] = field(default_factory=set)
    verdicts: dict[str, list[MatrixCell]] = field(default_factory=lambda: defaultdict(list))
    hosts: dict[str, HostFacts] = field(default_factory=dict)
    past_hosts: list[HostFacts] = field(default_factory=list)
    """Of runs that this one continues; one of the same name may have had other versions then."""
    files: dict[str, None] = field(default_factory=dict)
    accelerators: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def take(self, event: Mapping[str, Any]) -> None:
        """Learn from one line; one that lacks what it must have is a problem, not the end."""
        try:
            self._take(event)
        except (KeyError, TypeError, ValueError) as broken:
            self.problems.append(f"an event {event.get('event')!r} is passed over: {broken!r}")
        self.last = str(event.get("at", self.last))

    def _take(self, event: Mapping[str, Any]) -> None:
        match event.get("event"):
            case "run":
                self.run = self.run or {key: event[key] for key in ("id", "started", "command", "revision")}
            case "planned":
                for cell in event["cells"]:
                    self.planned.setdefault(cell["id"], cell)
            case "started":
                self.started.add(event["id"])
            case "verdict":
                verdict = MatrixCell.from_json(event["cell"])
                self.verdicts[verdict.id].append(verdict)
            case "finished":
                self.seconds = float(event["seconds"])
            case "torn":
                self.problems.append(event["what"])
            case _:
                self._take_ground(event)

    def _take_ground(self, event: Mapping[str, Any]) -> None:
        """What the cells stand on: machines, and a run before."""
        match event.get("event"):
            case "host":
                host = HostFacts(**event["host"])
                if "from" in event:
                    self.past_hosts.append(host)
                else:
                    self.hosts[host.name] = host
            case "accelerator":
                self.accelerators.append(event["name"])
            case "continues":
                self.files.update(dict.fromkeys(event["files"]))
            case _:
                pass

    def matrix(self, folder: Path) -> Matrix:
        """The whole.

        Raises:
            RecordError: no line said which run this is.
        """
        if not self.run:
            raise RecordError(f"{folder / FILE}: not a record of a run: no line says which run it is")
        own = tuple(self.hosts.values())
        # Those of this run come last: of two with one name, readers that keep one keep the later.
        past = dict.fromkeys(host for host in self.past_hosts if host not in own)
        run = RunFacts(
            **self.run,
            seconds=self._wall_time() if self.seconds is None else self.seconds,
            accelerator=weakest_accelerator(self.accelerators),
            hosts=(*past, *own),
        )
        ids = dict.fromkeys((*self.planned, *self.verdicts))
        return Matrix(run, tuple(self._cell(cell_id) for cell_id in ids))

    def _cell(self, cell_id: str) -> MatrixCell:
        if self.verdicts.get(cell_id):
            return _merged(self.verdicts[cell_id])
        plan = self.planned[cell_id]
        when = "during" if cell_id in self.started else "before"
        reason = f"{NO_VERDICT}the run ended {when} this cell"
        return MatrixCell(cell_id, plan["scenario"], plan["kind"], dict(plan["axes"]), Outcome.ERROR, reason=reason)

    def _wall_time(self) -> float:
        """Of a run that never said it finished: up to its last line."""
        try:
            span = datetime.fromisoformat(self.last) - datetime.fromisoformat(self.run["started"])
        except (TypeError, ValueError):
            return 0.0
        return max(0.0, span.total_seconds())


def _merged(attempts: list[MatrixCell]) -> MatrixCell:
    """One cell of its attempts."""
    first = attempts[0]
    chosen = next((cell for cell in attempts if cell.outcome is not Outcome.ERROR), first)
    count = max(len(attempts), *(cell.attempts for cell in attempts))
    if count == 1:
        return first
    reason = chosen.reason
    if chosen is not first:
        reason = f"flaky: attempt 1 was an error: {first.reason}" + (f"; then: {reason}" if reason else "")
    return replace(
        chosen,
        reason=reason,
        attempts=count,
        seconds=sum(cell.seconds for cell in attempts),
        evidence=tuple(dict.fromkeys(path for cell in attempts for path in cell.evidence)),
    )


def _events(folder: Path) -> Iterator[dict[str, Any]]:
    """Every whole line; a line that is none becomes an event ``torn``."""
    try:
        raw = (folder / FILE).read_bytes()
    except FileNotFoundError as missing:
        what = "it has no run.jsonl, so it is not a record of a run" if folder.is_dir() else "no such folder"
        raise RecordError(f"{folder}: {what}", hint="`lab matrix` without a name takes the latest run") from missing
    except OSError as broken:
        raise RecordError(f"{folder / FILE}: cannot be read: {broken.strerror}") from broken
    lines = raw.split(b"\n")
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            event = json.loads(line)
        except ValueError:
            event = None
        if isinstance(event, dict):
            yield event
        else:
            where = "the last line" if number == len(lines) else f"line {number}"
            yield {"event": "torn", "what": f"{where} is torn and passed over: {line[:40]!r}"}
