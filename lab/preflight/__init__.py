"""Preflight: whether a guest can be moved, said in seconds and without moving anything, with every reason.

A survey of each host and of the guest (values), rules over them (pure functions), what past runs saw of such moves,
and a score that holds the answers against what the moves then did.
"""

from __future__ import annotations

from lab.preflight.answer import Answer, Decision, Reason
from lab.preflight.ask import Side, guests_of, preflight, preflight_of
from lab.preflight.move import Move
from lab.preflight.past import Past, past_of
from lab.preflight.reach import way_to
from lab.preflight.score import Score, Scored, score_of, scored

__all__ = [
    "Answer",
    "Decision",
    "Move",
    "Past",
    "Reason",
    "Score",
    "Scored",
    "Side",
    "guests_of",
    "past_of",
    "preflight",
    "preflight_of",
    "score_of",
    "scored",
    "way_to",
]
