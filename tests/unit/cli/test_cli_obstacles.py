"""``lab prove --obstacles``: its table, its record and how it ends. No machine: hosts in memory."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from lab import cli
from lab.checks.obstacles import OBSTACLES
from lab.run_record import read_matrix
from lab.settings import Settings
from lab.verdict import Outcome
from tests.unit.stage.roads import FakeRoads, Road

Captured = pytest.CaptureFixture[str]
STATIC = ("no-bridge", "no-disk", "no-memory", "name-taken")


@dataclass
class Desk:
    """A folder to work in. ``prepare`` makes each road ready, by the number of its crossing."""

    folder: Path
    roads: FakeRoads = field(init=False)
    asked: list[tuple[str, str, bool]] = field(default_factory=list)
    meets: tuple[str, ...] = STATIC
    dead: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        self.roads = FakeRoads(self.folder, self.prepare)

    def prepare(self, made: Road, number: int) -> None:
        made.ready_for(self.meets[number - 1])
        made.dom0s[1].dead = "xen-4.20: connection lost" if number in self.dead else ""

    def lab(self, *words: str) -> int:
        """The exit code of ``lab prove --obstacles``."""
        return cli.main(["prove", "--obstacles", *words, "--reports", str(self.folder / "reports")])

    @contextmanager
    def open_ground(self, _settings: Settings, source: str, target: str, *, moves: bool) -> Iterator[FakeRoads]:
        self.asked.append((source, target, moves))
        yield self.roads

    @property
    def run(self) -> Path:
        return (self.folder / "reports" / "latest").resolve()

    @property
    def document(self) -> dict[str, Any]:
        found = json.loads((self.run / "obstacles.json").read_text())
        assert isinstance(found, dict)
        return found


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    from lab.commands import prove

    made = Desk(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(prove, "open_ground", made.open_ground)
    monkeypatch.setattr("lab.stage.obstructing._CALM_SECONDS", 0.0)
    return made


def test_obstacles_are_met_and_the_record_says_so(desk: Desk, capsys: Captured) -> None:
    assert desk.lab(*STATIC) == 0
    said = capsys.readouterr()
    assert [line.split("  ")[0] for line in said.out.splitlines()[:5]] == ["obstacle", *STATIC]
    assert said.out.count("6 of 6  ✔ pass") == len(STATIC)
    assert said.out.splitlines()[-4:] == [
        "4 of 4 obstacles named, survived and left behind",
        "",
        f"record: {desk.run}",
        f"obstacles: {desk.run}/obstacles.json",
    ]
    assert "[4/4] pass  name-taken" in said.err
    assert desk.asked == [("4.14", "4.20", True)]
    document = desk.document
    assert [document[name] for name in ("schema", "accelerator", "source", "target", "passed", "of", "untried")] == [
        *("lab.obstacles/1", "tcg", "4.14", "4.20"),
        *(4, 4, []),
    ]
    assert [one["obstacle"] for one in document["obstacles"]] == list(STATIC)
    assert {check["outcome"] for one in document["obstacles"] for check in one["checks"]} == {"pass"}
    assert desk.run.name.endswith("-prove")
    cells = read_matrix(desk.run).cells
    assert [(cell.axes["obstacle"], cell.outcome, len(cell.checks)) for cell in cells] == [
        (name, Outcome.PASS, 6) for name in STATIC
    ]
    assert all(any(path.endswith("setback.json") for path in cell.evidence) for cell in cells)
    assert (desk.run / "matrix.html").exists()


def test_a_check_that_does_not_hold_ends_with_1(desk: Desk, capsys: Captured) -> None:
    desk.meets = ("none", "no-disk")
    assert desk.lab("no-memory") == 1  # nothing is missing, so nothing refuses
    said = capsys.readouterr().out
    assert "    refused-or-failed: expected an error, observed success\n" in said
    (cell,) = read_matrix(desk.run).cells
    assert (cell.outcome, cell.expected) == (Outcome.FAIL, False)
    assert cell.reason.startswith("refused-or-failed: success")


def test_trouble_ends_with_3_at_once(desk: Desk, capsys: Captured) -> None:
    desk.dead = (1,)
    assert desk.lab("no-bridge", "no-disk") == 3
    said = capsys.readouterr().out
    assert "no-disk            not tried" in said
    assert "! error  no-bridge: " in said
    assert "    xen-4.20: connection lost\n" in said
    assert desk.document["untried"] == ["no-disk"]


def test_trouble_need_not_be_the_end(desk: Desk) -> None:
    desk.dead = (1,)
    assert desk.lab("no-bridge", "no-disk", "--keep-going") == 3
    assert [one["outcome"] for one in desk.document["obstacles"]] == ["error", "pass"]


def test_it_speaks_json(desk: Desk, capsys: Captured) -> None:
    assert desk.lab("no-bridge", "--json", "--from", "xen-4.17") == 0
    assert json.loads(capsys.readouterr().out) == desk.document
    assert desk.asked == [("4.17", "4.20", True)]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("no-brigde",),
            f"error: no obstacle 'no-brigde'; known: {', '.join(sorted(one.name for one in OBSTACLES))}\n",
        ),
        (("--moving",), "error: --moving and --obstacles\n  hint: with --obstacles every guest moves\n"),
        (("--to", "4.14"), "error: --from and --to are both 4.14\n  hint: the guest needs another host to go to\n"),
    ],
)
def test_what_cannot_be_meant_ends_with_2(desk: Desk, capsys: Captured, words: tuple[str, ...], message: str) -> None:
    assert desk.lab(*words) == 2
    assert capsys.readouterr().err.startswith(message)
    assert not (desk.folder / "reports").exists()
