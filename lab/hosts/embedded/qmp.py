"""QEMU's control socket: the only place that speaks QMP."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from qemu.qmp import ConnectError, QMPClient, QMPError

from lab.deadline import Deadline
from lab.errors import DeadlineError, HostError

__all__ = ["NotListeningError", "Qmp"]


class NotListeningError(HostError):
    """The socket is there and nobody listens: QEMU has yet to begin, or is gone."""


class Qmp:
    """A QMP session, used from any one thread at a time."""

    def __init__(self, socket: Path, name: str) -> None:
        self._name = name
        self._socket = socket
        self._client = QMPClient(name)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"qmp {name}", daemon=True)
        self._thread.start()

    def connect(self, deadline: Deadline) -> Self:
        """Greet QEMU.

        Raises:
            NotListeningError: nobody listens on the socket.
            HostError: there is no socket, or nobody of sense behind it.
        """
        try:
            self._await(self._client.connect(str(self._socket)), "connect", deadline)
        except HostError as trouble:
            self._stop()
            cause = trouble.__cause__
            if isinstance(cause, ConnectError) and isinstance(cause.exc, ConnectionRefusedError):
                raise NotListeningError(trouble.message) from cause
            raise
        except BaseException:
            # There is no session to end; the client takes back by itself what it had begun.
            self._stop()
            raise
        return self

    def execute(self, command: str, arguments: Mapping[str, Any] | None = None, /, *, deadline: Deadline) -> Any:  # noqa: ANN401 - QMP answers are JSON
        """One command, with its arguments spelled as QMP spells them.

        Raises:
            HostError: QEMU refused, or is gone.
            DeadlineError: no answer in time.
        """
        if self._loop.is_closed():
            raise HostError(f"{self._name}: QMP {command}: the session is closed")
        return self._await(self._client.execute(command, dict(arguments or {})), command, deadline)

    def close(self) -> None:
        """Hang up; QEMU goes on."""
        if self._loop.is_closed():
            return
        # QEMU may have gone first, and a session with nobody is already over.
        with suppress(HostError, DeadlineError):
            self._await(self._client.disconnect(), "disconnect", Deadline(2))
        self._stop()

    def _stop(self) -> None:
        with suppress(DeadlineError):
            self._await(_others(), "disconnect", Deadline(2))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(2)
        self._loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _await(self, coroutine: Any, what: str, deadline: Deadline) -> Any:  # noqa: ANN401 - as in execute
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result(deadline.remaining())
        except TimeoutError as late:
            future.cancel()
            raise DeadlineError(f"{self._name}: QMP {what}: no answer within {deadline.seconds:g} s") from late
        except (QMPError, EOFError, OSError) as trouble:
            raise HostError(f"{self._name}: QMP {what}: {trouble}") from trouble


async def _others() -> None:
    """Wait until all else on this loop has ended."""
    running = asyncio.all_tasks() - {asyncio.current_task()}
    await asyncio.gather(*running, return_exceptions=True)
