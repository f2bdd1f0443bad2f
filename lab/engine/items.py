"""Scenario files as files of pytest, cells as items with fixtures."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest
from _pytest._code.code import (
    ReprEntryNative,
    ReprExceptionInfo,
    ReprFileLocation,
    ReprTraceback,
    TerminalRepr,
    TracebackStyle,
)

from lab.engine.attempt import Attempt, verdict_of
from lab.engine.configured import settings_of
from lab.engine.expectation import Answer, answer
from lab.engine.names import known_with_hosts
from lab.engine.stash import ATTEMPT, CELL, MISTAKEN, PLACE
from lab.errors import LabError, ScenarioError
from lab.report.sign import broken, words
from lab.scenario.cell import Cell
from lab.scenario.iterations import with_iterations
from lab.scenario.load import Known, load
from lab.scenario.select import order
from lab.scenario.stages import on_stage

__all__ = [
    "CellItem",
    "ProductFailure",
    "ScenarioFile",
    "cells_in",
    "cells_of",
    "file_order",
    "quick_first",
    "speak_failure",
    "speak_trouble",
]


class ProductFailure(AssertionError):  # noqa: N818 - a verdict, not an error
    """The verdict of a cell: the product is wrong, or better than it is said to be."""


def judge_cell(lab_verdict: None) -> None:
    # The body of every cell; CellItem.runtest says what its fixture found. Allure would show a docstring here.
    del lab_verdict


class ScenarioFile(pytest.File):
    """A ``*.lab.yaml``."""

    def collect(self) -> Iterable[pytest.Item]:
        """Its cells, in the file's order.

        Raises:
            CollectError: the file holds mistakes; its text names them all.
        """
        try:
            cells = _as_asked(load(self.path, root=self.config.rootpath, known=_known(self.config)), self.config)
        except ScenarioError as mistakes:
            self.config.stash[MISTAKEN] = True
            raise self.CollectError(str(mistakes)) from None
        for place, cell in enumerate(cells):
            yield CellItem.of(self, cell, place)


class CellItem(pytest.Function):
    """A cell. ``-k`` finds it by its name, and by the kind and the values of all its axes."""

    @classmethod
    def of(cls, parent: ScenarioFile, cell: Cell, place: int) -> CellItem:
        """The item of ``cell``, which is number ``place`` of its file."""
        item: CellItem = cls.from_parent(parent, name=cell.name, callobj=judge_cell)
        item.stash[CELL], item.stash[PLACE] = cell, place
        item.extra_keyword_matches.update((cell.kind, *cell.axes.values()))
        return item

    @property
    def cell(self) -> Cell:
        """What it tries."""
        return self.stash[CELL]

    def runtest(self) -> None:
        """Run the body, then say the verdict.

        Raises:
            ProductFailure: the product is wrong.
        """
        super().runtest()
        attempt = self.stash[ATTEMPT]
        speak_failure(attempt)

    def reportinfo(self) -> tuple[os.PathLike[str] | str, int | None, str]:
        """Where its scenario begins."""
        # Not the bare name: pytest would take its dots for those of a Python path and show them as "::".
        return self.path, self.cell.line - 1, f"cell {self.name}"

    def _repr_failure_py(
        self, excinfo: pytest.ExceptionInfo[BaseException], style: TracebackStyle | None = None
    ) -> TerminalRepr:
        """Verdicts and trouble of the lab in words alone. Overridden, not repr_failure, which setup never asks."""
        trouble = excinfo.value
        attempt = self.stash.get(ATTEMPT, None)
        if isinstance(trouble, ProductFailure):
            return self._in_words(str(trouble))
        evidence = f"\n  evidence: {_shown(attempt.evidence)}" if attempt is not None else ""
        if isinstance(trouble, LabError):
            return self._in_words(f"{trouble}{evidence}")
        if attempt is not None and trouble is attempt.trouble:
            return self._in_words(f"{verdict_of(trouble).reason}\n  its traceback is kept with the evidence{evidence}")
        return super()._repr_failure_py(excinfo, style)

    def _in_words(self, text: str) -> TerminalRepr:
        """``text`` in the form that JUnit, xdist and the short summary take apart: its first line is the message."""
        crash = ReprFileLocation(str(self.path), self.cell.line, text.partition("\n")[0])
        body = ReprTraceback([ReprEntryNative([f"{text}\n"])], None, style="native")
        return ReprExceptionInfo(reprtraceback=body, reprcrash=crash)


def speak_failure(attempt: Attempt) -> None:
    """Do nothing for a verdict that is not a failure.

    Raises:
        ProductFailure: it is one; the message names the checks that broke.
    """
    cell = attempt.conclude()
    if answer(cell) is Answer.FAIL:
        lines = [f"{words(cell)}: {cell.reason}" if cell.reason else words(cell)]
        lines += [f"  {check}" for check in broken(cell)]
        raise ProductFailure("\n".join([*lines, f"  evidence: {_shown(attempt.evidence)}"]))


def speak_trouble(attempt: Attempt) -> None:
    """Do nothing for a verdict about the product.

    Raises:
        Skipped: the verdict is a refusal, or what was expected or accepted.
        Exception: it is trouble of the lab; the trouble itself.
    """
    cell = attempt.conclude()
    match answer(cell):
        case Answer.SKIP:
            raise pytest.skip.Exception(f"{words(cell)}: {cell.reason}", _use_item_location=True)
        case Answer.ERROR:
            raise attempt.trouble or LabError(cell.reason)
        case Answer.PASS | Answer.FAIL:
            pass


def quick_first(items: list[pytest.Item]) -> None:
    """Put the cells among ``items`` in the order in which quick verdicts come first; other tests keep their places."""
    slots = [index for index, item in enumerate(items) if CELL in item.stash]
    by_id = {items[index].stash[CELL].id: items[index] for index in slots}
    if len(by_id) < len(slots):  # --keep-duplicates: the same cell twice; leave what the user asked for
        return
    for index, cell in zip(slots, order([items[index].stash[CELL] for index in slots]), strict=True):
        items[index] = by_id[cell.id]


def file_order(items: Sequence[pytest.Item]) -> tuple[Cell, ...]:
    """The cells among ``items``, file by file, each file in its own order: as reports show them."""
    cells = [(item.stash[CELL], item.stash[PLACE]) for item in items if CELL in item.stash]
    return tuple(cell for cell, _ in sorted(cells, key=lambda pair: (pair[0].path, pair[1])))


def cells_of(ids: Sequence[str], config: pytest.Config) -> tuple[Cell, ...]:
    """The cells of these ids, file by file, each file in its own order. Ids of other tests are passed over.

    Raises:
        ScenarioError: a file has changed since it was collected, and now holds mistakes.
    """
    wanted = {node_id for node_id in ids if ".lab.yaml::" in node_id}
    files = {node_id.partition("::")[0] for node_id in wanted}
    return tuple(cell for cell in cells_in(files, config) if cell.id in wanted)


def cells_in(files: Iterable[str], config: pytest.Config) -> tuple[Cell, ...]:
    """All cells of these files, which are named as in ids: file by file, each in its own order.

    Raises:
        ScenarioError: a file cannot be read or holds mistakes.
    """
    root, known = config.rootpath, _known(config)
    return tuple(
        cell for file in sorted(files) for cell in _as_asked(load(root / file, root=root, known=known), config)
    )


def _known(config: pytest.Config) -> Known:
    """The names that scenario files may use in this session."""
    return known_with_hosts(settings_of(config).hosts)


def _as_asked(cells: Iterable[Cell], config: pytest.Config) -> tuple[Cell, ...]:
    """The cells of a file as the command line wants them.

    Raises:
        ScenarioError: one of them cannot be so.
    """
    return with_iterations(on_stage(cells, config.getoption("lab_stage")), config.getoption("lab_iterations"))


def _shown(path: Path) -> str:
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)
