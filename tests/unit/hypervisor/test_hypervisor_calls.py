"""Bounded calls: on time, late, aborted, interrupted."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator

import pytest

from lab.deadline import Deadline
from lab.errors import DeadlineError, GuestError, HostError
from lab.hypervisor import binding
from lab.hypervisor.binding import Said
from lab.hypervisor.calls import Calls, Flying, Job, StuckError, bounded, briefly
from lab.hypervisor.errors import Place
from lab.testing.hypervisor_world import FakeRefusal
from lab.wait import wait_until

PLACE = Place("fake:///xen", "web32", "dawdle")


@pytest.fixture
def never() -> Iterator[threading.Event]:
    """An event to hang on; set at the end so that no thread outlives the test."""
    event = threading.Event()
    yield event
    event.set()


def listen(error: BaseException) -> Said | None:
    return error.said if isinstance(error, FakeRefusal) else None


def calls(*, alive: bool = True) -> Calls:
    return Calls("fake:///xen", listen=listen, alive=lambda: alive)


def test_the_result_comes_back() -> None:
    assert bounded(PLACE, lambda: 42, Deadline(5)) == 42


def test_an_exception_comes_back_as_it_is() -> None:
    def fail() -> None:
        raise ZeroDivisionError("of old")

    with pytest.raises(ZeroDivisionError, match=r"^of old$"):
        bounded(PLACE, fail, Deadline(5))


def test_a_call_that_never_returns_is_given_up(never: threading.Event) -> None:
    with pytest.raises(StuckError) as caught:
        bounded(PLACE, never.wait, Deadline(0.05))
    assert str(caught.value) == "fake:///xen: guest web32: dawdle: not done within 0.05 s"


def test_a_call_is_in_the_air_until_it_lands(never: threading.Event) -> None:
    flying: Flying = set()
    with pytest.raises(StuckError):
        bounded(PLACE, never.wait, Deadline(0.05), flying=(flying,))
    assert len(flying) == 1
    never.set()
    wait_until("landed", lambda: not flying, deadline=Deadline(5), interval=0.01)


def test_a_connection_is_closed_only_when_its_calls_have_landed(never: threading.Event) -> None:
    line, closed = calls(), threading.Event()
    with pytest.raises(StuckError):
        line.run("dawdle", never.wait, Deadline(0.05))
    line.farewell(closed.set, seconds=5)
    assert not closed.wait(0.1)
    never.set()
    assert closed.wait(5)


def test_a_job_keeps_the_other_connection_open_too(never: threading.Event) -> None:
    source, target, closed = calls(), calls(), threading.Event()
    with pytest.raises(DeadlineError):
        source.run("migrate", lambda: never.wait(0.2), Deadline(0.05), job=Job(lambda: "abort refused", target))
    assert target.flying == set()  # it landed within the grace
    target.farewell(closed.set, seconds=5)
    assert closed.is_set()


def test_an_aborted_call_that_comes_back_is_late_but_not_stuck(never: threading.Event) -> None:
    def abort() -> str:
        never.set()
        return "aborted"

    with pytest.raises(DeadlineError) as caught:
        bounded(PLACE, never.wait, Deadline(0.05), abort=abort)
    assert not isinstance(caught.value, StuckError)
    assert str(caught.value) == "fake:///xen: guest web32: dawdle: not done within 0.05 s; aborted"


def test_ctrl_c_gets_through_at_once_and_aborts(never: threading.Event) -> None:
    aborted = threading.Event()

    def abort() -> str:
        aborted.set()
        return "aborted"

    def interrupt() -> None:
        time.sleep(0.1)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        bounded(PLACE, never.wait, Deadline(60), abort=abort)
    assert time.monotonic() - start < 5
    assert aborted.is_set()


def test_a_connection_with_a_stuck_call_is_broken_and_keeps_its_first_cause(never: threading.Event) -> None:
    line = calls()
    with pytest.raises(DeadlineError):
        line.run("dawdle", never.wait, Deadline(0.05), guest="web32")
    start = time.monotonic()
    with pytest.raises(HostError) as caught:
        line.run("list domains", lambda: (), Deadline(60))
    assert time.monotonic() - start < 5
    assert str(caught.value) == (
        "fake:///xen: list domains: not tried, the connection is broken: "
        "fake:///xen: guest web32: dawdle: not done within 0.05 s"
    )
    assert caught.value.__cause__ is line.broken
    start = time.monotonic()
    with pytest.raises(HostError):
        line.run("list domains", lambda: (), Deadline(60))
    assert time.monotonic() - start < 0.5  # the chance to land is given once


def test_a_call_that_was_merely_late_leaves_the_connection_sound() -> None:
    line = calls()
    with pytest.raises(DeadlineError):
        line.run("dawdle", lambda: threading.Event().wait(0.2), Deadline(0.05), guest="web32")
    assert line.broken is not None
    assert line.run("list domains", lambda: ("web32",), Deadline(5)) == ("web32",)
    assert line.broken is None


def test_the_first_cause_of_death_is_kept() -> None:
    line = calls()
    line.mark_broken(HostError("the first"))
    line.mark_broken(HostError("the second"))
    with pytest.raises(HostError) as caught:
        line.run("list domains", lambda: (), Deadline(5))
    assert str(caught.value) == "fake:///xen: list domains: not tried, the connection is broken: the first"


def test_a_connection_survives_an_aborted_call(never: threading.Event) -> None:
    line = calls()

    def abort() -> str:
        never.set()
        return "aborted"

    with pytest.raises(DeadlineError):
        line.run("dawdle", never.wait, Deadline(0.05), job=Job(abort, calls()))
    assert line.broken is None
    assert line.run("list domains", lambda: ("web32",), Deadline(5)) == ("web32",)


def refuse(code: int, text: str, origin: int = binding.FROM_DRIVER) -> None:
    raise FakeRefusal(code, text, origin)


def test_a_dead_socket_breaks_the_connection() -> None:
    line = calls(alive=False)
    with pytest.raises(HostError) as caught:
        line.run(
            "list domains",
            lambda: refuse(binding.INTERNAL_ERROR, "internal error: client socket is closed", binding.FROM_RPC),
            Deadline(5),
        )
    assert str(caught.value) == "fake:///xen: list domains: internal error: client socket is closed"
    assert line.broken is caught.value


def test_a_hosts_trouble_with_a_live_socket_does_not_break_the_connection() -> None:
    line = calls(alive=True)
    with pytest.raises(HostError):
        line.run("save", lambda: refuse(binding.SYSTEM_ERROR, "No space left on device"), Deadline(5), guest="web32")
    assert line.broken is None


def test_a_guests_refusal_does_not_ask_whether_the_peer_is_alive() -> None:
    line = calls(alive=False)
    with pytest.raises(GuestError):
        line.run("start", lambda: refuse(binding.OPERATION_INVALID, "no"), Deadline(5), guest="web32")
    assert line.broken is None


def test_briefly_answers_otherwise_on_failure_and_on_delay(never: threading.Event) -> None:
    assert briefly(lambda: 1, 2, seconds=5) == 1
    assert briefly(lambda: 1 // 0, 2, seconds=5) == 2
    assert briefly(lambda: int(never.wait()), 2, seconds=0.05) == 2
