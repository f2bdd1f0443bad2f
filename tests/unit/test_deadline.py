"""Deadlines, and waiting for one."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pytest

from lab import wait
from lab.deadline import Deadline
from lab.errors import DeadlineError
from lab.wait import pause, wait_until


@dataclass
class Clock:
    """Time that passes only when somebody sleeps."""

    now: float = 100.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(wait, "pause", made.sleep)
    return made


def test_a_deadline_counts_down_to_nothing_and_not_below(clock: Clock) -> None:
    deadline = Deadline(5, clock)
    assert (deadline.remaining(), deadline.expired, deadline.check("boot")) == (5.0, False, 5.0)
    clock.now += 4.5
    assert deadline.remaining() == 0.5
    clock.now += 60
    assert (deadline.remaining(), deadline.expired) == (0.0, True)


def test_a_passed_deadline_says_what_was_not_done_and_within_what(clock: Clock) -> None:
    deadline = Deadline(2.5, clock)
    clock.now += 2.5
    with pytest.raises(DeadlineError, match=r"^boot of xen-4\.17: not done within 2\.5 s$") as caught:
        deadline.check("boot of xen-4.17")
    assert isinstance(caught.value, TimeoutError)


@pytest.mark.parametrize(("asked", "given"), [(3, 3.0), (60, 7.0)])
def test_a_part_of_the_time_is_never_more_than_the_whole(clock: Clock, asked: float, given: float) -> None:
    deadline = Deadline(10, clock)
    clock.now += 3
    part = deadline.at_most(asked)
    assert (part.remaining(), part.clock) == (given, clock)


def test_waiting_returns_what_was_found(clock: Clock) -> None:
    answers = iter([None, "", 0, "the socket"])
    found = wait_until("a socket", lambda: next(answers), deadline=Deadline(10, clock), interval=1)
    assert (found, clock.now) == ("the socket", 103.0)


def test_waiting_asks_at_least_once_also_when_it_is_too_late(clock: Clock) -> None:
    assert wait_until("a socket", lambda: True, deadline=Deadline(0, clock))


@pytest.mark.parametrize(("seen", "added"), [("", ""), ("port 22 is closed", "; port 22 is closed")])
def test_waiting_in_vain_ends_in_time_and_says_what_was_last_seen(clock: Clock, seen: str, added: str) -> None:
    with pytest.raises(DeadlineError, match=f"^{re.escape(f'a shell: not seen within 2 s{added}')}$"):
        wait_until("a shell", lambda: None, deadline=Deadline(2, clock), interval=0.75, detail=lambda: seen)
    assert clock.now == 102.0  # the last pause was only as long as there was time


def test_a_pause_is_a_sleep(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr("time.sleep", slept.append)
    pause(0.25)
    assert slept == [0.25]
