"""What the engine asks of a stage: the seam between cells and the machines on which they are tried. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

from lab.deadline import Deadline
from lab.matrix.model import HostFacts
from lab.ntfs.volumes.recipe import Volume
from lab.scenario.cell import Cell, GuestRequest, HostRequest
from lab.shell import Shell
from lab.verdict import Verdict

__all__ = ["Guest", "Prepared", "Stage"]


class Prepared(Protocol):
    """What was brought up for a cell."""

    @property
    def facts(self) -> Mapping[str, str]:
        """More axes that were learned on the way, such as ``kernel_version``."""


class Guest(Protocol):
    """A running guest, for tests in plain pytest."""

    @property
    def name(self) -> str:
        """The name of its domain."""

    @property
    def shell(self) -> Shell:
        """Runs programs inside; after a move it is still the same guest's."""

    @property
    def testinfra(self) -> Any:  # noqa: ANN401 - testinfra's Host has its modules as attributes that are made at run time
        """A testinfra host bound to the guest."""


class Stage(Protocol):
    """Hosts and guests; one a session, and one a worker of pytest-xdist.

    Whatever a method brings up lives until its context ends, or as long as the stage.
    """

    @property
    def accelerator(self) -> str:
        """What runs the hosts: ``tcg``, ``kvm`` or ``hardware``."""

    def hosts(self) -> tuple[HostFacts, ...]:
        """The hosts that were brought up so far."""

    def plan(self, cells: Sequence[Cell], deadline: Deadline) -> None:
        """Hear which cells will come, and make ahead what takes long. What cannot be made is left to its cell."""

    def prepare(self, cell: Cell, evidence: Path, deadline: Deadline) -> AbstractContextManager[Prepared]:
        """Bring up what the cell needs.

        Raises:
            UnsupportedError: it cannot be done here, and the refusal was seen.
            LabError: trouble of the lab.
            AssertionError: the product failed already.
        """

    def judge(
        self,
        cell: Cell,
        prepared: Any,  # noqa: ANN401 - what this stage's own prepare() gave, of whatever type it knows it by
        evidence: Path,
        deadline: Deadline,
    ) -> Verdict:
        """Put the cell's checks to what was brought up; raises like :meth:`prepare`."""

    def salvage(self, cell: Cell, evidence: Path) -> None:
        """After anything but a pass: collect what explains it. Never raises."""

    def host(self, request: HostRequest, deadline: Deadline) -> HostFacts:
        """A host, brought up on first use; it lives as long as the stage.

        Raises:
            LabError: trouble of the lab.
        """

    def guest(self, host: HostRequest, request: GuestRequest, deadline: Deadline) -> AbstractContextManager[Guest]:
        """A guest that runs on ``host``; raises like :meth:`prepare`."""

    def move(self, guest: Any, target: HostRequest, how: str, deadline: Deadline) -> None:  # noqa: ANN401 - as in judge
        """Move a guest: ``how`` is cold, save-restore or live; raises like :meth:`prepare`."""

    def volume(self, name: str, deadline: Deadline) -> AbstractContextManager[Volume]:
        """The sample volume of that name, as a file that may be changed.

        Raises:
            UnknownNameError: there is no such recipe.
            LabError: it cannot be built.
        """
