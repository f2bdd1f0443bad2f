"""Obstacles met in a run of their own: its record, its progress, and ``obstacles.json``."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lab.checks.invariants import LIVE
from lab.checks.obstacles import Obstacle
from lab.checks.setback import Encounter
from lab.engine.lone import REVISION, Answer, LoneRun, OpenGround, run_alone
from lab.errors import EXIT_LAB, EXIT_PRODUCT
from lab.matrix.model import MatrixCell
from lab.report.progress import Progress
from lab.run_record import RunRecord
from lab.settings import Settings
from lab.stage.obstructing import Encounters
from lab.stage.proving import Ground
from lab.verdict import Outcome

__all__ = ["FILE", "Met", "Wanted", "try_obstacles"]

FILE = "obstacles.json"
SCHEMA = "lab.obstacles/1"

_SCENARIO = "obstacles"
_KIND = "prove"


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which obstacles, between hosts of which versions."""

    obstacles: tuple[Obstacle, ...]
    source: str
    target: str
    keep_going: bool = False


@dataclass(slots=True)
class Met(Answer):
    """What came of the obstacles."""

    encounters: list[Encounter] = field(default_factory=list)

    @property
    def exit_code(self) -> int:
        """1 when a check did not hold, else 3 when something was not found out, else 0."""
        outcomes = {encounter.outcome for encounter in self.encounters}
        if Outcome.FAIL in outcomes:
            return EXIT_PRODUCT
        return EXIT_LAB if Outcome.ERROR in outcomes or self.unfinished or not self.encounters else 0

    def to_json(self, wanted: Wanted, command: str) -> dict[str, Any]:
        """The document of ``obstacles.json``."""
        return {
            "schema": SCHEMA,
            "run": self.folder.name,
            "command": command,
            "revision": REVISION,
            "accelerator": self.accelerator,
            "source": wanted.source,
            "target": wanted.target,
            "hosts": [asdict(host) for host in self.hosts],
            "passed": sum(encounter.outcome is Outcome.PASS for encounter in self.encounters),
            "of": len(wanted.obstacles),
            "obstacles": [encounter.to_json() for encounter in self.encounters],
            "untried": list(self.untried),
        }


def try_obstacles(
    wanted: Wanted, settings: Settings, *, command: str, progress: Progress, open_ground: OpenGround
) -> Met:
    """Let a guest meet each obstacle while it moves, and keep the record of a run.

    Raises:
        RecordError: there is nowhere to keep the record.
    """

    def begin(record: RunRecord) -> _Run:
        return _Run(wanted, record, progress)

    return run_alone(begin, settings, command=command, progress=progress, open_ground=open_ground)


class _Run(LoneRun[Met]):
    """A run in progress; the first trouble ends it, unless it is to go on."""

    file = FILE

    def __init__(self, wanted: Wanted, record: RunRecord, progress: Progress) -> None:
        super().__init__(record, progress, Met(record.folder))
        self._wanted = wanted

    def cells(self) -> Sequence[MatrixCell]:
        return [
            MatrixCell(_id(obstacle.name), _SCENARIO, _KIND, self._axes(obstacle.name), Outcome.ERROR)
            for obstacle in self._wanted.obstacles
        ]

    def open(self, settings: Settings, open_ground: OpenGround) -> AbstractContextManager[Ground]:
        return open_ground(settings, self._wanted.source, self._wanted.target, moves=True)

    def try_all(self, ground: Ground) -> None:
        with closing(Encounters(ground, self._begun).run(self._wanted.obstacles)) as encounters:
            for encounter in encounters:
                self.answer.encounters.append(encounter)
                self.judged(self._cell(encounter), ground)
                if encounter.outcome is Outcome.ERROR and not self._wanted.keep_going:
                    break

    def untried(self) -> tuple[str, ...]:
        done = {encounter.obstacle for encounter in self.answer.encounters}
        return tuple(one.name for one in self._wanted.obstacles if one.name not in done)

    def document(self, command: str) -> dict[str, Any]:
        return self.answer.to_json(self._wanted, command)

    def _begun(self, obstacle: Obstacle) -> Path:
        return self.begun(_id(obstacle.name))

    def _axes(self, name: str) -> dict[str, str]:
        return {"obstacle": name, "source": self._wanted.source, "target": self._wanted.target, "how": LIVE}

    def _cell(self, encounter: Encounter) -> MatrixCell:
        name = encounter.obstacle
        return MatrixCell(
            _id(name),
            _SCENARIO,
            _KIND,
            self._axes(name),
            encounter.outcome,
            reason=encounter.reason,
            expected=encounter.outcome is not Outcome.FAIL,
            seconds=encounter.seconds,
            checks=encounter.checks,
            evidence=self.evidence(_id(name)),
        )


def _id(name: str) -> str:
    return f"{_SCENARIO}::{name}"
