"""An operation: what a cell does to a volume, as a name in a scenario file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from lab.errors import LabError
from lab.ntfs.manifest import Manifest
from lab.ntfs.operations.layout import Terrain
from lab.ntfs.operations.model import Model
from lab.ntfs.operations.plan import Plan
from lab.ntfs.operations.source import Source
from lab.ntfs.operations.step import Step
from lab.ntfs.registry import Registry

__all__ = ["Operation", "operation", "operations", "table"]

Planner = Callable[[Plan], None]


@dataclass(frozen=True, slots=True)
class Operation:
    """``write`` says whether it changes the volume; ``plan`` adds its steps to a plan."""

    name: str
    description: str
    write: bool = True
    plan: Planner = field(default=lambda plan: None, repr=False)  # noqa: ARG005 - an operation without steps

    def steps(self, manifest: Manifest, terrain: Terrain, source: Source) -> tuple[Step, ...]:
        """What it does to a volume: the same for the same volume.

        A step that cannot be done, because there was no room for one before it, is left out.

        Raises:
            LabError: the content of a target is not what the manifest says.
        """
        plan = Plan(manifest, terrain)
        self.plan(plan)
        model = Model(manifest, source)
        return tuple(step for step in plan.steps if _is_possible(model, step))


def _is_possible(model: Model, step: Step) -> bool:
    try:
        model.do(step)
    except OSError as refused:
        if isinstance(refused, LabError):
            raise
        return False
    return True


operations: Registry[Operation] = Registry("operation")
"""All operations by name; importing :mod:`lab.ntfs.operations` fills it."""


def operation(name: str, description: str) -> Callable[[Planner], Planner]:
    """Register a function as what an operation that writes does."""

    def add(planner: Planner) -> Planner:
        operations.add(Operation(name, description, plan=planner))
        return planner

    return add


def table() -> str:
    """All operations as a Markdown table, for the documentation."""
    rows = (f"| `{one.name}` | {'rw' if one.write else 'ro'} | {one.description} |" for one in operations.values())
    return "\n".join(("| operation | mounts | does |", "|---|---|---|", *rows)) + "\n"
