"""In the controller of pytest-xdist, which collects nothing itself: begin the run, and answer for mistakes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from lab.engine.stash import RUN, SUFFIX

__all__ = ["Controller"]


class Controller:
    """A plugin of the controller."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._mistaken = False

    @pytest.hookimpl(optionalhook=True)  # pluggy validates before xdist has declared its hooks
    def pytest_xdist_node_collection_finished(self, node: Any, ids: Sequence[str]) -> None:  # noqa: ANN401 - xdist's own type
        """Begin a run as soon as the first worker has said which cells there are."""
        if RUN in self._config.stash or not any(f"{SUFFIX}::" in node_id for node_id in ids):
            return
        from lab.engine.begin import begin  # noqa: PLC0415 - only where there are cells
        from lab.engine.items import cells_of  # noqa: PLC0415 - likewise

        begin(self._config, cells_of(ids, self._config), session_id=node.workerinput["testrunuid"])

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """A scenario file with mistakes, in a worker."""
        self._mistaken |= report.failed and report.nodeid.endswith(SUFFIX)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Exit as pytest does without xdist, which would call them failed tests."""
        if self._mistaken and session.exitstatus in {
            pytest.ExitCode.TESTS_FAILED,
            pytest.ExitCode.NO_TESTS_COLLECTED,
        }:
            session.exitstatus = pytest.ExitCode.INTERRUPTED
