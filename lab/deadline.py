"""Deadlines: one is made where the limit is known and handed down; nothing below invents its own timeout."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from lab.errors import DeadlineError

__all__ = ["Deadline"]


@dataclass(frozen=True, slots=True)
class Deadline:
    """A moment in monotonic time. ``seconds`` is counted from construction; ``clock`` is injected by tests.

    >>> Deadline(5, clock=lambda: 100.0).remaining()
    5.0
    """

    seconds: float
    clock: Callable[[], float] = time.monotonic
    start: float = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "start", self.clock())

    def remaining(self) -> float:
        """Seconds left, never below zero."""
        return max(0.0, self.start + self.seconds - self.clock())

    @property
    def expired(self) -> bool:
        """Whether no time is left."""
        return self.remaining() <= 0

    def check(self, what: str) -> float:
        """Seconds left.

        Raises:
            DeadlineError: no time is left for ``what``.
        """
        left = self.remaining()
        if left <= 0:
            raise DeadlineError(f"{what}: not done within {self.seconds:g} s")
        return left

    def at_most(self, seconds: float) -> Deadline:
        """A deadline no later than this one and no later than ``seconds`` from now."""
        return Deadline(min(seconds, self.remaining()), self.clock)
