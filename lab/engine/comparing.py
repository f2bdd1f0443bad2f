"""A user's own volumes before every driver: cells without a scenario file, and without pytest."""

from __future__ import annotations

import dataclasses
import json
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from lab import __version__, events
from lab.cache import Cache
from lab.deadline import Deadline
from lab.engine.alarm import terminate_like_interrupt
from lab.engine.attempt import Attempt
from lab.engine.carried import Earlier, fingerprint_of
from lab.engine.entry import Entry, open_entries
from lab.engine.files import at_fault, moving_seconds
from lab.engine.pairs import Clock, in_pairs
from lab.engine.question import READ, Question, Way
from lab.engine.recalled import PATH, Recalled, testimony_of
from lab.errors import EXIT_LAB, EXIT_PRODUCT, LabError, UnsupportedError
from lab.hosts.run_folder import run_folder
from lab.matrix.model import HostFacts, Matrix, MatrixCell
from lab.matrix.tally import exit_code
from lab.ntfs.checker import Checker
from lab.ntfs.drivers import built_for
from lab.ntfs.foreign import Foreign, admit
from lab.ntfs.images.image import NtfsVolume
from lab.ntfs.ntfsck import ntfsck_if_any
from lab.ntfs.specimen import Specimen
from lab.report.advice import SCHEMA, Advice, advise
from lab.report.progress import Progress
from lab.report.write import write_reports
from lab.run_record import RecordError, RunRecord, read_matrix
from lab.scenario.cell import Cell, GuestRequest, HostRequest, KernelRequest, Limits, NtfsRequest
from lab.scenario.stages import on_stage
from lab.settings import Settings
from lab.staging import Stage

__all__ = ["Compared", "OpenStage", "compare"]

SCENARIO = "ntfs compare"
_PLAN_SECONDS = 3600.0
"""For the images and snapshots of a cold cache, as in lab.engine.run."""

_ADMISSION = 10
"""Times what it takes to copy a volume: three readers read it too, the slowest at 2 MB/s."""

_CHECKER_SECONDS = 300.0
"""To download and unpack it; half a minute, and nothing from then on."""

_BRING_UP_SECONDS = 600.0
"""A bench from a warm cache takes half a minute, on a busy machine some of them."""

_TRIES = 2
"""When the lab was at fault; the first verdict on the product counts."""

_READING, _WRITING = 2, 6
"""How often all of a volume is read in a cell: by the driver and for its digest; after writes by readers, too."""

_ROOMY = 20_000
"""Names from which on the probe's document does not fit a guest of 256 MiB."""

_log = logging.getLogger(__name__)


class OpenStage(Protocol):
    """Opens a stage that knows the user's volumes, such as :func:`lab.stage.open_stage`."""

    def __call__(self, settings: Settings, *, specimens: Sequence[Specimen]) -> AbstractContextManager[Stage]:
        """The stage, up to the end of the ``with``."""
        ...


@dataclass(slots=True)
class Compared:
    """The answer. ``matrix`` and ``folder`` are None where not a single image was there."""

    matrix: Matrix | None = None
    folder: Path | None = None
    advice: list[Advice] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    troubles: list[LabError] = field(default_factory=list)
    interrupted: bool = False

    @property
    def exit_code(self) -> int:
        """1 when a driver is wrong, else the gravest trouble's: 3 before 2, else 0."""
        codes = {trouble.exit_code for trouble in self.troubles}
        codes |= {EXIT_LAB} if self.interrupted else set()
        codes |= {exit_code(self.matrix)} if self.matrix is not None else set()
        return EXIT_PRODUCT if EXIT_PRODUCT in codes else max(codes, default=0)


