"""Under which keys pytest's nodes and configuration hold what is the lab's. Light: every session imports it."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:  # every session of every user imports this module
    from lab.engine.attempt import Attempt
    from lab.engine.continuing import Continuation
    from lab.engine.run import LabRun
    from lab.scenario.cell import Cell

__all__ = ["ATTEMPT", "CELL", "CONTINUED", "KEPT", "MISTAKEN", "PLACE", "RUN", "SUFFIX"]

SUFFIX = ".lab.yaml"
"""How the names of scenario files end."""

CELL: pytest.StashKey[Cell] = pytest.StashKey()
"""Of an item: its cell. Items without it are none of the lab's."""

CONTINUED: pytest.StashKey[Continuation] = pytest.StashKey()
"""Of the configuration: the run that this one continues, if it does."""

KEPT: pytest.StashKey[ExitStack] = pytest.StashKey()
"""Of the configuration: what takes down the guests of a plain test that failed, once somebody has looked at them.

It is there from when a stage is opened that is to be kept until the first such test; for more there is no memory.
"""

MISTAKEN: pytest.StashKey[bool] = pytest.StashKey()
"""Of the configuration: a scenario file holds mistakes."""

PLACE: pytest.StashKey[int] = pytest.StashKey()
"""Of a cell's item: its number in its file, whatever order it runs in."""

ATTEMPT: pytest.StashKey[Attempt] = pytest.StashKey()
"""Of an item that runs: the attempt that is going on."""

RUN: pytest.StashKey[LabRun] = pytest.StashKey()
"""Of the configuration: the run, once one has begun."""
