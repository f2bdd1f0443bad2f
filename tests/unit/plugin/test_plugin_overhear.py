"""What workers do, read off the record."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lab.engine.overhear import overheard


def test_every_event_is_heard_once_and_in_order(tmp_path: Path) -> None:
    file, heard = tmp_path / "run.jsonl", list[Mapping[str, Any]]()
    file.write_text('{"event": "run"}\n')
    with overheard(file, heard.append), file.open("a") as record:
        for number in range(3):
            record.write(json.dumps({"event": "making", "number": number}) + "\n")
            record.flush()
        record.write('{"event": "star')
        record.flush()
    assert heard == [{"event": "run"}, *({"event": "making", "number": number} for number in range(3))]


def test_half_a_line_is_heard_when_it_is_whole(tmp_path: Path) -> None:
    file, heard = tmp_path / "run.jsonl", list[Mapping[str, Any]]()
    file.touch()
    with overheard(file, heard.append), file.open("a") as record:
        record.write('{"event": ')
        record.flush()
        record.write('"run"}\n')
        record.flush()
    assert heard == [{"event": "run"}]
