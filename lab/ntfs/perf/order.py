"""In which order drivers take their turns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

__all__ = ["rotated"]

T = TypeVar("T")


def rotated(entrants: Sequence[T], number: int) -> tuple[T, ...]:
    """The order of round ``number``, from 0 on: each round begins with the next one, so that over as many rounds as
    there are entrants each has had every turn, and a machine that gets slower gets slower for all.
    """
    at = number % len(entrants) if entrants else 0
    return (*entrants[at:], *entrants[:at])
