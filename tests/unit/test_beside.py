"""Two things at once, and what comes of it when one of them fails."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from lab.beside import beside, entered_beside


def test_the_block_goes_on_while_the_action_does() -> None:
    going = threading.Event()
    with beside(lambda: going.wait(10)) as answer:
        going.set()
        assert answer()


def test_what_the_action_raises_the_call_raises() -> None:
    def fail() -> None:
        raise ValueError("no")

    with beside(fail) as answer, pytest.raises(ValueError, match=r"^no$"):
        answer()


@contextmanager
def noted(log: list[str], *, fails: bool = False) -> Iterator[str]:
    if fails:
        raise ValueError("does not come up")
    log.append("in")
    try:
        yield "it"
    finally:
        log.append("out")


def test_what_was_entered_is_left_also_when_the_block_fails_and_never_asks() -> None:
    log: list[str] = []
    with entered_beside(noted(log)) as it:
        assert it() == "it"
        assert log == ["in"]
    assert log == ["in", "out"]
    with pytest.raises(RuntimeError, match=r"^of itself$"), entered_beside(noted(log)):
        raise RuntimeError("of itself")
    assert log == ["in", "out"] * 2


def test_what_was_not_entered_is_not_left() -> None:
    log: list[str] = []
    with pytest.raises(ValueError, match=r"^does not come up$"), entered_beside(noted(log, fails=True)) as it:
        it()
    assert log == []
