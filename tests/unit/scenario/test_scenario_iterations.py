"""Moves made as often as somebody says at the command line."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lab.scenario.cell import Cell, MigrationRequest
from lab.scenario.iterations import with_iterations
from lab.scenario.load import parse

TEXT = """\
scenario: moves
hosts: {source: {xen: "4.17"}, target: {xen: "4.20"}}
guests: {web: {release: bookworm, userland: i386}}
migrate: {how: [cold, cold-shared, save-restore, live], iterations: 10}
limits: {cell: 20m, network_gap: 9s}
---
scenario: boots
hosts: {lab: {xen: "4.17"}}
guests: {web: {release: bookworm}}
---
scenario: volumes
hosts: {lab: {xen: "4.20"}}
kernels: [{release: trixie}]
drivers: [ntfs3]
volumes: [clean]
"""


@pytest.fixture
def cells() -> tuple[Cell, ...]:
    return parse(TEXT, path="m.lab.yaml")


def _moves(cells: tuple[Cell, ...]) -> dict[str, tuple[int, float, str]]:
    return {
        cell.axes["how"]: (cell.request.iterations, cell.limits.cell, cell.facts.get("iterations", ""))
        for cell in cells
        if isinstance(cell.request, MigrationRequest)
    }


def test_only_moves_of_running_guests_are_repeated_and_get_the_time_for_it(cells: tuple[Cell, ...]) -> None:
    asked = with_iterations(cells, 30)
    assert _moves(asked) == {
        "cold": (10, 1200.0, ""),
        "cold-shared": (10, 1200.0, ""),
        "save-restore": (30, 3600.0, "30"),
        "live": (30, 3600.0, "30"),
    }
    assert asked[:2] + asked[4:] == cells[:2] + cells[4:]


def test_nothing_else_of_a_cell_changes(cells: tuple[Cell, ...]) -> None:
    before, after = cells[3], with_iterations(cells, 30)[3]
    assert after.id == before.id
    assert after.axes == before.axes
    assert isinstance(after.request, MigrationRequest)
    back = replace(after.request, iterations=10)
    assert replace(after, request=back, facts={}, limits=replace(after.limits, cell=1200.0)) == before


def test_fewer_moves_keep_their_time(cells: tuple[Cell, ...]) -> None:
    assert _moves(with_iterations(cells, 1))["live"] == (1, 1200.0, "1")


@pytest.mark.parametrize("asked", [None, 10])
def test_what_the_scenario_says_stays_where_nobody_says_otherwise(cells: tuple[Cell, ...], asked: int | None) -> None:
    assert with_iterations(cells, asked) == cells
