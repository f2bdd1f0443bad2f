"""NTFS cells tried on another stage than their scenario says."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import pytest

from lab.errors import ScenarioError
from lab.scenario.candidate import MICROVM
from lab.scenario.cell import Cell, NtfsRequest
from lab.scenario.load import parse
from lab.scenario.model import Stage as Known
from lab.scenario.stages import Stage, on_stage

TEXT = """\
scenario: volumes
hosts: {lab: {xen: ["4.17", "4.20"]}}
kernels: [{release: trixie}]
drivers: [ntfs3]
volumes: [clean, dirty]
---
scenario: boots
hosts: {lab: {xen: "4.17"}}
guests: {web: {release: bookworm}}
"""
BOTH = """\
scenario: both
hosts: {lab: {xen: "4.20"}}
stage: [xen, microvm]
kernels: [{release: trixie}]
drivers: [ntfs3]
volumes: [clean]
"""
BARE = """\
scenario: bare
stage: microvm
kernels: [{release: trixie}]
drivers: [ntfs3]
volumes: [clean]
"""


def cells(text: str) -> tuple[Cell, ...]:
    return parse(text, path="s.lab.yaml")


def test_the_stages_are_those_of_scenario_files() -> None:
    assert {stage.value for stage in Stage} == set(get_args(Known))


def test_cells_move_and_keep_their_names_and_what_is_the_same_there_is_tried_once() -> None:
    given = cells(TEXT)
    moved = on_stage(given, "microvm")
    assert [cell.name for cell in given[:4]] == [
        "ntfs3-trixie-clean-read-4.17",
        "ntfs3-trixie-dirty-read-4.17",
        "ntfs3-trixie-clean-read-4.20",
        "ntfs3-trixie-dirty-read-4.20",
    ]
    assert [cell.name for cell in moved] == [given[0].name, given[1].name, given[4].name]
    first = moved[0]
    assert isinstance(first.request, NtfsRequest)
    assert (first.request.stage, first.request.host) == ("microvm", MICROVM)
    assert first.axes == {**given[0].axes, "host": "microvm", "stage": "microvm"}
    # And nothing else of it.
    assert replace(first, request=given[0].request, axes=given[0].axes) == given[0]


def test_other_cells_know_no_stage() -> None:
    given = cells(TEXT)
    assert on_stage(given, "microvm")[-1] is given[-1]
    assert on_stage(given, "xen") == given


@pytest.mark.parametrize("stage", ["xen", "microvm"])
def test_where_a_scenario_has_both_the_cells_of_the_other_go(stage: str) -> None:
    given = cells(BOTH)
    assert on_stage(given, None) == given
    if stage == "xen":
        # A bare guest has no host to go to, but the cell that would be left is there already.
        with pytest.raises(ScenarioError):
            on_stage(given[1:], stage)
    (left,) = on_stage(given, stage)
    assert left.axes["stage"] == stage


def test_a_scenario_without_a_host_cannot_run_on_xen() -> None:
    with pytest.raises(ScenarioError) as caught:
        on_stage(cells(BARE), "xen")
    assert str(caught.value) == (
        "s.lab.yaml:1:1: ntfs3-trixie-clean-read has no Xen host to run on\n"
        '  hint: give its scenario hosts: {lab: {xen: "4.20"}}'
    )
    assert on_stage(cells(BARE), "microvm") == cells(BARE)
