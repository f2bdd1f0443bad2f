"""Two things at once: what takes time on another machine than the one that the lab is busy with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import TypeVar

__all__ = ["beside", "entered_beside"]

T = TypeVar("T")


@contextmanager
def beside(action: Callable[[], T]) -> Iterator[Callable[[], T]]:
    """Begin ``action`` in a thread of its own; the block goes on meanwhile, and asks for its result by calling.

    The block's end waits for the action's. What the action raises, the call raises; if the block has failed by itself
    or never asks, it is lost.

    >>> with beside(lambda: 6 * 7) as answer:
    ...     answer()
    42
    """
    with ThreadPoolExecutor(1) as thread:
        yield thread.submit(action).result


@contextmanager
def entered_beside(manager: AbstractContextManager[T]) -> Iterator[Callable[[], T]]:
    """Likewise enter ``manager`` in a thread of its own; it is left at the block's end, if it was entered."""
    with ExitStack() as stack, beside(lambda: stack.enter_context(manager)) as entering:
        yield entering
