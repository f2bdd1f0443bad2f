"""One stream of events, many listeners (log, record, progress, Allure). Retries are events too, never silent.

What happens in the lab is told here once, by :func:`emit` and :func:`step`; who wants to know subscribes. A listener
can never break a run: the first exception it raises is logged and the listener is dropped.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Event", "Listener", "Stream", "emit", "step", "subscribe"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened. ``at`` is seconds since the epoch."""

    kind: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    at: float = field(default_factory=time.time)


Listener = Callable[[Event], None]


class Stream:
    """Events go in, listeners hear them in the order in which they subscribed, in the thread that emits, one at a
    time.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        # Reentrant: a listener may emit, and may drop itself.
        self._lock = threading.RLock()
        # Replaced whole, never changed in place: an emit that goes on keeps walking the tuple it took.
        self._listeners: tuple[tuple[object, Listener], ...] = ()

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Hear every later event; the answer ends it, and may be called twice."""
        token = object()
        with self._lock:
            self._listeners = (*self._listeners, (token, listener))

        def unsubscribe() -> None:
            self._drop(token)

        return unsubscribe

    def emit(self, kind: str, /, **fields: Any) -> None:  # noqa: ANN401 - fields are whatever the event is about
        """Tell every listener. Never raises on behalf of one."""
        with self._lock:
            event = Event(kind, fields)
            for token, listener in self._listeners:
                try:
                    listener(event)
                except Exception:  # noqa: BLE001 - a listener may fail in any way and never break the run
                    if self._drop(token):
                        _log.exception("listener %r failed on event %r and is dropped", listener, kind)

    @contextmanager
    def step(self, name: str, /, **fields: Any) -> Iterator[None]:  # noqa: ANN401 - as in emit
        """Emit ``start`` now and ``stop`` at the end, with ``seconds`` and ``error`` (empty when all went well)."""
        begun = self._clock()
        self.emit("start", step=name, **fields)
        error = ""
        try:
            yield
        except BaseException as trouble:
            error = f"{type(trouble).__name__}: {trouble}".partition("\n")[0]
            raise
        finally:
            self.emit("stop", step=name, seconds=round(self._clock() - begun, 6), error=error, **fields)

    def _drop(self, token: object) -> bool:
        """Whether the listener was still there: of two threads that see it fail, only one reports it."""
        with self._lock:
            kept = tuple(pair for pair in self._listeners if pair[0] is not token)
            dropped = len(kept) < len(self._listeners)
            self._listeners = kept
        return dropped


_stream = Stream()
subscribe = _stream.subscribe
emit = _stream.emit
step = _stream.step
