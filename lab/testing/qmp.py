"""A QEMU that is not there: a control socket that answers by script."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

__all__ = ["DIE", "HANG", "FakeQmp", "Refused"]

HANG = "hang"
"""Never answers."""

DIE = "die"
"""Hangs up instead of answering, as a QEMU does that is killed."""


@dataclass(frozen=True, slots=True)
class Refused:
    """An error answer."""

    text: str
    kind: str = "GenericError"


Reply = Any
"""What a command returns, :class:`Refused`, ``HANG`` or ``DIE``."""


_VERSION = {"qemu": {"micro": 0, "minor": 2, "major": 7}, "package": ""}


class FakeQmp:
    """Listens on ``socket`` while its context lasts.

    ``answers`` maps a command to its reply, or to a list of them, one a call, of which the last repeats; commands that
    are not in it return an empty object, as most of QEMU's do, but for its version. ``executed`` is what was asked, in
    order. ``greets`` may be False: then nobody says a word.
    """

    def __init__(self, socket: Path, answers: Mapping[str, Reply] | None = None, *, greets: bool = True) -> None:
        self.answers = {"query-version": _VERSION, **(answers or {})}
        self.executed: list[tuple[str, Mapping[str, Any]]] = []
        self._socket = socket
        self._greets = greets
        self._turns: dict[str, int] = {}
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="fake qemu", daemon=True)

    def commands(self) -> list[str]:
        """The names of what was asked."""
        return [command for command, _ in self.executed]

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait(10)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._done.set)
        self._thread.join(10)
        self._loop.close()

    def _serve(self) -> None:
        self._loop.run_until_complete(self._live())

    async def _live(self) -> None:
        self._done = asyncio.Event()
        self._talking = set[asyncio.Task[None]]()
        server = await asyncio.start_unix_server(self._met, self._socket)
        self._ready.set()
        await self._done.wait()
        server.close()
        for task in self._talking:
            task.cancel()
        await asyncio.gather(*self._talking, return_exceptions=True)

    def _met(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = self._loop.create_task(self._talk(reader, writer))
        self._talking.add(task)
        task.add_done_callback(self._talking.discard)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if not self._greets:
                await self._done.wait()
                return
            await _say(writer, {"QMP": {"version": _VERSION, "capabilities": []}})
            heard = ""
            while more := await reader.read(1 << 16):
                # Nothing but the end of its JSON ends a message.
                heard += more.decode()
                while heard.strip():
                    try:
                        message, end = json.JSONDecoder().raw_decode(heard.lstrip())
                    except json.JSONDecodeError:
                        break
                    heard = heard.lstrip()[end:]
                    if not await self._reply(message, writer):
                        return
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def _reply(self, message: Mapping[str, Any], writer: asyncio.StreamWriter) -> bool:
        """Whether to go on."""
        command = message["execute"]
        mark = {"id": message["id"]} if "id" in message else {}
        if command == "qmp_capabilities":
            await _say(writer, {"return": {}, **mark})
            return True
        self.executed.append((command, message.get("arguments", {})))
        reply = self._next(command)
        if reply == DIE:
            return False
        if isinstance(reply, Refused):
            await _say(writer, {"error": {"class": reply.kind, "desc": reply.text}, **mark})
        elif reply != HANG:
            await _say(writer, {"return": reply, **mark})
        return True

    def _next(self, command: str) -> Reply:
        replies = self.answers.get(command, {})
        if not isinstance(replies, Sequence) or isinstance(replies, str):
            return replies
        turn = self._turns[command] = self._turns.get(command, 0) + 1
        return replies[min(turn, len(replies)) - 1]


async def _say(writer: asyncio.StreamWriter, message: Mapping[str, Any]) -> None:
    writer.write(json.dumps(message).encode() + b"\r\n")
    await writer.drain()
