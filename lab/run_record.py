"""The record of a run: a folder whose ``run.jsonl`` is the truth, readable at any moment, also after ``kill -9``.

::

    reports/
      latest -> 20261122-143015-quick      relative, repointed when a run starts
      20261122-143015-quick/
        run.jsonl                          one JSON object a line: {"at": ..., "event": ..., ...}
        matrix.json matrix.md matrix.html  written from run.jsonl at the end
        evidence/<cell>/                   what each cell left behind

Lines of ``run.jsonl``, by ``event``: ``run`` (the first line), ``planned``, ``started``, ``verdict``, ``host``,
``accelerator``, ``finished``; a reader passes over any other.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from lab.errors import LabError, UnknownNameError, UsageError
from lab.events import Event
from lab.matrix.merge import weakest_accelerator
from lab.matrix.model import NO_VERDICT, HostFacts, Matrix, MatrixCell, RunFacts
from lab.verdict import Outcome

__all__ = ["PlannedCell", "RecordError", "RunRecord", "read_matrix", "resolve_run"]

FILE = "run.jsonl"
LATEST = "latest"
SCHEMA = "lab.run/1"

_log = logging.getLogger(__name__)


class RecordError(LabError, OSError):
    """A run's folder cannot be written, or is not one that can be read."""


class PlannedCell(Protocol):
    """What is known of a cell before it runs; ``lab.scenario.cell.Cell`` is one."""

    @property
    def id(self) -> str: ...
    @property
    def scenario(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def axes(self) -> Mapping[str, str]: ...


class RunRecord:
    """An open record. Safe to append to from threads, and from several processes that each open it."""

    def __init__(self, folder: Path) -> None:
        """Open what :meth:`create` made, or what another process of the same run made.

        Raises:
            RecordError: the folder cannot be written.
        """
        self.folder = folder
        self._lock = threading.Lock()
        try:
            self._file = os.open(folder / FILE, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
            size = os.fstat(self._file).st_size
            self._torn = size > 0 and os.pread(self._file, 1, size - 1) != b"\n"
        except OSError as broken:
            raise _unwritable(folder / FILE, broken) from broken

    @classmethod
    def create(
        cls,
        reports: Path,
        *,
        command: str,
        revision: str,
        run_id: str | None = None,
        started: datetime | None = None,
    ) -> RunRecord:
        """Make a folder of its own under ``reports`` and point ``latest`` at it.

        Raises:
            UsageError: ``run_id`` is no folder name, or there is such a run already.
            RecordError: the folder cannot be written (permissions, disk full).
        """
        started = (started or datetime.now(UTC)).astimezone(UTC)
        if run_id is not None and (not re.fullmatch(r"[\w.+-]{1,100}", run_id) or run_id.strip(".") in {"", LATEST}):
            raise UsageError(f"run id {run_id!r}: not a folder name of letters, digits, '.', '_', '+' and '-'")
        name = run_id or f"{started:%Y%m%d-%H%M%S}-{_label(command)}"
        try:
            reports.mkdir(parents=True, exist_ok=True)
            folder = _claim(reports, name, tries=1 if run_id else 1000)
            (folder / "evidence").mkdir()
            _point_latest(reports, folder.name)
        except OSError as broken:
            raise _unwritable(reports, broken) from broken
        record = cls(folder)
        at = started.isoformat(timespec="seconds")
        record.append("run", schema=SCHEMA, id=folder.name, started=at, command=command, revision=revision)
        return record

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def id(self) -> str:
        """The run's name: its folder's."""
        return self.folder.name

    def append(self, kind: str, /, **fields: Any) -> None:  # noqa: ANN401 - any JSON; the rest is written as its str
        """Write one line whole, with one ``write``: the page cache has it, so it outlives this process.

        Raises:
            RecordError: it could not be written; a torn piece of it is closed off by the next line.
        """
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = json.dumps(dict(at=now, event=kind, **fields), ensure_ascii=False, default=str) + "\n"
        raw = line.encode("utf-8", "backslashreplace")  # a lone surrogate becomes \udcXX, which JSON reads back
        with self._lock:
            raw = b"\n" + raw if self._torn else raw
            try:
                self._torn = os.write(self._file, raw) != len(raw)
            except OSError as broken:
                raise _unwritable(self.folder / FILE, broken) from broken
            if self._torn:
                raise _unwritable(self.folder / FILE, OSError("the line was cut short"))

    def hear(self, event: Event) -> None:
        """A listener for :func:`lab.events.subscribe`: every event becomes a line."""
        self.append(event.kind, **event.fields)

    def planned(self, cells: Iterable[PlannedCell]) -> None:
        """The cells that are going to run. One that gets no verdict is an error when the record is read."""
        self.append(
            "planned",
            cells=[{"id": c.id, "scenario": c.scenario, "kind": c.kind, "axes": dict(c.axes)} for c in cells],
        )

    def cell_started(self, cell_id: str, /, **fields: Any) -> None:  # noqa: ANN401 - as in append
        """An attempt at a cell begins."""
        self.append("started", id=cell_id, **fields)

    def verdict(self, cell: MatrixCell) -> None:
        """What came of one attempt at a cell. A retry is another verdict; :func:`read_matrix` merges them."""
        self.append("verdict", cell=cell.to_json())

    def host(self, host: HostFacts) -> None:
        """A host came up; told again, the later facts count."""
        self.append("host", host=asdict(host))

    def accelerator(self, name: str, /, **fields: Any) -> None:  # noqa: ANN401 - as in append
        """What runs the hosts: ``tcg``, ``kvm`` or ``hardware``, and why."""
        self.append("accelerator", name=name, **fields)

    def evidence_folder(self, cell_id: str, attempt: int = 1) -> Path:
        """The folder for what an attempt at a cell leaves behind: always the same, and no other cell's.

        Raises:
            RecordError: it cannot be made.
        """
        words = re.sub(r"\.lab\.yaml$", "", cell_id.partition("::")[0].rpartition("/")[2]), cell_id.partition("::")[2]
        readable = re.sub(r"[^A-Za-z0-9._-]+", "-", ".".join(word for word in words if word)).strip(".-")[:80]
        # Two ids can read alike once made safe, or differ only after the cut: the digest keeps them apart.
        digest = hashlib.sha256(cell_id.encode("utf-8", "surrogatepass")).hexdigest()[:8]
        again = f".attempt-{attempt}" if attempt > 1 else ""
        folder = self.folder / "evidence" / f"{readable or 'cell'}-{digest}{again}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as broken:
            raise _unwritable(folder, broken) from broken
        return folder

    def finish(self, seconds: float) -> None:
        """The run is over, after ``seconds`` of wall time; the record is closed."""
        self.append("finished", seconds=round(seconds, 3))
        self.close()

    def close(self) -> None:
        """Close the file; may be called twice."""
        with self._lock:
            if self._file >= 0:
                os.close(self._file)
                self._file = -1


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


def read_matrix(folder: Path) -> Matrix:
    """The matrix of a record, from ``run.jsonl`` alone. What could not be read is logged as a warning.

    A planned cell without a verdict is an error. Several verdicts of one cell are attempts: the first that is not an
    error counts, and its reason begins with ``flaky: `` when it was not the first of all.

    Raises:
        RecordError: there is no such folder, or it holds no record.
    """
    reading = _Reading()
    for event in _events(folder):
        reading.take(event)
    for problem in reading.problems:
        _log.warning("%s: %s", folder / FILE, problem)
    return reading.matrix(folder)


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
            case "host":
                host = HostFacts(**event["host"])
                self.hosts[host.name] = host
            case "accelerator":
                self.accelerators.append(event["name"])
            case "finished":
                self.seconds = float(event["seconds"])
            case "torn":
                self.problems.append(event["what"])
            case _:
                pass

    def matrix(self, folder: Path) -> Matrix:
        """The whole.

        Raises:
            RecordError: no line said which run this is.
        """
        if not self.run:
            raise RecordError(f"{folder / FILE}: not a record of a run: no line says which run it is")
        run = RunFacts(
            **self.run,
            seconds=self._wall_time() if self.seconds is None else self.seconds,
            accelerator=weakest_accelerator(self.accelerators),
            hosts=tuple(self.hosts.values()),
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


def _claim(reports: Path, name: str, *, tries: int) -> Path:
    """Make the folder; ``mkdir`` decides between two that start in the same second.

    Raises:
        UsageError: there is such a run already.
    """
    for number in range(1, tries + 1):
        folder = reports / (name if number == 1 else f"{name}-{number}")
        try:
            folder.mkdir()
        except FileExistsError:
            continue
        return folder
    raise UsageError(f"{reports / name}: there is such a run already")


def _label(command: str) -> str:
    """What the run is of, for its name: ``compare``, ``prove``, the first scenario file named, or ``run``."""
    if re.match(r"lab (?:-\S+ )*ntfs compare\b", command):
        return "compare"
    if re.match(r"lab (?:-\S+ )*prove\b", command):
        return "prove"
    found = re.search(r"([A-Za-z0-9_-]+)\.lab\.yaml", command)
    return found[1][:40] if found else "run"


def _point_latest(reports: Path, name: str) -> None:
    fresh = reports / f".{LATEST}-{name}"
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(name)
    fresh.replace(reports / LATEST)


def _unwritable(path: Path, broken: OSError) -> RecordError:
    return RecordError(
        f"{path}: cannot be written: {broken.strerror or broken}",
        hint="free some space there, or name another folder with --reports",
    )
