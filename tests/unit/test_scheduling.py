"""What several workers get: who shares a bench stays together, and moves begin first."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lab.engine.scheduling import CellScheduling
from lab.scenario.load import load

ROOT = Path(__file__).parents[2]
QUICK = ROOT / "scenarios" / "quick.lab.yaml"


class Node:
    """A worker that only takes note."""

    def __init__(self, name: str) -> None:
        self.gateway = SimpleNamespace(id=name)
        self.shutting_down = False
        self.sent: list[int] = []

    def send_runtest_some(self, indices: list[int]) -> None:
        self.sent += indices

    def shutdown(self) -> None:
        self.shutting_down = True


@pytest.fixture
def scheduling() -> CellScheduling:
    option = SimpleNamespace(loadscopereorder=True, maxschedchunk=None)
    config: Any = SimpleNamespace(
        option=option, rootpath=ROOT, getvalue=lambda _name: ["2*popen"], getoption=lambda *_words: ["2*popen"]
    )
    log: Any = lambda *_words: None  # noqa: E731 - xdist wants something to call
    log_producer = SimpleNamespace(loadscopesched=log)
    return CellScheduling(config, log_producer)


def test_moves_begin_first_and_benches_stay_together(scheduling: CellScheduling) -> None:
    cells = load(QUICK, root=ROOT)
    ids = [*(cell.id for cell in cells), "tests/test_other.py::test_it"]
    nodes = [Node("gw0"), Node("gw1")]
    for node in nodes:
        scheduling.add_node(node)
        scheduling.add_node_collection(node, ids)
    scheduling.schedule()
    given = [[ids[index].rpartition("::")[2] for index in node.sent] for node in nodes]
    # The first has the move and one small thing more; the second all cells of the largest bench, in their order.
    assert given[0][0] == "live-4.14-to-4.20-web32-pv"
    assert len(given[0]) == 2
    assert given[1] == [cell.name for cell in cells if cell.axes.get("kernel") == "trixie"]
    assert [len(scope) for scope in scheduling.workqueue.values()] == [1, 5]
    assert isinstance(scheduling.workqueue, OrderedDict)
