"""Names that a scenario may use but that live elsewhere: drivers, volumes, operations."""

from __future__ import annotations

from dataclasses import dataclass

from lab.scenario.document import Node
from lab.scenario.mistake import Mistakes, suggest
from lab.scenario.model import NtfsScenario

__all__ = ["Known", "check"]


@dataclass(frozen=True, slots=True)
class Known:
    """The names that exist; the caller takes them from its registries."""

    drivers: frozenset[str]
    volumes: frozenset[str]
    operations: frozenset[str]


def check(scenario: NtfsScenario, known: Known, tree: Node, mistakes: Mistakes) -> None:
    """Report every driver, volume and operation of ``scenario`` that does not exist."""
    for key, named, names in (
        ("drivers", scenario.drivers, known.drivers),
        ("volumes", scenario.volumes, known.volumes),
        ("operations", scenario.operations, known.operations),
    ):
        for index, name in enumerate(named):
            if name not in names:
                hint = suggest(name, names) or f"; known: {', '.join(sorted(names))}"
                mistakes.add(tree.at((key, index)).mark, f"no {key.removesuffix('s')} {name!r}{hint}")