def compare(
    asked: Question, settings: Settings, *, command: str, progress: Progress, open_stage: OpenStage
) -> Compared:
    """Ask the readers about every volume, show it to every driver, and keep the record of a run.

    What cannot be used is told in ``troubles``; it takes nothing else with it.

    Raises:
        CacheError, RecordError: there is nowhere to work, or nowhere to keep the record.
        UsageError: the run that it is to continue is none that can be.
    """
    recalled = Recalled.find(settings.reports, asked.continues) if asked.continues else None
    with ExitStack() as undo:
        undo.enter_context(terminate_like_interrupt())
        work = undo.enter_context(run_folder(Cache(settings.cache))).fresh_folder("images")
        found = open_entries(asked.images, work, allow_mounted=asked.allow_mounted)
        answer = Compared(troubles=found.troubles, notes=found.notes)
        entries = found.entries
        if not entries:
            return answer
        record = undo.enter_context(RunRecord.create(settings.reports, command=command, revision=_revision()))
        run = _Run(asked, record, progress, answer)
        undo.callback(events.subscribe(record.hear))
        undo.callback(events.subscribe(run.hear))
        begun = time.monotonic()
        try:
            undo.enter_context(progress)
            run.plan(entries)
            if recalled is not None:
                run.recall(recalled)
            with ntfsck_if_any(Cache(settings.cache), Deadline(_CHECKER_SECONDS)) as checker:
                run.admit(work, checker)
            run.try_all(settings, open_stage)
        except KeyboardInterrupt:
            answer.interrupted = True
        except LabError as trouble:
            answer.troubles.append(trouble)
        finally:
            run.finish(time.monotonic() - begun)
        return answer


