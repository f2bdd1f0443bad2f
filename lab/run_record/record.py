"""The writer of ``run.jsonl``: one line an event, each of them whole."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import threading
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, Protocol, Self

from lab.errors import UsageError
from lab.events import Event
from lab.matrix.model import HostFacts, MatrixCell
from lab.run_record.places import FILE, LATEST, unwritable

__all__ = ["PlannedCell", "RunRecord"]

SCHEMA = "lab.run/1"

_NONE: Mapping[str, str] = MappingProxyType({})


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
            raise unwritable(folder / FILE, broken) from broken
        # Shared by all that write; is_being_written() asks for it alone. It ends with the process, however that ends.
        with suppress(OSError):
            fcntl.flock(self._file, fcntl.LOCK_SH | fcntl.LOCK_NB)

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
            raise unwritable(reports, broken) from broken
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
                raise unwritable(self.folder / FILE, broken) from broken
            if self._torn:
                raise unwritable(self.folder / FILE, OSError("the line was cut short"))

    def hear(self, event: Event) -> None:
        """A listener for :func:`lab.events.subscribe`: every event becomes a line."""
        self.append(event.kind, **event.fields)

    def planned(self, cells: Iterable[PlannedCell], fingerprints: Mapping[str, str] = _NONE) -> None:
        """The cells that are going to run. One that gets no verdict is an error when the record is read.

        ``fingerprints`` say, by the cells' ids, what each asks for: a run that continues this one compares them.
        """
        self.append(
            "planned",
            cells=[
                {"id": c.id, "scenario": c.scenario, "kind": c.kind, "axes": dict(c.axes)}
                | ({"fingerprint": fingerprints[c.id]} if c.id in fingerprints else {})
                for c in cells
            ],
        )

    def continues(self, run: str, *, files: Sequence[str], carried: int, notes: Sequence[str]) -> None:
        """Of the run ``run``, which was broken off, the verdicts are taken over.

        ``files`` are the scenario files that it was about, ``carried`` is how many verdicts there are, and ``notes``
        say what is not taken over.
        """
        self.append("continues", run=run, files=list(files), carried=carried, notes=list(notes))

    def cell_started(self, cell_id: str, /, **fields: Any) -> None:  # noqa: ANN401 - as in append
        """An attempt at a cell begins."""
        self.append("started", id=cell_id, **fields)

    def verdict(self, cell: MatrixCell) -> None:
        """What came of one attempt at a cell. A retry is another verdict; :func:`read_matrix` merges them."""
        self.append("verdict", cell=cell.to_json())

    def host(self, host: HostFacts, /, **fields: Any) -> None:  # noqa: ANN401 - as in append
        """A host came up; told again, the later facts count. ``from`` names another run, in which it did."""
        self.append("host", host=asdict(host), **fields)

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
            raise unwritable(folder, broken) from broken
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
    """What the run is of, for its name: ``compare``, ``perf``, ``prove``, the first scenario file named, or ``run``."""
    verb = re.match(r"lab (?:-\S+ )*(?:ntfs (compare|perf)|(prove))\b", command)
    if verb:
        return verb[1] or verb[2]
    found = re.search(r"([A-Za-z0-9_-]+)\.lab\.yaml", command)
    return found[1][:40] if found else "run"


def _point_latest(reports: Path, name: str) -> None:
    fresh = reports / f".{LATEST}-{name}"
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(name)
    fresh.replace(reports / LATEST)
