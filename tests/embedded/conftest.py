"""Real hosts for the tests of this folder: one stage, shared, so that hosts are resumed once."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.scenario.cell import Cell
from lab.scenario.load import load
from lab.settings import Settings
from lab.stage import open_stage
from lab.stage.xen import XenStage

ROOT = Path(__file__).parents[2]
QUICK = ROOT / "scenarios" / "quick.lab.yaml"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here is marked, and asks for root with its reason."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.xen)
            if os.geteuid() != 0:
                item.add_marker(pytest.mark.skip(reason="images are built as root"))


@pytest.fixture(scope="session")
def quick_cells() -> tuple[Cell, ...]:
    return load(QUICK, root=ROOT)


@pytest.fixture(scope="module")
def stage() -> Iterator[XenStage]:
    """A stage of its own for each module: while `lab run` has one, two more hosts would only slow it down."""
    with open_stage(Settings.from_environment()) as opened:
        yield opened
