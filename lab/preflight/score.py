"""Preflight's answers held against what came of the moves: a confusion table. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from lab.matrix.model import Matrix
from lab.preflight.answer import Decision
from lab.verdict import Outcome

__all__ = ["COLUMNS", "ROWS", "Score", "Scored", "score_of", "scored"]

ROWS = (Decision.GO, Decision.NO_GO, Decision.UNTESTED)
COLUMNS = (Outcome.PASS, Outcome.FAIL, Outcome.UNSUPPORTED)
"""Outcomes that say something about the move; an error or a skip is the lab's."""


@dataclass(frozen=True, slots=True)
class Scored:
    """A migration cell: what preflight said of it, on which rules, and what came of it."""

    cell: str
    said: Decision
    outcome: Outcome
    rules: str = ""


@dataclass(frozen=True, slots=True)
class Score:
    """The confusion table and what it hides. ``unasked`` cells carry no answer, ``unjudged`` no outcome."""

    cells: tuple[Scored, ...]
    unasked: int = 0
    unjudged: int = 0

    @property
    def table(self) -> Mapping[tuple[Decision, Outcome], int]:
        """How many of each; all squares are there."""
        counts = Counter((cell.said, cell.outcome) for cell in self.cells)
        return {(said, outcome): counts[said, outcome] for said in ROWS for outcome in COLUMNS}

    @property
    def false_go(self) -> tuple[Scored, ...]:
        """Said to go, and did not."""
        return tuple(c for c in self.cells if c.said is Decision.GO and c.outcome is not Outcome.PASS)

    @property
    def false_no_go(self) -> tuple[Scored, ...]:
        """Said not to go, and did."""
        return tuple(c for c in self.cells if c.said is Decision.NO_GO and c.outcome is Outcome.PASS)

    def to_json(self) -> dict[str, Any]:
        """The document ``lab.preflight-score/1``."""
        return {
            "schema": "lab.preflight-score/1",
            "table": {said.value: {to.value: self.table[said, to] for to in COLUMNS} for said in ROWS},
            "false_go": [cell.cell for cell in self.false_go],
            "false_no_go": [{"cell": cell.cell, "rules": cell.rules} for cell in self.false_no_go],
            "unasked": self.unasked,
            "unjudged": self.unjudged,
        }


def scored(matrix: Matrix) -> tuple[tuple[Scored, ...], int]:
    """The migration cells of a run that carry preflight's answer, and how many do not."""
    cells = [cell for cell in matrix.cells if cell.kind == "migration"]
    known = {decision.value: decision for decision in ROWS}
    found = tuple(
        Scored(cell.id, known[said], cell.outcome, cell.axes.get("preflight_rules", ""))
        for cell in cells
        if (said := cell.axes.get("preflight", "")) in known
    )
    return found, len(cells) - len(found)


def score_of(cells: Iterable[Scored], *, unasked: int = 0) -> Score:
    """The score of ``cells``."""
    found = tuple(cells)
    judged = tuple(cell for cell in found if cell.outcome in COLUMNS)
    return Score(judged, unasked, len(found) - len(judged))
