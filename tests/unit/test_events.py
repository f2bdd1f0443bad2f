from __future__ import annotations

import logging
import threading

import pytest

from lab.events import Event, Stream, emit, step, subscribe


def _kinds(heard: list[Event]) -> list[str]:
    return [event.kind for event in heard]


def test_every_listener_hears_every_event_until_it_unsubscribes() -> None:
    stream, first, second = Stream(), list[Event](), list[Event]()
    leave = stream.subscribe(first.append)
    stream.subscribe(second.append)
    stream.emit("retry", attempt=2, kind="ssh")
    leave()
    leave()
    stream.emit("later")
    assert _kinds(first) == ["retry"]
    assert _kinds(second) == ["retry", "later"]
    assert first[0].fields == {"attempt": 2, "kind": "ssh"}


def test_a_step_tells_its_seconds() -> None:
    moments = iter((10.0, 12.5))
    stream, heard = Stream(clock=lambda: next(moments)), list[Event]()
    stream.subscribe(heard.append)
    with stream.step("mount", volume="dirty"):
        stream.emit("inside")
    assert [(event.kind, dict(event.fields)) for event in heard] == [
        ("start", {"step": "mount", "volume": "dirty"}),
        ("inside", {}),
        ("stop", {"step": "mount", "seconds": 2.5, "error": "", "volume": "dirty"}),
    ]


def test_a_step_that_fails_tells_why_and_raises() -> None:
    stream, heard = Stream(), list[Event]()
    stream.subscribe(heard.append)
    with pytest.raises(ValueError, match=r"^broken\nbadly$"), stream.step("mount"):
        raise ValueError("broken\nbadly")
    assert heard[-1].fields["error"] == "ValueError: broken"


def test_an_interrupted_step_is_told_too() -> None:
    stream, heard = Stream(), list[Event]()
    stream.subscribe(heard.append)
    with pytest.raises(KeyboardInterrupt), stream.step("mount"):
        raise KeyboardInterrupt
    assert _kinds(heard) == ["start", "stop"]


def test_a_listener_that_raises_is_reported_once_and_dropped(caplog: pytest.LogCaptureFixture) -> None:
    stream, heard = Stream(), list[Event]()

    def breaks(event: Event) -> None:
        raise OSError(f"disk full at {event.kind}")

    stream.subscribe(breaks)
    stream.subscribe(heard.append)
    with caplog.at_level(logging.ERROR, "lab.events"):
        stream.emit("one")
        stream.emit("two")
    assert _kinds(heard) == ["one", "two"]
    (record,) = caplog.records
    assert record.getMessage() == f"listener {breaks!r} failed on event 'one' and is dropped"
    assert record.exc_info is not None
    assert str(record.exc_info[1]) == "disk full at one"


def test_the_same_listener_may_subscribe_twice() -> None:
    stream, heard = Stream(), list[Event]()
    leave = stream.subscribe(heard.append)
    stream.subscribe(heard.append)
    leave()
    stream.emit("one")
    assert _kinds(heard) == ["one"]


def test_threads_may_emit_and_subscribe_at_once() -> None:
    stream, heard = Stream(), list[Event]()
    stream.subscribe(heard.append)

    def work() -> None:
        for _ in range(100):
            stream.subscribe(lambda _: None)()
            stream.emit("tick")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(heard) == 400


def test_the_lab_has_one_stream() -> None:
    heard: list[Event] = []
    leave = subscribe(heard.append)
    try:
        with step("boot", host="xen-4.14"):
            emit("retry", attempt=2)
    finally:
        leave()
    assert _kinds(heard) == ["start", "retry", "stop"]
