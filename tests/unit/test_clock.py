"""The clock of another machine, as far as it can be known from here."""

from __future__ import annotations

import signal

import pytest

from lab.clock import CLOCK, Sighting, sight_clock
from lab.deadline import Deadline
from lab.errors import GuestError
from lab.process import spawn
from lab.shell import tell
from lab.testing.shell import FakeShell


def soon() -> Deadline:
    return Deadline(20)


def sighted(said: str) -> Sighting:
    with FakeShell({"told now": said}).talk("sh", deadline=soon()) as talk:
        return sight_clock(talk, deadline=soon())


@pytest.mark.parametrize("said", ["", "1700000000.%N", "nan", "-1", "1e9"])
def test_a_clock_that_says_no_time_is_an_error(said: str) -> None:
    with pytest.raises(GuestError) as caught:
        sighted(said)
    assert str(caught.value) == f"the time over there is {said!r}, which is no number of seconds"


@pytest.mark.parametrize("ahead", [0.0, 3.0, -3.0])
def test_a_clock_is_known_to_within_half_of_what_the_quickest_question_took(
    monkeypatch: pytest.MonkeyPatch, ahead: float
) -> None:
    moments = iter([1000.0, 1003.0, 1000.0, 1000.8, 1000.0, 1002.0, 1000.0, 1001.0])  # asked, answered
    monkeypatch.setattr("lab.clock.time.time", lambda: next(moments))
    # It looked at its clock some time in between.
    seen = sighted(f"{1000.1 + ahead:.9f}")
    assert seen.error == pytest.approx(0.4)
    assert abs(seen.ahead - ahead) <= seen.error


def test_a_quick_answer_is_not_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = iter([1000.0, 1000.05])
    monkeypatch.setattr("lab.clock.time.time", lambda: next(moments))
    assert sighted("1000.0").error == pytest.approx(0.025)


def test_the_program_tells_this_machines_time() -> None:
    process = spawn("sh", "-c", CLOCK)
    try:
        seen = sight_clock(lambda line, *, deadline: tell(process, "sh", line, deadline=deadline), deadline=soon())
    finally:
        process.kill()
        process.communicate()
    assert abs(seen.ahead) <= seen.error + 0.001
    assert process.returncode == -signal.SIGKILL  # it was still at it
