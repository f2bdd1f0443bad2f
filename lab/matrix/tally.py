"""How many of what, and what the command line answers for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from lab.errors import EXIT_LAB, EXIT_PRODUCT
from lab.matrix.model import Matrix, MatrixCell
from lab.verdict import Outcome

__all__ = ["borrowed", "count", "exit_code", "is_product_failure", "sentence", "unexpected_pass"]

_SPOKEN = (Outcome.PASS, Outcome.FAIL, Outcome.ERROR, Outcome.UNSUPPORTED, Outcome.SKIPPED)


def count(cells: Iterable[MatrixCell]) -> Mapping[Outcome, int]:
    """Cells by outcome, every outcome named, best to worst."""
    counts = dict.fromkeys(Outcome, 0)
    for cell in cells:
        counts[cell.outcome] += 1
    return counts


def unexpected_pass(cell: MatrixCell) -> bool:
    """Whether something is said to be broken or refused here, and was not."""
    return cell.outcome is Outcome.PASS and not cell.expected


def is_product_failure(cell: MatrixCell) -> bool:
    """Whether the cell alone makes a run fail: a failure nobody expects, or an expected one that is gone."""
    return (cell.outcome is Outcome.FAIL and not cell.expected) or unexpected_pass(cell)


def exit_code(matrix: Matrix) -> int:
    """1 when the product is not as expected, else 3 when the lab had trouble or nothing was tried, else 0.

    A refusal (unsupported) and a skip are never a failure of the run.
    """
    if any(is_product_failure(cell) for cell in matrix.cells):
        return EXIT_PRODUCT
    if not matrix.cells or any(cell.outcome is Outcome.ERROR for cell in matrix.cells):
        return EXIT_LAB
    return 0


def sentence(matrix: Matrix) -> str:
    """One line: how many cells, and how many of each outcome that occurs.

    >>> sentence(Matrix(run, ()))
    'no cell was planned, so nothing was tried'
    """
    total = len(matrix.cells)
    if not total:
        return "no cell was planned, so nothing was tried"
    counts = count(matrix.cells)
    if counts[Outcome.SKIPPED] == total:
        return f"all {total} cells were skipped, so nothing was tried" if total > 1 else "the one cell was skipped"
    parts = [f"{counts[outcome]} {outcome.value}" for outcome in _SPOKEN if counts[outcome]]
    flaky = sum(cell.flaky for cell in matrix.cells)
    known = sum(cell.outcome is Outcome.FAIL and cell.expected for cell in matrix.cells)
    surprises = sum(unexpected_pass(cell) for cell in matrix.cells)
    parts += [f"{flaky} flaky"] * bool(flaky) + [f"{known} of the failures known"] * bool(known)
    parts += [f"{surprises} unexpected pass" + ("es" if surprises > 1 else "")] * bool(surprises)
    return f"{total} cell{'s' if total > 1 else ''}: {', '.join(parts)}"


def borrowed(matrix: Matrix) -> str:
    """How many cells are of other runs, which this one continues; empty where none is.

    >>> borrowed(matrix)
    '120 of 176 cells are of run 20261122-143015-full'
    """
    origins = Counter(cell.origin for cell in matrix.cells if cell.origin)
    if not origins:
        return ""
    number = origins.total()
    head = f"{number} of {len(matrix.cells)} cells {'is' if number == 1 else 'are'} of"
    if len(origins) == 1:
        return f"{head} run {next(iter(origins))}"
    return f"{head} other runs: {', '.join(f'{each} of {run}' for run, each in origins.items())}"
