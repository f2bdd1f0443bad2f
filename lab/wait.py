"""The only place that sleeps."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from lab.deadline import Deadline
from lab.errors import DeadlineError

__all__ = ["pause", "wait_until"]

T = TypeVar("T")


def pause(seconds: float) -> None:
    """Sleep; a seam for tests and the one place to look for sleeps."""
    time.sleep(seconds)


def wait_until(
    what: str,
    probe: Callable[[], T | None],
    *,
    deadline: Deadline,
    interval: float = 0.1,
    detail: Callable[[], str] = str,
) -> T:
    """Poll ``probe`` until it returns something truthy, and return that.

    Raises:
        DeadlineError: it never did; ``detail`` adds what was last seen.
    """
    while True:
        found = probe()
        if found:
            return found
        if deadline.expired:
            seen = detail()
            raise DeadlineError(f"{what}: not seen within {deadline.seconds:g} s" + (f"; {seen}" if seen else ""))
        pause(min(interval, deadline.remaining()))
