"""Faults tried on real guests, to show that each invariant sees its own; and where such guests come from."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from lab.checks.faults import Fault
from lab.checks.invariants import LIVE
from lab.checks.obstacles import Crossing
from lab.checks.proof import Proof, prove, unproven
from lab.deadline import Deadline
from lab.errors import LabError
from lab.events import emit
from lab.kernels.loading import load_modules
from lab.matrix.model import HostFacts
from lab.scenario.cell import (
    Cell,
    GuestRequest,
    HostRequest,
    KernelRequest,
    Limits,
    MigrationRequest,
    ModulesRequest,
)
from lab.settings import Settings
from lab.stage.evidence import keep_journey
from lab.stage.prepared import PreparedMove
from lab.stage.subject import MEASURED, Subject, WatchedGuest, needs_steering
from lab.stage.xen import XenStage, open_stage
from lab.verdict import Outcome

__all__ = ["GUEST", "Ground", "Trials", "open_ground", "rounds"]

GUEST = GuestRequest("web32", "bookworm", "i386", KernelRequest("bookworm"), "pv", 128)
"""The guest of the quick scenario: whoever has run that has its snapshot."""

_SECONDS = 420.0
"""For one fault on a guest that is up. One that reboots takes a minute of it under emulation."""

_BRING_UP_SECONDS = 900.0

_MOVE_LIMIT = 180.0
"""Seconds that a real move may take from a guest: what its length is has invariants of its own."""


class Ground(Protocol):
    """Where guests to try faults on come from."""

    @property
    def accelerator(self) -> str:
        """What runs the hosts: ``tcg``, ``kvm`` or ``hardware``."""
        ...

    def hosts(self) -> tuple[HostFacts, ...]:
        """The hosts that were up so far."""
        ...

    def plan(self, deadline: Deadline) -> None:
        """Make ahead what takes long."""
        ...

    def subject(self, deadline: Deadline) -> AbstractContextManager[Subject]:
        """A fresh guest, gone at the end.

        Raises:
            LabError: it does not come up.
        """
        ...

    def crossing(self, deadline: Deadline) -> AbstractContextManager[Crossing]:
        """A fresh guest and the two hosts that it is to move between, gone at the end.

        Raises:
            LabError: one of them does not come up.
        """
        ...

    def salvage(self, folder: Path) -> None:
        """Collect what explains it. Never raises."""
        ...


def rounds(faults: Sequence[Fault], *, moves: bool) -> tuple[tuple[Fault | None, ...], ...]:
    """Which faults share a guest, and where the control is, None: after all those that can be healed, so that it
    shows that they were. Others need a guest each, and so does everything that really moves.
    """
    lasting = [fault for fault in faults if moves or fault.fatal or needs_steering(fault)]
    shared = [fault for fault in faults if fault not in lasting]
    return ((*shared, None), *((fault,) for fault in lasting))


@dataclass
class Trials:
    """Faults tried one after the other. ``begun`` is told of each before, and answers where its evidence goes."""

    ground: Ground
    begun: Callable[[Fault | None], Path]
    moves: bool = False

    def run(self, faults: Sequence[Fault]) -> Generator[Proof]:
        """What came of each, and of the control, in the order of :func:`rounds`."""
        for group in rounds(faults, moves=self.moves):
            yield from self._share(group)

    def _share(self, group: Sequence[Fault | None]) -> Iterator[Proof]:
        with ExitStack() as life:
            subject: Subject | None = None
            for fault in group:
                folder, begin = self.begun(fault), time.monotonic()
                try:
                    subject = subject or life.enter_context(self.ground.subject(Deadline(_BRING_UP_SECONDS)))
                    seen = subject.try_out(fault, Deadline(_SECONDS))
                    keep_journey(seen, folder / "journey.json")
                    proof = prove(fault, seen, self._limits(fault), time.monotonic() - begin)
                    healed = self._healed(subject, fault)
                except LabError as trouble:
                    proof, healed = unproven(fault, trouble, time.monotonic() - begin), False
                if proof.outcome is not Outcome.PASS:
                    self.ground.salvage(folder)
                if not healed:
                    subject = None
                    life.close()
                yield proof

    def _healed(self, subject: Subject, fault: Fault | None) -> bool:
        """Whether the guest is as before."""
        if fault is None or fault.fatal or needs_steering(fault):
            return False
        try:
            subject.heal(fault, Deadline(_SECONDS))
        except LabError as trouble:
            emit("not healed", fault=fault.name, why=trouble.message)
            return False
        return True

    def _limits(self, fault: Fault | None) -> Limits:
        limits = fault.limits if fault is not None else Limits()
        if not self.moves or (fault is not None and fault.invariant in MEASURED):
            return limits
        return dataclasses.replace(limits, network_gap=_MOVE_LIMIT, guest_pause=_MOVE_LIMIT)


@dataclass
class _XenGround:
    stage: XenStage
    cell: Cell
    moves: bool

    @property
    def accelerator(self) -> str:
        return self.stage.accelerator

    def hosts(self) -> tuple[HostFacts, ...]:
        return self.stage.hosts()

    def plan(self, deadline: Deadline) -> None:
        self.stage.plan((self.cell,), deadline)

    @contextmanager
    def subject(self, deadline: Deadline) -> Iterator[Subject]:
        with self._prepared(deadline) as prepared:
            load_modules(prepared.guest.shell, _MODULES, deadline=deadline)
            yield WatchedGuest(prepared.guest, prepared.target, self.moves)

    @contextmanager
    def crossing(self, deadline: Deadline) -> Iterator[Crossing]:
        with self._prepared(deadline) as prepared:
            yield Crossing(prepared.guest, prepared.source, prepared.target)

    @contextmanager
    def _prepared(self, deadline: Deadline) -> Iterator[PreparedMove]:
        with self.stage.prepare(self.cell, self.stage.folder.path, deadline) as prepared:
            assert isinstance(prepared, PreparedMove)  # noqa: S101 - that is what a request to move is prepared as
            yield prepared

    def salvage(self, folder: Path) -> None:
        self.stage.salvage(self.cell, folder)


_MODULES = ("loop",)
"""One that a fault unloads."""


@contextmanager
def open_ground(settings: Settings, source: str, target: str, *, moves: bool) -> Iterator[Ground]:
    """Guests on an embedded host of version ``source``, with one of version ``target`` beside it."""
    hosts = HostRequest("source", source), HostRequest("target", target)
    request = MigrationRequest(*hosts, GUEST, LIVE, ModulesRequest(load=_MODULES))
    axes = {"source": source, "target": target, "guest": GUEST.name}
    cell = Cell("prove", f"{source}-to-{target}", "prove", LIVE, axes, request)
    with open_stage(settings) as stage:
        yield _XenGround(stage, cell, moves)
