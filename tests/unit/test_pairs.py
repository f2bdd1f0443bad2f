"""Two at a time: results in order, and an end at once when there is to be one."""

from __future__ import annotations

import threading
import time
from functools import partial

import pytest

from lab.deadline import Deadline
from lab.engine.pairs import Clock, in_pairs
from lab.errors import DeadlineError
from lab.process import run


def test_two_are_at_work_and_no_third_and_answers_come_in_order() -> None:
    lock, at_work, most = threading.Lock(), 0, 0

    def job(number: int, _clock: Clock) -> int:
        nonlocal at_work, most
        with lock:
            at_work += 1
            most = max(most, at_work)
        time.sleep(0.05 if number % 2 else 0.01)
        with lock:
            at_work -= 1
        return number

    with in_pairs([partial(job, number) for number in range(6)]) as answers:
        assert [answer() for answer in answers] == list(range(6))
    assert most == 2


def test_what_one_has_raised_is_met_where_it_is_asked_and_the_others_go_on() -> None:
    def job(number: int, _clock: Clock) -> int:
        return 6 // number

    with in_pairs([partial(job, number) for number in (1, 0, 2)]) as (one, none, two):
        assert one() == 6
        with pytest.raises(ZeroDivisionError):
            none()
        assert two() == 3


def test_an_interrupt_ends_what_runs_and_begins_nothing_more() -> None:
    late: list[str] = []

    def job(_clock: Clock) -> None:
        deadline = Deadline(60, _clock)
        try:
            run("sleep", "60", deadline=deadline)
            run("true", deadline=deadline)
        except DeadlineError as ended:
            late.append(str(ended))

    def interrupted() -> None:
        with in_pairs([job] * 5):
            time.sleep(0.3)
            raise KeyboardInterrupt

    begun = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert time.monotonic() - begun < 10
    assert late == ["true: not done within 60 s"] * 2