class _Run:
    """A run in progress: what was planned, and what came of it so far."""

    def __init__(self, asked: Question, record: RunRecord, progress: Progress, answer: Compared) -> None:
        self._asked = asked
        self._earlier: Earlier | None = None
        self._record = record
        self._progress = progress
        self._answer = answer
        self._entries: list[Entry] = []
        self._refused: list[MatrixCell] = []
        self._hosts: dict[str, HostFacts] = {}

    def hear(self, event: events.Event) -> None:
        """Show what is being done."""
        if event.kind == "start":
            self._progress.step(str(event.fields.get("step", "")))
        elif event.kind in {"retry", "repeat on a fresh guest"}:
            self._progress.step(f"again: {event.fields.get('because', event.fields.get('why', ''))}")

    def plan(self, entries: list[Entry]) -> None:
        """Name all cells, before anything is tried."""
        self._entries = entries
        for entry in entries:
            cells = [
                _cell(entry.name, way, self._asked.host, operation)
                for operation in self._asked.operations
                for way in self._asked.ways
            ]
            entry.cells = list(on_stage(cells, self._asked.stage.value))
        planned = [cell for entry in entries for cell in entry.cells]
        self._record.planned(planned, {cell.id: fingerprint_of(cell) for cell in planned})
        if not self._asked.continues:  # then what is carried is no part of the progress
            self._progress.planned(planned)

    def recall(self, recalled: Recalled) -> None:
        """Take over what stands of the run that is continued, and leave only the rest to be tried.

        Before anything takes its time: what is in this record is not lost to the run that continues it.
        """
        self._earlier = recalled.earlier
        groups: dict[bool, list[Cell]] = {True: [], False: []}
        for number, entry in enumerate(self._entries, 1):
            self._progress.counting("looking at what has changed", number, len(self._entries), entry.name)
            if entry.volume is not None:
                with suppress(LabError):  # whoever reads it next says so with its place
                    entry.digest = entry.volume.digest(Deadline(moving_seconds(entry.volume.size)))
                entry.told = recalled.testimony(self._testimony(entry), entry.name, entry.digest)
            groups[entry.told is not None] += entry.cells
        carried = recalled.carry(groups[True], groups[False])
        notes = carried.into(self._record, revision=_revision())
        self._progress.carried(len(carried.cells), recalled.earlier.id, notes)
        standing = {cell.id for cell in carried.cells}
        for entry in self._entries:
            entry.cells = [cell for cell in entry.cells if cell.id not in standing]
            # What readers had trouble with they are asked once more.
            if entry.told is not None and not entry.cells and not entry.told["trouble"]:
                self._hear(entry, entry.told)
        self._progress.planned([cell for entry in self._entries for cell in entry.cells])

    def admit(self, work: Path, checker: Checker | None) -> None:
        """Copy every volume and ask the readers; a row that cannot be tried gets its verdicts at once."""
        volumes = [(entry, entry.volume) for entry in self._entries if entry.volume is not None]
        asked = [(*each, work / f"copy-{n}") for n, each in enumerate(volumes) if not each[0].testimony]
        for entry, volume in volumes:
            if entry.testimony:
                self._let_go(volume.raw, work, [later for _, later, _ in asked])
        with in_pairs([partial(_ask, *each, checker) for each in asked]) as answers:
            for number, ((entry, volume, _), answer) in enumerate(zip(asked, answers, strict=True), 1):
                self._progress.counting("asking the readers", number, len(asked), entry.name)
                self._admit(entry, volume, answer)
                self._let_go(volume.raw, work, [later for _, later, _ in asked[number:]])
        for entry in self._entries:
            if entry.trouble is not None:
                for cell in entry.cells:
                    self._refuse(cell, entry.trouble)

    def _admit(self, entry: Entry, volume: NtfsVolume, answer: Callable[[], Foreign]) -> None:
        try:
            foreign = entry.foreign = answer()
        except Exception as trouble:  # noqa: BLE001 - whatever a volume does to the lab, the others have their rows
            entry.trouble = at_fault(trouble, volume.place)
            self._answer.troubles.append(entry.trouble)
            return
        if foreign.trouble is not None:
            self._answer.troubles.append(foreign.trouble)
        self._hear(entry, {**foreign.testimony, "digest": entry.digest, "fault": foreign.fault})

    def _hear(self, entry: Entry, testimony: Mapping[str, Any]) -> None:
        entry.testimony = testimony
        self._record.append("volume", **testimony)
        self._keep(self._testimony(entry).relative_to(self._record.folder).as_posix(), testimony)

    def _let_go(self, raw: Path, work: Path, later: Iterable[NtfsVolume]) -> None:
        """Remove what the lab itself has unpacked or converted, once everything in it is copied."""
        if raw.is_relative_to(work) and all(each.raw != raw for each in later):
            raw.unlink(missing_ok=True)

    def _keep(self, name: str, document: Mapping[str, Any]) -> None:
        path = self._record.folder / name
        try:
            path.unlink(missing_ok=True)  # it may be a link into the run that this one continues
            path.write_text(json.dumps(document, ensure_ascii=True, indent=1) + "\n", encoding="ascii")
        except OSError as broken:
            raise RecordError(f"{path}: cannot be written: {broken.strerror}", hint="is there room?") from broken

    def _testimony(self, entry: Entry) -> Path:
        return testimony_of(self._record, entry.name)

    def try_all(self, settings: Settings, open_stage: OpenStage) -> None:
        """Every driver on every volume that could be admitted.

        Raises:
            LabError: there is no stage, so nothing can be tried.
        """
        admitted = [(entry, entry.foreign) for entry in self._entries if entry.foreign is not None and entry.cells]
        if admitted:
            self._on_a_stage(admitted, settings, open_stage)
        # Told last: cells that took no time at all would make the progress foretell the same of the others.
        for verdict in self._refused:
            self._progress.verdict(verdict)

    def _on_a_stage(self, admitted: Sequence[tuple[Entry, Foreign]], settings: Settings, open_stage: OpenStage) -> None:
        specimens = [foreign.specimen for _, foreign in admitted]
        memory = 768 if max(len(one.manifest.entries) for one in specimens) > _ROOMY else 256
        with open_stage(settings, specimens=specimens) as stage:
            if self._earlier is not None:
                self._earlier.admit(stage.accelerator)
            self._record.accelerator(stage.accelerator)
            suited = [
                (_suited(cell, memory, foreign.specimen.reading_seconds), entry)
                for entry, foreign in admitted
                for cell in entry.cells
                if not self._pointless(cell, foreign.specimen)
            ]
            # Those that want the same guest one after the other: each change of it costs another one.
            guests = list(dict.fromkeys(_guest(cell) for cell, _ in suited))
            suited.sort(key=lambda each: guests.index(_guest(each[0])))
            foretold = {entry.name: foreign.specimen.usual_seconds for entry, foreign in admitted}
            self._progress.foretold({cell.id: foretold[entry.name] for cell, entry in suited})
            stage.plan([cell for cell, _ in suited], Deadline(_PLAN_SECONDS))
            for cell, entry in suited:
                self._try(stage, cell, self._testimony(entry))

    def _pointless(self, cell: Cell, specimen: Specimen) -> bool:
        """Whether nothing could be learned from writing: of what nobody can read, nobody can say what it has become."""
        if cell.axes["operation"] == READ or not specimen.manifest.is_unsure(""):
            return False
        self._refuse(cell, UnsupportedError("nobody knows what the volume held before", reason="no-truth"))
        return True

    def _try(self, stage: Stage, cell: Cell, testimony: Path) -> None:
        for number in range(1, _TRIES + 1):
            attempt = self._begin(cell, number)
            self._progress.started(cell.id)
            try:
                with attempt.bring_up(stage):
                    attempt.judge()
            except Exception:  # noqa: BLE001 - undoing may fail in any way; the attempt's verdict says so already
                _log.warning("%s: it did not end well", cell.id, exc_info=True)
            except BaseException as interrupt:
                attempt.end_by(interrupt)
                self._conclude(attempt)
                raise
            finally:
                self._note_hosts(stage)
            verdict = self._conclude(attempt, testimony)
            if number == _TRIES or not attempt.worth_another:
                self._progress.verdict(verdict)
                return
            events.emit("retry", id=cell.id, attempt=number + 1, because=verdict.reason)

    def _refuse(self, cell: Cell, trouble: LabError) -> None:
        attempt = self._begin(cell, 1)
        attempt.end_by(trouble)
        self._refused.append(self._conclude(attempt))

    def _begin(self, cell: Cell, number: int) -> Attempt:
        self._record.cell_started(cell.id, attempt=number)
        return Attempt(cell, number, self._record.evidence_folder(cell.id, number), self._record.folder)

    def _conclude(self, attempt: Attempt, testimony: Path | None = None) -> MatrixCell:
        verdict = attempt.conclude()
        if testimony is not None:
            path = testimony.relative_to(self._record.folder).as_posix()
            verdict = dataclasses.replace(verdict, evidence=(*verdict.evidence, path))
        self._record.verdict(verdict)
        return verdict

    def _note_hosts(self, stage: Stage) -> None:
        for host in stage.hosts():
            if self._hosts.get(host.name) != host:
                self._hosts[host.name] = host
                self._record.host(host)

    def finish(self, seconds: float) -> None:
        """End the record, write the reports, say what it all means for each volume."""
        answer = self._answer
        answer.folder = self._record.folder
        try:
            answer.matrix = read_matrix(self._record.folder)
            if not answer.interrupted:
                answer.advice += (_advice(each.testimony, answer.matrix) for each in self._entries if each.testimony)
                for one in answer.advice:
                    self._record.append("advice", **one.to_json())
                self._keep("advice.json", {"schema": SCHEMA, "volumes": [one.to_json() for one in answer.advice]})
            self._record.finish(seconds)
            answer.matrix = read_matrix(self._record.folder)
            write_reports(self._record.folder, answer.matrix)
        except LabError as trouble:
            answer.troubles.append(trouble)


