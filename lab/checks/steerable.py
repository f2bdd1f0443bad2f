"""Whether a guest that has moved can still be steered: paused, resumed, and shut down cleanly."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from lab.deadline import Deadline
from lab.errors import LabError
from lab.hypervisor import Domain, DomainState, GuestNotFoundError
from lab.verdict import Check
from lab.wait import wait_until

__all__ = ["Steering", "steer", "steerable_check"]

_EXECUTING = {DomainState.RUNNING, DomainState.BLOCKED}
_OFF = {DomainState.SHUTOFF, DomainState.ABSENT}


@dataclass(frozen=True, slots=True)
class Steering:
    """What was done to a guest and worked, in order, and what did not."""

    done: tuple[str, ...] = ()
    trouble: str = ""


@dataclass(slots=True)
class _Course:
    domain: Domain
    deadline: Deadline
    done: list[str] = field(default_factory=list)

    def state(self) -> DomainState:
        try:
            return self.domain.state(self.deadline)
        except GuestNotFoundError:
            return DomainState.ABSENT

    def until(self, what: str, states: set[DomainState]) -> None:
        """Wait for one of ``states``."""
        wait_until(what, lambda: self.state() in states, deadline=self.deadline, detail=lambda: self.state().value)
        self.done.append(what)


def steer(domain: Domain, answers: Callable[[], bool], deadline: Deadline) -> Steering:
    """Pause a guest, resume it, hear from it (``answers``), and have it shut down. It is off afterwards, or else
    the trouble says what happened; never raises.
    """
    course = _Course(domain, deadline)
    try:
        domain.suspend(deadline)
        course.until("paused", {DomainState.PAUSED, DomainState.SUSPENDED})
        domain.resume(deadline)
        course.until("resumed", _EXECUTING)
        wait_until("answered", answers, deadline=deadline, interval=0.5)
        course.done.append("answered")
        domain.shutdown(deadline)
        course.until("shut down", _OFF)
    except LabError as trouble:
        return Steering(tuple(course.done), trouble.message)
    return Steering(tuple(course.done))


def steerable_check(steering: Steering) -> Check:
    """All of it worked."""
    done = ", ".join(steering.done) or "nothing"
    return Check.that(
        "still-steerable",
        not steering.trouble,
        expected="paused, resumed, answered, shut down",
        observed=f"{done}; then: {steering.trouble}" if steering.trouble else done,
    )
