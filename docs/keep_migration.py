# ruff: noqa: INP001, T201 - a program of its own, no part of a package; it prints what it did
"""Keep what a run of the full migration matrix has come to, and write it into its page.

``python docs/keep_migration.py RUN``, with the folder of a run: its verdicts go to ``findings/records/migration-full``,
without evidence, paths of the machine and cells that came to nothing; the table of ``findings/migration-matrix.md`` is
made from them. A cell that is judged once more counts as it was judged last.
"""

from __future__ import annotations

import json
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tabled import tabled

FINDINGS = Path(__file__).parent / "findings"
RECORD = FINDINGS / "records" / "migration-full" / "run.jsonl"
PAGE = FINDINGS / "migration-matrix.md"
COMMAND = "lab run scenarios/migration/full.lab.yaml"
KEPT = {"run", "planned", "continues", "host", "accelerator", "finished"}
HOWS = ("cold", "cold-shared", "save-restore", "live", "there-and-back")
PATHS = re.compile(r"/tmp/lab-[^/ ]*/")  # noqa: S108 - a path to be taken out


def kept(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    """The events that last, in their order, each verdict where its cell was judged last."""
    events = [json.loads(line) for line in lines]
    last = {event["cell"]["id"]: number for number, event in enumerate(events) if event["event"] == "verdict"}
    for number, event in enumerate(events):
        if event["event"] == "verdict":
            cell = event["cell"]
            if cell["outcome"] in {"pass", "unsupported"} and last[cell["id"]] == number:
                yield {**event, "cell": {**cell, "evidence": []}}
        elif event["event"] == "run":
            yield {**event, "command": COMMAND}
        elif event["event"] == "continues":
            yield {**event, "notes": []}
        elif event["event"] in KEPT:
            yield event


def row(axes: dict[str, str]) -> tuple[str, str]:
    """Which row of the table a cell belongs to: its hosts, and its guest."""
    bits = {"i386": "32-bit userland", "amd64": "64-bit userland"}[axes["userland"]]
    guest = f"{bits}, {axes['type'].upper()}"
    if "-i386-" in axes["kernel"]:
        guest = "32-bit kernel, PVH"
    if arrives := axes.get("arrives"):
        kernel = "32-bit kernel" if "-i386-" in arrives else "64-bit kernel"
        guest += f", arrives under a {kernel} as {arrives.rpartition('-')[2].upper()}"
    return f"{axes['source']} → {axes['target']}", guest


def square(cell: dict[str, Any]) -> str:
    """What a cell came to, in a few words."""
    if cell["outcome"] == "pass":
        return "pass" if cell["attempts"] < 2 else "pass, at the second try"
    return f"unsupported ({reason})" if (reason := cell["reason"].partition(":")[0]).count(" ") == 0 else "unsupported"


def table(planned: Iterable[dict[str, Any]], judged: Iterable[dict[str, Any]]) -> Iterator[str]:
    """The table, a line a row: of what was planned, what came of it; a square stays empty as long as nothing did."""
    said = {cell["id"]: square(cell) for cell in judged}
    rows: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)
    for cell in planned:
        axes = cell["axes"]
        rows[row(axes)][axes.get("trip", axes["how"])] = said.get(cell["id"], "")
    yield f"| from, to | guest | {' | '.join(HOWS)} |"
    yield f"|---|---|{'---|' * len(HOWS)}"
    for (hosts, guest), squares in sorted(rows.items()):
        yield f"| {hosts} | {guest} | {' | '.join(squares.get(how, 'n/a') for how in HOWS)} |"


def main(run: Path) -> None:
    """Keep that run."""
    with (run / "run.jsonl").open() as lines:
        events = list(kept(lines))
    text = "".join(json.dumps(event, ensure_ascii=False) + "\n" for event in events)
    RECORD.write_text(PATHS.sub("", text))
    cells = [event["cell"] for event in events if event["event"] == "verdict"]
    planned = [cell for event in events if event["event"] == "planned" for cell in event["cells"]]
    tabled(PAGE, table(planned, cells))
    checks = defaultdict(set)
    for cell in cells:
        if cell["outcome"] == "pass":
            checks[cell["axes"]["how"]].add(len(cell["checks"]))
    print(f"{len(cells)} of {len(planned)}: {dict(Counter(cell['outcome'] for cell in cells))}; checks {dict(checks)}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
