"""The cells as ``matrix.html`` carries them: compact JSON in which every text occurs once. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from lab.matrix.model import Matrix, MatrixCell
from lab.matrix.pivot import NOT_TRIED, Table, axis_values
from lab.report.sign import FLAKY, SIGNS, plain, words
from lab.verdict import Check, Outcome

__all__ = ["BUDGET", "embedded"]

_NO_FIGURES: Mapping[str, str] = MappingProxyType({})

BUDGET = 2_200_000
"""Bytes. With the plain tables beside the cells the page stays below 3 MB."""


def embedded(matrix: Matrix, pivoted: tuple[Table, ...], figures: Mapping[str, str] = _NO_FIGURES) -> tuple[str, str]:
    """The JSON, fit for a script element, and what was left out of it to stay within the budget (empty as a rule).

    ``figures`` are what the page shows of some cells elsewhere, by their ids and in this order; they take their part of
    the budget.
    """
    budget = BUDGET - sum(len(figure) for figure in figures.values())
    text = ""
    for level, left_out in enumerate(("", "the values of checks that passed", "every check that passed")):
        text = _for_script(_Packed(level, figures).page(matrix, pivoted))
        if len(text.encode("utf-8", "backslashreplace")) <= budget:
            return text, left_out
    return text, "every check that passed"


def _for_script(page: Mapping[str, Any]) -> str:
    text = json.dumps(page, ensure_ascii=False, separators=(",", ":"))
    for char in "<>&\u2028\u2029":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return text


class _Packed:
    """Cells as arrays of numbers into a pool of texts. ``level`` is how much of the checks is left out.

    A cell is ``[file, name, outcome, words, reason, flags, seconds, attempts, [axis value...], [check...],
    [folder, file, ...]]``, and then the number of its figure if it has one; a flag is 1 for flaky, 2 for as expected;
    matrix.js takes it apart again.
    """

    def __init__(self, level: int, figures: Mapping[str, str]) -> None:
        self._level = level
        self._figures = {cell_id: number for number, cell_id in enumerate(figures)}
        self._texts: dict[str, int] = {}
        self._checks: dict[tuple[int, ...], int] = {}

    def page(self, matrix: Matrix, pivoted: tuple[Table, ...]) -> dict[str, Any]:
        scenarios = [self._scenario(matrix, table) for table in pivoted]
        return {
            "run": matrix.run.id,
            "outcomes": [[o.value, SIGNS[o].glyph] for o in Outcome],
            "flaky": FLAKY.glyph,
            "blank": NOT_TRIED,
            "scenarios": scenarios,
            "checks": list(self._checks),
            "texts": list(self._texts),
        }

    def _scenario(self, matrix: Matrix, table: Table) -> dict[str, Any]:
        # From the matrix, not from the table: the order of cells is what rows and columns are sorted by.
        cells = [c for c in matrix.cells if (c.scenario, c.kind) == (table.scenario, table.kind)]
        axes = list(axis_values(cells))
        return {
            "name": plain(table.scenario),
            "kind": plain(table.kind),
            "axes": axes,
            "rows": [axes.index(axis) for axis in table.layout.rows],
            "columns": [axes.index(axis) for axis in table.layout.columns],
            "cells": [self._cell(cell, axes) for cell in cells],
        }

    def _cell(self, cell: MatrixCell, axes: list[str]) -> list[Any]:
        file, _, name = cell.id.rpartition("::")
        evidence = [part.rpartition("/") for part in cell.evidence]
        return [
            self._text(file),
            plain(name),
            list(Outcome).index(cell.outcome),
            self._text(words(cell)),
            self._text(cell.reason),
            cell.flaky | cell.expected << 1,
            round(cell.seconds, 1),
            cell.attempts,
            [self._text(cell.axes.get(axis, "")) for axis in axes],
            [self._check(check) for check in cell.checks if self._level < 2 or check.outcome is not Outcome.PASS],
            [number for folder, _, name in evidence for number in (self._text(folder), self._text(name))],
            *([self._figures[cell.id]] if cell.id in self._figures else []),
        ]

    def _check(self, check: Check) -> int:
        bare = self._level > 0 and check.outcome is Outcome.PASS
        expected, observed = ("", "") if bare else (check.expected, check.observed)
        row = (self._text(check.name), list(Outcome).index(check.outcome), self._text(expected), self._text(observed))
        return self._checks.setdefault(row, len(self._checks))

    def _text(self, text: str) -> int:
        return self._texts.setdefault(plain(text, keep="\n\t"), len(self._texts))
