"""Signals: the last resort against a cell that outlives its deadline, and SIGTERM as a Ctrl-C."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from lab.errors import DeadlineError

__all__ = ["GRACE", "last_resort", "terminate_like_interrupt"]

GRACE = 60.0
"""Seconds that a cell is given beyond its deadline, in which the code that waits should notice by itself."""


@contextmanager
def last_resort(seconds: float, what: str) -> Iterator[None]:
    """Raise in this thread once the time and :data:`GRACE` are over, whatever it is doing.

    Does nothing outside the main thread, which alone gets signals, or where somebody else (pytest-timeout) has set the
    one timer there is.

    Raises:
        DeadlineError: the code inside did not end.
    """
    taken = signal.getitimer(signal.ITIMER_REAL)[0] > 0
    if taken or threading.current_thread() is not threading.main_thread():
        yield
        return

    def ring(_number: int, _frame: FrameType | None) -> None:
        raise DeadlineError(
            f"{what}: still running {GRACE:g} s after its limit of {seconds:g} s, and stopped by an alarm",
            hint="something waits without a deadline; that is a bug in the lab",
        )

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds + GRACE)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def terminate_like_interrupt() -> Iterator[None]:
    """Let SIGTERM raise KeyboardInterrupt in the main thread, so that everything is undone in order."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt("SIGTERM")

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