def _ask(entry: Entry, volume: NtfsVolume, folder: Path, checker: Checker | None, clock: Clock) -> Foreign:
    folder.mkdir()
    deadline = Deadline(_ADMISSION * moving_seconds(volume.size), clock)
    with events.step("ask the readers", volume=entry.name):
        entry.digest = volume.digest(deadline)
        return admit(volume, entry.name, folder, deadline, checker)


def _advice(testimony: Mapping[str, Any], matrix: Matrix) -> Advice:
    name = testimony["volume"]
    cells = [cell for cell in matrix.cells if cell.axes.get("volume") == name]
    return advise(name, testimony["state"], cells, testimony["not_judged"], testimony["fault"])


def _guest(cell: Cell) -> tuple[str, str]:
    """Which guest a cell wants: that of its kernel, but one of its own for a driver that is compiled for it."""
    kernel, driver = cell.axes["kernel"], cell.axes["driver"]
    return kernel, driver if driver in {one.name for one in built_for(kernel)} else ""


def _cell(volume: str, way: Way, host: str, operation: str) -> Cell:
    guest = GuestRequest("ntfs", "trixie", "amd64", KernelRequest(way.kernel), system="probe")
    request = NtfsRequest(HostRequest("lab", host), guest, way.driver, volume, operation)
    axes = {
        "host": host,
        "kernel": way.kernel,
        "driver": way.driver,
        "volume": volume,
        "operation": request.operation,
    }
    name = f"{way.driver}-{way.kernel}-{volume}-{request.operation}"
    return Cell(PATH, name, SCENARIO, "ntfs", axes, request)


def _suited(cell: Cell, memory: int, reading: float) -> Cell:
    """The cell with the memory and the time that the volumes need; ``reading`` is for all of one, once."""
    assert isinstance(cell.request, NtfsRequest)  # noqa: S101 - made above
    guest = dataclasses.replace(cell.request.guest, memory=memory)
    request = dataclasses.replace(cell.request, guest=guest)
    times = _READING if request.operation == READ else _WRITING
    return dataclasses.replace(cell, request=request, limits=Limits(cell=times * reading + _BRING_UP_SECONDS))


def _revision() -> str:
    return f"crossroads-lab {__version__}"
