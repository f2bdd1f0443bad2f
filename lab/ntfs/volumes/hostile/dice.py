"""Chance that is the same for ever: what a seed decides."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TypeVar

__all__ = ["Dice"]

T = TypeVar("T")


class Dice:
    """Numbers and bytes that follow from a seed alone.

    SHAKE-256 and not Python's random: its output is fixed by a standard (FIPS 202), whatever the version of Python.
    """

    def __init__(self, seed: str) -> None:
        self._seed = seed
        self._thrown = 0

    def bytes(self, count: int) -> bytes:
        """``count`` bytes of noise, others each time."""
        self._thrown += 1
        return hashlib.shake_256(f"{self._seed}#{self._thrown}".encode()).digest(count)

    def between(self, low: int, high: int) -> int:
        """A number from ``low`` to ``high``, both included."""
        return low + int.from_bytes(self.bytes(16), "little") % (high - low + 1)

    def pick(self, things: Sequence[T]) -> T:
        """One of ``things``."""
        return things[self.between(0, len(things) - 1)]
