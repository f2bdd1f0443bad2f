"""Waiting for somebody who wants to look inside, and ending in order however the end is asked for."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Never

from lab.wait import pause

__all__ = ["interrupted_once", "wait_for_enter", "wait_for_interrupt"]

_ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_WATCH_SECONDS = 0.5


@contextmanager
def interrupted_once() -> Iterator[None]:
    """Let the first of Ctrl-C, SIGTERM and a hang-up raise KeyboardInterrupt here; those after it are not heard.

    What is being undone must come to its end: a second Ctrl-C would leave half of it. A signal that whoever started
    us had us ignore (``nohup``, ``&`` in a script) stays ignored.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    heard = False

    def interrupt(number: int, _frame: FrameType | None) -> None:
        nonlocal heard
        if not heard:
            heard = True
            raise KeyboardInterrupt(signal.Signals(number).name)

    before = {number: signal.getsignal(number) for number in _ENDINGS}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def wait_for_interrupt(watch: Callable[[], None] = lambda: None) -> Never:
    """Wait until :func:`interrupted_once` hears something, and raises; ``watch`` is asked in between, and may raise."""
    while True:
        watch()
        pause(_WATCH_SECONDS)


def wait_for_enter(invitation: str) -> None:
    """Print that, and return when somebody presses Enter; where nobody can, as :func:`wait_for_interrupt`."""
    sys.stderr.write(invitation)
    sys.stderr.flush()
    if not _somebody_there():
        wait_for_interrupt()
    sys.stdin.readline()


def _somebody_there() -> bool:
    try:
        # A job in the background would be stopped by the terminal as soon as it reads.
        return sys.stdin.isatty() and os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()
    except (OSError, ValueError, AttributeError):  # closed, none at all, or a test's
        return False
