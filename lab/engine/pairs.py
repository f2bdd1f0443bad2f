"""Two things at a time, of many: what one reader needs is one CPU, and even small machines have two."""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import TypeVar

from lab.process import kill_children

__all__ = ["Clock", "in_pairs"]

T = TypeVar("T")

Clock = Callable[[], float]
"""As :class:`lab.deadline.Deadline` takes it."""


@contextmanager
def in_pairs(jobs: Sequence[Callable[[Clock], T]]) -> Iterator[list[Callable[[], T]]]:
    """Begin all of them, two at a time, in their order; the block asks for each result by calling, and meets there what
    the job has raised.

    A job is given the clock for its deadlines: when the block fails, or is interrupted, it strikes the end of all time,
    so that nothing is begun any more, and whatever program still runs is killed.
    """
    over = threading.Event()

    def clock() -> float:
        return math.inf if over.is_set() else time.monotonic()

    workers = ThreadPoolExecutor(max_workers=min(2, os.cpu_count() or 1))
    try:
        yield [workers.submit(partial(job, clock)).result for job in jobs]
    except BaseException:
        # Ctrl-C came to this thread; the others sit in programs that do not hear it.
        over.set()
        workers.shutdown(wait=False, cancel_futures=True)
        kill_children()
        raise
    finally:
        workers.shutdown(wait=True, cancel_futures=True)
