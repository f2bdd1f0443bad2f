"""A guest that is this machine: the probe for real, behind a loop device."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lab.deadline import Deadline
from lab.ntfs import probe
from lab.process import Completed

__all__ = ["Answer", "LocalGuest", "needs_loop"]

Answer = Callable[[dict[str, Any]], dict[str, Any]]


def no_loop() -> str:
    """Why the probe cannot have a loop device here, or nothing."""
    try:
        os.close(os.open("/dev/loop-control", os.O_RDWR))
    except OSError as broken:
        return f"/dev/loop-control: {broken.strerror}"
    return ""


needs_loop = pytest.mark.skipif(bool(no_loop()), reason=no_loop() or "there are loop devices")


class LocalGuest:
    """A guest that is this machine. ``twist`` changes what the probe says, or raises."""

    name = "here"
    kernel = SimpleNamespace(release=os.uname().release, package_version="1")

    def __init__(self, shelf: Path, at: Path, twist: Answer = lambda document: document) -> None:
        self.shelf_device = str(shelf)
        self.at = at
        self.twist = twist
        self.asked: list[list[str]] = []

    def ask(self, _port: int, question: bytes, **_: object) -> Completed:
        words = json.loads(question)["words"]
        if not words:  # whether it answers
            return Completed(("ask",), 0, b"{}", b"")
        self.asked.append(words)
        words[words.index("--at") + 1] = str(self.at)
        try:
            document = json.loads(probe.perform(probe.parse(words)))
        except OSError as broken:  # a container may have the device's name and no right to it
            pytest.skip(f"no loop device: {broken}")
        return Completed(("ask",), 0, json.dumps(self.twist(document)).encode(), b"")

    def watch(self) -> None:
        pass

    def is_active(self, _deadline: Deadline) -> bool:
        return True

    def console(self, **_: object) -> str:
        return ""

    def acquit(self, deadline: Deadline) -> None:
        deadline.check("acquit")

    def keep(self, *_: object, **__: object) -> None:
        pass
