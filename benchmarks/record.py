"""Figures of one run, read from its record: ``python benchmarks/record.py reports/latest``.

Medians over what the run did; stamped with its accelerator.
"""

from __future__ import annotations

import json
import statistics
import sys
from collections import defaultdict
from datetime import datetime
from pathlib import Path
from typing import Any


def main(folder: Path) -> None:
    """Print one line a figure."""
    events = [json.loads(line) for line in (folder / "run.jsonl").read_text().splitlines()]
    begun = _at(events[0])
    steps: dict[str, list[float]] = defaultdict(list)
    for event in events:
        if event["event"] == "stop" and not event.get("error"):
            steps[event["step"]].append(event["seconds"])
    verdicts = [event for event in events if event["event"] == "verdict"]
    accelerator = next((event.get("name", "?") for event in events if event["event"] == "accelerator"), "?")
    print(f"run {folder.resolve().name} under {accelerator}: functional evidence, not hardware figures")
    if verdicts:
        print(f"{'first verdict':28} {_at(verdicts[0]) - begun:8.1f} s after the start")
        print(f"{'last verdict':28} {_at(verdicts[-1]) - begun:8.1f} s after the start")
    for name, seconds in sorted(steps.items()):
        print(f"{name:28} {statistics.median(seconds):8.1f} s median of {len(seconds)}")
    kinds: dict[str, list[float]] = defaultdict(list)
    for verdict in verdicts:
        kinds[verdict["cell"]["kind"]].append(verdict["cell"]["seconds"])
    for kind, seconds in sorted(kinds.items()):
        print(f"{'cell: ' + kind:28} {statistics.median(seconds):8.1f} s median of {len(seconds)}")
    _overhead(steps["migrate"], [event["seconds"] for event in events if event["event"] == "moved"])


def _overhead(moves: list[float], calls: list[float]) -> None:
    """What moving a guest costs over the calls to libvirt that do it: plugging disks, kernels, looking who is where."""
    if len(moves) == len(calls) > 0:
        share = statistics.median(move / call - 1 for move, call in zip(moves, calls, strict=True))
        print(f"{'harness over libvirt':28} {share:8.0%} median of {len(calls)} moves")


def _at(event: dict[str, Any]) -> float:
    return datetime.fromisoformat(event["at"]).timestamp()


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "reports/latest"))
