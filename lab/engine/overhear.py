"""What xdist's workers do before their first cell, read off the record that they all write to."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = ["overheard"]

_SECONDS = 1.0


@contextmanager
def overheard(file: Path, hear: Callable[[Mapping[str, Any]], None]) -> Iterator[None]:
    """Tell ``hear`` of every event that comes to a run's ``file`` (run.jsonl), in a thread of its own."""
    over = threading.Event()
    thread = threading.Thread(target=_follow, args=(file, hear, over), name="overhear", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _follow(file: Path, hear: Callable[[Mapping[str, Any]], None], over: threading.Event) -> None:
    half = ""
    with file.open(encoding="utf-8") as record:
        while True:
            last = over.wait(_SECONDS)
            *lines, half = (half + record.read()).split("\n")
            for line in lines:
                hear(json.loads(line))
            if last:
                return
