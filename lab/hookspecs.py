"""Hooks of the pytest plugin, for tests and for users who bring a stage of their own."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:  # a session without scenarios must not pay for these
    from lab.matrix.model import Matrix
    from lab.scenario.cell import Cell
    from lab.settings import Settings
    from lab.staging import Stage

__all__ = ["pytest_lab_begin", "pytest_lab_finish", "pytest_lab_open_stage"]


@pytest.hookspec(firstresult=True)  # type: ignore[untyped-decorator, unused-ignore] # pluggy's marker returns Any
def pytest_lab_open_stage(
    config: pytest.Config,
    settings: Settings,
    keep: bool,  # noqa: FBT001 - hooks are called by keyword
) -> AbstractContextManager[Stage] | None:
    """The stage on which this process tries its cells; ``keep`` asks it to stay up afterwards."""


def pytest_lab_begin(config: pytest.Config, folder: Path, cells: Sequence[Cell]) -> None:
    """The record at ``folder`` was made and ``cells`` are going to run. Not called in workers of pytest-xdist."""


def pytest_lab_finish(config: pytest.Config, folder: Path, matrix: Matrix) -> None:
    """The run is over and its reports are written. Not called in workers of pytest-xdist."""
