"""Every call bounded: libvirt has no timeouts of its own, and a call into a dead peer may never come back.

A call runs in a daemon thread of its own and the caller waits no longer than its deadline. Python cannot end a
thread that is inside C code, so a call that is given up stays behind; as long as it does its connection is broken,
and whoever uses it next is told that cause at once instead of waiting in turn. A call that was merely late (an
answer of 20 ms, asked for 10 ms before the deadline) lands soon afterwards, and the connection is sound again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, wait
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

from lab.deadline import Deadline
from lab.errors import DeadlineError, HostError, LabError
from lab.hypervisor.binding import Said
from lab.hypervisor.errors import Place, refusal

__all__ = ["GRACE", "Calls", "Flying", "Job", "StuckError", "bounded", "briefly"]

T = TypeVar("T")

Flying: TypeAlias = set[Future[Any]]
"""The calls that a connection is in the middle of."""

GRACE = 5.0
"""Seconds a call gets to come back after it was asked to abort."""

LANDING = 1.0
"""Seconds from the moment a call was given up in which the next one still waits to see whether it was merely late."""


class StuckError(DeadlineError):
    """A call that had not come back when it was given up; ``future`` is done when it does."""

    def __init__(self, message: str, future: Future[Any]) -> None:
        super().__init__(message)
        self.future = future
        self.since = time.monotonic()


def bounded(
    place: Place,
    call: Callable[[], T],
    deadline: Deadline,
    *,
    abort: Callable[[], str] | None = None,
    flying: Iterable[Flying] = (),
) -> T:
    """What ``call`` returns or raises.

    ``abort`` asks the call to come back early and says what came of that; it is used when the deadline passes, and
    then the call gets :data:`GRACE` seconds more, and on Ctrl-C. The call is in each of ``flying`` until it ends.

    Raises:
        DeadlineError: no time was left to begin, or the call came back only when aborted.
        StuckError: it did not come back.
    """
    left = deadline.check(str(place))
    future = _begin(call, str(place), flying)
    try:
        wait((future,), timeout=left)
    except BaseException:  # Ctrl-C: nobody waits for the call any more, so it should not go on
        if abort is not None:
            abort()
        raise
    if future.done():
        return future.result()
    message = f"{place}: not done within {deadline.seconds:g} s"
    if abort is not None:
        message += f"; {abort()}"
        wait((future,), timeout=GRACE)
    raise DeadlineError(message) if future.done() else StuckError(message, future)


def briefly(call: Callable[[], T], otherwise: T, *, seconds: float, flying: Iterable[Flying] = ()) -> T:
    """What ``call`` returns, or ``otherwise`` when it fails or takes longer than ``seconds``: for questions and
    farewells whose failure changes nothing.
    """
    future = _begin(call, "briefly", flying)
    wait((future,), timeout=seconds)
    return future.result() if future.done() and future.exception() is None else otherwise


def _begin(call: Callable[[], T], name: str, flying: Iterable[Flying]) -> Future[T]:
    future: Future[T] = Future()
    for calls in flying:
        calls.add(future)
        future.add_done_callback(calls.discard)

    def work() -> None:
        try:
            future.set_result(call())
        except BaseException as error:  # noqa: BLE001 - it is raised again in the thread that waits
            future.set_exception(error)

    threading.Thread(target=work, name=name, daemon=True).start()
    return future


@dataclass(frozen=True, slots=True)
class Job:
    """What there is to a long call into two hypervisors: how to abort it, and the calls of the other connection."""

    abort: Callable[[], str]
    other: Calls


class Calls:
    """The calls of one connection.

    ``listen`` tells what the hypervisor library said in an exception; ``alive`` tells whether the peer is there.
    """

    def __init__(self, uri: str, *, listen: Callable[[BaseException], Said | None], alive: Callable[[], bool]) -> None:
        self.uri = uri
        self.flying: Flying = set()
        self._listen = listen
        self._alive = alive
        self._dead: LabError | None = None
        self._stuck: StuckError | None = None

    @property
    def broken(self) -> LabError | None:
        """The first cause why this connection cannot be used (any more, or as long as a call is stuck), or nothing."""
        if self._dead is None and self._stuck is not None and not self._stuck.future.done():
            return self._stuck
        return self._dead

    def run(
        self,
        call: str,
        function: Callable[[], T],
        deadline: Deadline,
        *,
        guest: str = "",
        job: Job | None = None,
    ) -> T:
        """What ``function`` returns; ``call`` is its name in messages.

        Raises:
            DeadlineError: it did not come back in time; until it does, the connection is broken.
            HostError: the connection is broken, or broke.
            LabError: what libvirt refused, by :func:`lab.hypervisor.errors.refusal`.
        """
        place = Place(self.uri, guest, call)
        self._refuse_if_broken(place, deadline)
        try:
            if job is None:
                return bounded(place, function, deadline, flying=(self.flying,))
            return bounded(place, function, deadline, abort=job.abort, flying=(self.flying, job.other.flying))
        except StuckError as stuck:
            if self.broken is None:
                self._stuck = stuck
            raise
        except Exception as error:
            said = self._listen(error)
            if said is None:
                raise
            refused = refusal(place, said)
            if isinstance(refused, HostError) and not briefly(self._alive, otherwise=False, seconds=1):
                self.mark_broken(refused)
            raise refused from error

    def farewell(self, close: Callable[[], object], *, seconds: float) -> None:
        """Refuse every later call and ``close`` once those in the air have landed, waiting for that no longer than
        ``seconds``. libvirt frees what it closes even while another thread is inside it, so closing earlier would
        crash; a call that never comes back keeps its connection for good.
        """
        broken = self.broken is not None
        self.mark_broken(LabError("it was closed"))

        def end() -> None:
            wait(tuple(self.flying))
            close()

        briefly(end, None, seconds=0 if broken else seconds)

    def mark_broken(self, cause: LabError) -> None:
        """Refuse every later call. The first cause is kept: the later ones follow from it."""
        if self._dead is None:
            self._dead = cause

    def _refuse_if_broken(self, place: Place, deadline: Deadline) -> None:
        if self._dead is None and self._stuck is not None:
            left = self._stuck.since + LANDING - time.monotonic()
            wait((self._stuck.future,), timeout=max(0.0, min(left, deadline.remaining())))
        cause = self.broken
        if cause is not None:
            raise HostError(f"{place}: not tried, the connection is broken: {cause.message}") from cause
