"""A stage without machines, whose cells come out as a script says."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from lab.deadline import Deadline
from lab.events import step
from lab.matrix.model import HostFacts
from lab.ntfs.volumes import Volume, recipes
from lab.scenario.cell import Cell, GuestRequest, HostRequest
from lab.staging import Guest, Prepared
from lab.testing.shell import FakeShell
from lab.verdict import Check, Outcome, Verdict
from lab.wait import pause, wait_until

__all__ = ["PASS", "Act", "FakeGuest", "FakeStage", "failing"]

PASS = Verdict.of([Check.equal("same-boot", "7d0c", "7d0c")])


@dataclass(frozen=True, slots=True)
class Act:
    """What one attempt at a cell does. Each of ``prepare``, ``judge``, ``undo`` is raised where it is not None.

    ``hang`` is ``waiting`` (until the deadline says so) or ``deaf`` (for ever, which only an alarm ends).
    """

    verdict: Verdict = PASS
    prepare: BaseException | None = None
    judge: BaseException | None = None
    undo: BaseException | None = None
    hang: str = ""
    seconds: float = 0.0
    facts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Prepared:
    act: Act

    @property
    def facts(self) -> Mapping[str, str]:
        return self.act.facts


@dataclass(slots=True)
class FakeGuest:
    """A guest that is not there. ``host`` is the name of the one it is on."""

    name: str
    request: GuestRequest
    host: str
    shell: FakeShell = field(default_factory=FakeShell)

    @property
    def testinfra(self) -> Any:  # noqa: ANN401 - as in lab.staging
        """What a test needs of testinfra's host: ``check_output``."""
        return _FakeTestinfra(self.shell)


@dataclass(frozen=True, slots=True)
class _FakeTestinfra:
    shell: FakeShell

    def check_output(self, command: str) -> str:
        """The output of a command that succeeds."""
        return self.shell.run(*command.split(), deadline=Deadline(5)).check().text


@dataclass(slots=True)
class FakeStage:
    """A stage for tests. ``script`` maps a pattern of cell names to acts: one an attempt, the last one repeats.

    Cells that no pattern names pass. ``log`` says what was asked of the stage, in order.
    """

    script: Mapping[str, Act | Sequence[Act]] = field(default_factory=dict)
    accelerator: str = "tcg"
    answers: Mapping[str, str] = field(default_factory=dict)
    folder: Path = Path()
    log: list[str] = field(default_factory=list)
    _attempts: dict[str, int] = field(default_factory=dict)
    _hosts: dict[str, HostFacts] = field(default_factory=dict)

    @contextmanager
    def open(self) -> Iterator[FakeStage]:
        """The stage, until the end of the session."""
        self.log.append("open")
        try:
            yield self
        finally:
            self.log.append("close")

    def hosts(self) -> tuple[HostFacts, ...]:
        """Those that cells and tests asked for."""
        return tuple(self._hosts.values())

    def plan(self, cells: Sequence[Cell], deadline: Deadline) -> None:
        """Nothing takes long here."""

    @contextmanager
    def prepare(self, cell: Cell, evidence: Path, deadline: Deadline) -> Iterator[Prepared]:
        """Bring up nothing, and leave a console log."""
        act = self._next(cell)
        self.log.append(f"prepare {cell.name}")
        with step("bring up", cell=cell.name):
            for request in _hosts_of(cell):
                self.host(request, deadline)
            (evidence / "console.log").write_text(f"booting {cell.name}\n")
            _raise(act.prepare)
        try:
            yield _Prepared(act)
        finally:
            self.log.append(f"undo {cell.name}")
            _raise(act.undo)

    def judge(self, cell: Cell, prepared: Prepared, evidence: Path, deadline: Deadline) -> Verdict:  # noqa: ARG002 - as in Stage
        """Do what the script says."""
        assert isinstance(prepared, _Prepared)  # noqa: S101 - whoever prepared it here made it
        self.log.append(f"judge {cell.name}")
        with step("checks", cell=cell.name):
            act = prepared.act
            if act.hang == "waiting":
                wait_until("the guest answers", lambda: None, deadline=deadline, interval=0.01)
            while act.hang == "deaf":
                pause(0.02)
            begun = time.monotonic()
            while time.monotonic() - begun < act.seconds:
                pause(0.01)
            _raise(act.judge)
            return act.verdict

    def salvage(self, cell: Cell, evidence: Path) -> None:
        """Leave one more file."""
        self.log.append(f"salvage {cell.name}")
        (evidence / "xl-dmesg.log").write_text("(XEN) nothing to see\n")

    def host(self, request: HostRequest, deadline: Deadline) -> HostFacts:
        """A host that is not there."""
        deadline.check(request.name)
        facts = HostFacts(request.name, "embedded", request.xen, "11.3.0", "6.12.57-amd64", "xen-3.0-x86_64")
        return self._hosts.setdefault(request.name, facts)

    @contextmanager
    def guest(self, host: HostRequest, request: GuestRequest, deadline: Deadline) -> Iterator[Guest]:
        """A guest that answers what ``answers`` says."""
        self.host(host, deadline)
        self.log.append(f"guest {request.name} on {host.name}")
        try:
            yield FakeGuest(request.name, request, host.name, FakeShell(dict(self.answers)))
        finally:
            self.log.append(f"undo {request.name}")

    def move(self, guest: Guest, target: HostRequest, how: str, deadline: Deadline) -> None:
        """Move it in name."""
        assert isinstance(guest, FakeGuest)  # noqa: S101 - whoever started it here made it
        self.host(target, deadline)
        self.log.append(f"move {guest.name} to {target.name} {how}")
        guest.host = target.name

    @contextmanager
    def volume(self, name: str, deadline: Deadline) -> Iterator[Volume]:
        """The right manifest, and an empty file."""
        deadline.check(name)
        recipe = recipes[name]
        path = self.folder / f"{name}.img"
        path.touch()
        try:
            yield Volume(path, recipe, recipe.manifest())
        finally:
            path.unlink(missing_ok=True)

    def _next(self, cell: Cell) -> Act:
        number = self._attempts[cell.id] = self._attempts.get(cell.id, 0) + 1
        for pattern, acts in self.script.items():
            if fnmatchcase(cell.name, pattern):
                several = [acts] if isinstance(acts, Act) else list(acts)
                return several[min(number, len(several)) - 1]
        return Act()


def failing(name: str, expected: str, observed: str) -> Act:
    """An act in which one check breaks."""
    return Act(Verdict.of([Check(name, Outcome.FAIL, expected, observed)]))


def _hosts_of(cell: Cell) -> list[HostRequest]:
    if getattr(cell.request, "stage", "xen") != "xen":
        return []
    requests = (getattr(cell.request, role, None) for role in ("host", "source", "target"))
    return [request for request in requests if request is not None]


def _raise(trouble: BaseException | None) -> None:
    if trouble is not None:
        raise trouble
