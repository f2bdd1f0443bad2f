"""A pass of one driver over all volumes of the lab: ``python benchmarks/volume_pass.py read ntfs3 trixie``.

``read`` takes scenarios/ntfs/truth.lab.yaml, ``write`` scenarios/ntfs/write.lab.yaml. Guests are bare. ``--record`` has
the figures read from a run that was. Stamped with the accelerator; the status is 1 if the lab was in trouble.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any

SCENARIOS = {"read": "scenarios/ntfs/truth.lab.yaml", "write": "scenarios/ntfs/write.lab.yaml"}


def main() -> int:
    """Print a paragraph a driver and kernel."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("what", choices=sorted(SCENARIOS))
    asked.add_argument("driver")
    asked.add_argument("kernel")
    asked.add_argument("-n", type=int, default=os.cpu_count(), help="guests at a time; one a CPU unless told")
    asked.add_argument("--record", type=Path, help="print the figures of that run instead of starting one")
    words = asked.parse_args()
    if words.record:
        return told(words.record, words.driver, words.kernel)
    with tempfile.TemporaryDirectory(prefix="pass-") as reports:
        # -k takes parts of words: the name of a cell begins with both.
        which = (SCENARIOS[words.what], "-k", f"{words.driver}-{words.kernel}-", "-n", str(words.n))
        command = (sys.executable, "-m", "lab", "run", *which, "--reports", reports)
        subprocess.run(command, stdout=subprocess.DEVNULL, check=False)
        return told(Path(reports) / "latest", words.driver, words.kernel)


def told(folder: Path, driver: str, kernel: str) -> int:
    """Print the figures of a run from its record."""
    events = [json.loads(line) for line in (folder / "run.jsonl").read_text().splitlines()]
    cells: list[dict[str, Any]] = []
    begun = ended = ""
    for event in events:
        if event["event"] == "started":
            begun = begun or event["at"]
        elif event["event"] == "verdict" and (event["cell"]["axes"]["driver"], event["cell"]["axes"]["kernel"]) == (
            driver,
            kernel,
        ):
            cells.append(event["cell"])
            ended = event["at"]
    if not cells:
        print(f"{driver} on {kernel}: no verdict in {folder}")
        return 1
    wall = (datetime.fromisoformat(ended) - datetime.fromisoformat(begun)).total_seconds()
    seconds = [cell["seconds"] for cell in cells]
    counts = Counter(f"{cell['outcome']} {cell['finding']}".strip() for cell in cells)
    stamp = next((event["name"] for event in events if event["event"] == "accelerator"), "unknown")
    print(f"{driver} on {kernel} under {stamp}: functional evidence, not hardware figures")
    print(f"  {len(cells)} volumes in {wall:.0f} s from the first start: {100 * wall / len(cells):.0f} s for 100")
    print(f"  a volume: median {statistics.median(seconds):.1f} s, longest {max(seconds):.1f} s")
    slowest = sorted(cells, key=lambda cell: -cell["seconds"])[:5]
    print("  slowest: " + ", ".join(f"{cell['axes']['volume']} {cell['seconds']:.0f} s" for cell in slowest))
    print("  " + ", ".join(f"{count} {what}" for what, count in counts.most_common()))
    return 1 if any(cell["outcome"] == "error" for cell in cells) else 0


if __name__ == "__main__":
    sys.exit(main())
