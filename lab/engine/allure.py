"""What Allure is told of a cell. The only module that imports allure, and only when its reports are wanted."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from lab.scenario.cell import Cell

__all__ = ["attach", "begin", "describe"]

_MOST = 1 << 20
"""Bytes; a larger file is named, not copied: the record has it once already."""


def begin(config: pytest.Config, folder: Path) -> None:
    """Write Allure's results into ``folder`` from now on, unless the user asked for another, or Allure is absent.

    Its plugin decides when the session is configured, before anybody knows whether there are cells; so it is asked
    once more.
    """
    plugin = config.pluginmanager.get_plugin("allure_pytest")
    if plugin is None or getattr(config.option, "allure_report_dir", None):
        return
    config.option.allure_report_dir = str(folder)
    plugin.pytest_configure(config)


def describe(config: pytest.Config, cell: Cell) -> None:
    """Name the cell's scenario as epic, its kind as feature, its axes as parameters."""
    if not _wanted(config):
        return
    import allure  # noqa: PLC0415 - only when it is wanted

    allure.dynamic.epic(cell.scenario)  # type: ignore[no-untyped-call] # it is typed in parts
    allure.dynamic.feature(cell.kind)  # type: ignore[no-untyped-call] # likewise
    for axis, label in cell.axes.items():
        allure.dynamic.parameter(axis, label)


def attach(config: pytest.Config, evidence: Iterable[Path]) -> None:
    """Attach the evidence of the cell that is running."""
    if not _wanted(config):
        return
    import allure  # noqa: PLC0415 - only when it is wanted

    large = []
    for path in evidence:
        if not path.is_file():
            continue
        if path.stat().st_size <= _MOST:
            kind = "text/plain" if path.suffix in {".log", ".txt", ".jsonl", ""} else None
            name, extension = path.name, path.suffix.lstrip(".")
            allure.attach.file(path, name, kind, extension)  # type: ignore[no-untyped-call] # it is typed in parts
        else:
            large.append(str(path))
    if large:
        allure.attach("\n".join(large), name="larger evidence", attachment_type=allure.attachment_type.TEXT)


def _wanted(config: pytest.Config) -> bool:
    return bool(config.pluginmanager.has_plugin("allure_listener"))
