"""Every foreign volume before every driver, a kernel at a time: ``python benchmarks/foreign_volumes.py trixie forky``.

Volumes are those of LAB_SAMPLES, guests are bare. Without kernels those are tried that ship a driver; ``--drivers``
takes fewer drivers. Stamped with the accelerator. The status is 1 if the lab was in trouble or a driver hung.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

KERNELS = ("trixie", "forky")


def main() -> int:
    """Print a paragraph a kernel."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("kernels", nargs="*", default=KERNELS)
    asked.add_argument("--drivers", default="", help="only these, NAME[,NAME]")
    asked.add_argument("--record", type=Path, help="print the figures of that run instead of starting one")
    words = asked.parse_args()
    if words.record:
        return told(words.record.name, words.record, 0.0)
    return max([of_kernel(kernel, words.drivers) for kernel in words.kernels], default=0)


def of_kernel(kernel: str, drivers: str) -> int:
    """Run it on one kernel."""
    with tempfile.TemporaryDirectory(prefix="foreign-") as reports:
        what = ("--kernels", kernel, *(("--drivers", drivers) if drivers else ()))
        command = (sys.executable, "-m", "lab", "ntfs", "compare", "--samples", "--stage", "microvm", *what)
        begun = time.perf_counter()
        subprocess.run((*command, "--reports", reports), stdout=subprocess.DEVNULL, check=False)
        return told(kernel, Path(reports) / "latest", time.perf_counter() - begun)


def told(name: str, folder: Path, seconds: float) -> int:
    """Print the figures of a run from its record."""
    matrix = json.loads((folder / "matrix.json").read_text())
    cells: list[dict[str, Any]] = matrix["cells"]
    events = [json.loads(line) for line in (folder / "run.jsonl").read_text().splitlines()]
    asking = [event["seconds"] for event in events if event["event"] == "stop" and event["step"] == "ask the readers"]
    volumes = {cell["axes"]["volume"] for cell in cells}
    errors = [cell for cell in cells if cell["outcome"] == "error"]
    hangs = [cell for cell in cells if cell["finding"] == "hang"]
    print(f"{name} under {matrix['run']['accelerator']}: functional evidence, not hardware figures")
    print(f"  {len(volumes)} volumes, {len(cells)} cells in {seconds or matrix['run']['seconds']:.0f} s")
    print(f"  asking the readers     {shape(asking)}")
    print(f"  a volume, all drivers  {shape(by_volume(cells))}")
    for driver in sorted({cell["axes"]["driver"] for cell in cells}):
        own = [cell for cell in cells if cell["axes"]["driver"] == driver]
        counts = Counter(f"{cell['outcome']} {cell['finding']}".strip() for cell in own)
        print(f"  {driver:22} " + ", ".join(f"{count} {what}" for what, count in counts.most_common()))
    print(f"  lab errors {len(errors)}, hangs {len(hangs)}")
    for cell in (*errors, *hangs):
        print(f"    {cell['id'].rpartition('::')[2]}: {cell['reason'][:160]}")
    return 1 if errors or hangs else 0


def by_volume(cells: Iterable[dict[str, Any]]) -> list[float]:
    """Seconds a volume."""
    spent: Counter[str] = Counter()
    for cell in cells:
        spent[cell["axes"]["volume"]] += cell["seconds"]
    return list(spent.values())


def shape(seconds: list[float]) -> str:
    """Their sum, and how they lie."""
    if not seconds:
        return "none"
    return f"{sum(seconds):.0f} s: median {statistics.median(seconds):.1f} s, longest {max(seconds):.1f} s"


if __name__ == "__main__":
    sys.exit(main())
