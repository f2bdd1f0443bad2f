"""What is made ahead of cells: everything once, two at a time, and nothing of it goes on after its end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from lab.deadline import Deadline
from lab.errors import DeadlineError, HostError
from lab.process import run
from lab.stage.planning import _both


def test_all_is_made_and_two_at_a_time() -> None:
    made, busy, most = [], [0], [0]
    lock = threading.Lock()

    def job(name: int) -> Callable[[], None]:
        def work() -> None:
            with lock:
                busy[0] += 1
                most[0] = max(most[0], busy[0])
            time.sleep(0.01)
            with lock:
                busy[0] -= 1
                made.append(name)

        return work

    _both([job(number) for number in range(6)], Deadline(20))
    assert sorted(made) == list(range(6))
    assert most[0] <= 2


def test_what_cannot_be_made_is_left_to_its_cell_and_the_rest_is_made() -> None:
    made: list[str] = []

    def broken() -> None:
        raise HostError("xen-4.14: it does not boot")

    _both([broken, lambda: made.append("guest"), broken, lambda: made.append("other")], Deadline(20))
    assert made == ["guest", "other"]


def test_the_deadline_ends_what_is_still_being_made() -> None:
    ended: list[int] = []
    start = time.monotonic()
    with pytest.raises(DeadlineError, match=r"^images and snapshots: not all made within 0\.6 s$"):
        _both([lambda: ended.append(run("sleep", "60", deadline=Deadline(30)).status)], Deadline(0.6))
    assert time.monotonic() - start < 10
    assert ended == [-9]


def test_nothing_to_make_is_nothing_done() -> None:
    _both([], Deadline(1))
