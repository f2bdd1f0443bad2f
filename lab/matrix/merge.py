"""One matrix of several: the shards of a run, or runs of different parts. Commutative, associative, idempotent
(up to the order of cells and hosts).
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from lab.matrix.model import HostFacts, Matrix, MatrixCell, RunFacts
from lab.verdict import Outcome

__all__ = ["merge", "weakest_accelerator"]

# The weakest evidence first: one emulated host makes the whole run functional evidence only.
_ACCELERATORS = ("tcg", "kvm", "hardware")

# Which verdict on the same cell is kept. A shard that skipped a cell or never got to it says nothing about it; among
# real verdicts the one that a reader must not miss wins, and trouble of the lab never hides a product failure.
_WEIGHT = {Outcome.SKIPPED: 0, Outcome.PASS: 2, Outcome.UNSUPPORTED: 3, Outcome.ERROR: 4, Outcome.FAIL: 5}


def merge(*matrices: Matrix) -> Matrix:
    """One matrix with every cell of all of them once.

    Raises:
        ValueError: there is none to merge.
    """
    if not matrices:
        raise ValueError("no matrix to merge")
    cells: dict[str, MatrixCell] = {}
    for cell in (cell for matrix in matrices for cell in matrix.cells):
        cells[cell.id] = max(cells.get(cell.id, cell), cell, key=_weight)
    return Matrix(_run([matrix.run for matrix in matrices]), tuple(cells.values()))


def weakest_accelerator(names: Iterable[str]) -> str:
    """The one that limits what the run can prove; empty when there is none."""
    rank = {name: position for position, name in enumerate(_ACCELERATORS)}
    return min((name for name in names if name), key=lambda name: (rank.get(name, -1), name), default="")


def _weight(cell: MatrixCell) -> tuple[int, str]:
    weight = _WEIGHT[cell.outcome] if cell.judged else 1
    return weight, json.dumps(cell.to_json(), sort_keys=True)


def _run(runs: list[RunFacts]) -> RunFacts:
    hosts = {host for run in runs for host in run.hosts}
    return RunFacts(
        id=_joined((run.id for run in runs), " + "),
        started=min(run.started for run in runs),
        seconds=max(run.seconds for run in runs),
        command=_joined((run.command for run in runs), " ; "),
        revision=_joined((run.revision for run in runs), " + "),
        accelerator=weakest_accelerator(run.accelerator for run in runs),
        hosts=tuple(sorted(hosts, key=_host_order)),
    )


def _host_order(host: HostFacts) -> tuple[str, ...]:
    return host.name, host.kind, host.xen, host.libvirt, host.kernel, host.capabilities


def _joined(texts: Iterable[str], separator: str) -> str:
    """Every part once; what was joined before is taken apart first, so that the order of merging is no matter."""
    return separator.join(sorted({part for text in texts for part in text.split(separator) if part}))
