from __future__ import annotations

from dataclasses import replace

import pytest

from lab.matrix.model import FROM, Matrix, MatrixCell
from lab.matrix.tally import borrowed, count, exit_code, sentence
from lab.verdict import Outcome
from tests.unit.report.example import RUN, all_skipped, empty, example

CELL = MatrixCell("x::1", "s", "boot", {}, Outcome.PASS)


def _matrix(*cells: tuple[Outcome, bool]) -> Matrix:
    return Matrix(RUN, tuple(replace(CELL, outcome=outcome, expected=expected) for outcome, expected in cells))


@pytest.mark.parametrize(
    ("cells", "code"),
    [
        ([(Outcome.PASS, True)], 0),
        ([(Outcome.FAIL, False)], 1),
        ([(Outcome.FAIL, True), (Outcome.PASS, True)], 0),
        ([(Outcome.PASS, False)], 1),
        ([(Outcome.ERROR, True)], 3),
        ([(Outcome.ERROR, False), (Outcome.FAIL, False)], 1),
        ([(Outcome.UNSUPPORTED, True), (Outcome.UNSUPPORTED, False)], 0),
        ([(Outcome.SKIPPED, True)], 0),
        ([], 3),
    ],
)
def test_exit_code(cells: list[tuple[Outcome, bool]], code: int) -> None:
    assert exit_code(_matrix(*cells)) == code


def test_every_outcome_is_counted() -> None:
    assert {outcome.value: number for outcome, number in count(example().cells).items()} == {
        "pass": 10,
        "skipped": 1,
        "unsupported": 2,
        "fail": 4,
        "error": 1,
    }


def test_the_count_is_a_sentence() -> None:
    assert sentence(example()) == (
        "18 cells: 10 pass, 4 fail, 1 error, 2 unsupported, 1 skipped, 1 flaky, 1 of the failures known, "
        "1 unexpected pass"
    )
    assert sentence(empty()) == "no cell was planned, so nothing was tried"
    assert sentence(all_skipped()) == "all 2 cells were skipped, so nothing was tried"
    assert sentence(_matrix((Outcome.SKIPPED, True))) == "the one cell was skipped"
    assert sentence(_matrix((Outcome.PASS, True))) == "1 cell: 1 pass"


@pytest.mark.parametrize(
    ("origins", "said"),
    [
        ([], ""),
        ([""], ""),
        (["first", ""], "1 of 2 cells is of run first"),
        (["first", "", "first"], "2 of 3 cells are of run first"),
        (["first", "", "second", "first"], "3 of 4 cells are of other runs: 2 of first, 1 of second"),
    ],
)
def test_cells_of_other_runs_are_counted(origins: list[str], said: str) -> None:
    cells = tuple(replace(CELL, axes={FROM: origin} if origin else {}) for origin in origins)
    assert [cell.origin for cell in cells] == origins
    assert borrowed(Matrix(RUN, cells)) == said
