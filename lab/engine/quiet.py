"""pytest's terminal reporter for ``lab run``: silent while the lab's own progress is shown, and about cells."""

from __future__ import annotations

import io
from collections.abc import Generator
from contextlib import suppress
from typing import Any

import pytest
from _pytest._io import TerminalWriter
from _pytest.terminal import TerminalReporter

from lab.engine.stash import SUFFIX

__all__ = ["QuietReporter", "of_cell"]


def of_cell(report: object) -> bool:
    """Whether a report is about a cell or a scenario file."""
    return SUFFIX in str(getattr(report, "nodeid", ""))


class _Nowhere(io.StringIO):
    def write(self, text: str) -> int:
        return len(text)


class QuietReporter(TerminalReporter):  # type: ignore[misc] # final for its types; there is no other way to quiet it
    """Says nothing until the session ends, and then only what is about plain tests."""

    def __init__(self, config: pytest.Config) -> None:
        super().__init__(config)
        self._loud = self._tw
        self._tw = TerminalWriter(_Nowhere())

    @classmethod
    def replace(cls, config: pytest.Config) -> None:
        """Take the place of pytest's own, unless somebody wants to debug or has chosen another."""
        standard = config.pluginmanager.get_plugin("terminalreporter")
        if type(standard) is TerminalReporter and not config.option.usepdb and not config.option.collectonly:
            quiet = cls(config)
            config.pluginmanager.unregister(standard)
            config.pluginmanager.register(quiet, "terminalreporter")

    @pytest.hookimpl(wrapper=True)
    def pytest_sessionfinish(
        self, session: pytest.Session, exitstatus: int | pytest.ExitCode
    ) -> Generator[None, Any, None]:
        """End the silence; what is about cells is said by the matrix and in the door's own words."""
        summary = super().pytest_sessionfinish(session, exitstatus)
        next(summary)
        result = yield
        self._tw = self._loud
        for reports in self.stats.values():
            reports[:] = [report for report in reports if not of_cell(report)]
        with suppress(StopIteration):
            summary.send(result)

    def summary_stats(self) -> None:
        """The line of counts, if there is a plain test to count."""
        if any(reports for kind, reports in self.stats.items() if kind not in {"", "warnings", "deselected"}):
            super().summary_stats()

    def write_sep(self, sep: str, title: str | None = None, fullwidth: int | None = None, **markup: bool) -> None:
        """A headline; not the one that says where junit.xml is, which lies in the record."""
        if not (title or "").startswith("generated xml file"):
            super().write_sep(sep, title, fullwidth, **markup)

    def _report_keyboardinterrupt(self) -> None:
        """Said by the door."""
