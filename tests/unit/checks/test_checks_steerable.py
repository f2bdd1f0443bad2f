"""Steering a guest that has moved: all of it works, or it is said what did not."""

from __future__ import annotations

import pytest

from lab.checks.steerable import Steering, steer, steerable_check
from lab.deadline import Deadline
from lab.errors import GuestError
from lab.hypervisor import DomainState
from lab.verdict import Outcome


class Steered:
    """The part of a domain that is steered; ``deaf`` is what it does not obey."""

    name = "web32"

    def __init__(self, deaf: str = "") -> None:
        self.deaf = deaf
        self.now = DomainState.RUNNING

    def suspend(self, deadline: Deadline) -> None:
        self._become("suspend", DomainState.PAUSED, deadline)

    def resume(self, deadline: Deadline) -> None:
        self._become("resume", DomainState.BLOCKED, deadline)

    def shutdown(self, deadline: Deadline) -> None:
        self._become("shutdown", DomainState.SHUTOFF, deadline)

    def state(self, deadline: Deadline) -> DomainState:
        assert deadline.seconds > 0
        return self.now

    def _become(self, what: str, state: DomainState, deadline: Deadline) -> None:
        assert deadline.seconds > 0
        if self.deaf == f"refuse {what}":
            raise GuestError(f"{self.name}: {what} refused")
        if self.deaf != what:
            self.now = state


def steered(deaf: str = "", *, answers: bool = True) -> Steering:
    return steer(Steered(deaf), lambda: answers, Deadline(0.05))  # type: ignore[arg-type]  # the part that is used


def test_a_guest_that_obeys() -> None:
    assert steered() == Steering(("paused", "resumed", "answered", "shut down"))
    check = steerable_check(steered())
    assert (check.outcome, check.observed) == (Outcome.PASS, "paused, resumed, answered, shut down")


@pytest.mark.parametrize(
    ("steering", "observed"),
    [
        (steered("suspend"), "nothing; then: paused: not seen within 0.05 s; running"),
        (steered("resume"), "paused; then: resumed: not seen within 0.05 s; paused"),
        (steered(answers=False), "paused, resumed; then: answered: not seen within 0.05 s"),
        (steered("shutdown"), "paused, resumed, answered; then: shut down: not seen within 0.05 s; blocked"),
        (steered("refuse shutdown"), "paused, resumed, answered; then: web32: shutdown refused"),
    ],
)
def test_a_guest_that_does_not(steering: Steering, observed: str) -> None:
    check = steerable_check(steering)
    assert (check.outcome, check.observed) == (Outcome.FAIL, observed)
