"""``lab prove``: its table, its record and how it ends. No machine: journeys that a fault has broken."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from lab import cli
from lab.checks.faults import FAULTS
from lab.errors import HostError
from lab.run_record import read_matrix
from lab.settings import Settings
from lab.verdict import Outcome
from tests.unit.checks.journeys import GOOD
from tests.unit.stage.broken import BREAKS, TROUBLE, FakeGround

Captured = pytest.CaptureFixture[str]
QUIET = replace(GOOD, steering=None)


@dataclass
class Desk:
    """A folder to work in, and the ground that the command gets."""

    folder: Path
    ground: FakeGround = field(default_factory=FakeGround)
    asked: list[tuple[str, str, bool]] = field(default_factory=list)

    def lab(self, *words: str) -> int:
        """The exit code of ``lab prove``."""
        return cli.main(["prove", *words, "--reports", str(self.folder / "reports")])

    @contextmanager
    def open_ground(self, _settings: Settings, source: str, target: str, *, moves: bool) -> Iterator[FakeGround]:
        self.asked.append((source, target, moves))
        try:
            yield self.ground
        finally:
            self.ground.log.append("close")

    @property
    def run(self) -> Path:
        return (self.folder / "reports" / "latest").resolve()

    @property
    def document(self) -> dict[str, Any]:
        found = json.loads((self.run / "proofs.json").read_text())
        assert isinstance(found, dict)
        return found


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    from lab.commands import prove

    made = Desk(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr(prove, "open_ground", made.open_ground)
    return made


def test_all_of_them_are_caught_and_the_record_says_so(desk: Desk, capsys: Captured) -> None:
    assert desk.lab() == 0
    said = capsys.readouterr()
    number = len(FAULTS)
    sentence = f"{number} of {number} faults caught by the name of their invariant; control: green"
    assert said.out.splitlines()[-4:] == [sentence, "", f"record: {desk.run}", f"proofs: {desk.run}/proofs.json"]
    assert said.out.count("caught ") == number + 1
    assert desk.asked == [("4.14", "4.20", False)]
    document = desk.document
    assert {
        name: document[name] for name in ("schema", "accelerator", "source", "target", "moving", "caught", "of")
    } == {
        "schema": "lab.proofs/1",
        "accelerator": "tcg",
        "source": "4.14",
        "target": "4.20",
        "moving": False,
        "caught": number,
        "of": number,
    }
    assert [host["xen"] for host in document["hosts"]] == ["4.14.6"]
    assert {proof["fault"] for proof in document["proofs"]} == {*BREAKS, "none"}
    assert document["untried"] == []
    assert desk.run.name.endswith("-prove")
    cells = read_matrix(desk.run).cells
    assert {cell.outcome for cell in cells} == {Outcome.PASS}
    assert len(cells) == number + 1
    assert all((desk.run / path).is_file() for cell in cells for path in cell.evidence)
    assert (desk.run / "matrix.html").exists()


def test_progress_says_what_is_done_and_how_long_it_will_take(desk: Desk, capsys: Captured) -> None:
    assert desk.lab("clock", "no-leak", "reboot") == 0
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("[")]
    assert [line.partition("  0.")[0] for line in lines] == [
        "[1/4] pass  stepped-clock",
        "[2/4] pass  leaked-loop",
        "[3/4] pass  control",
        "[4/4] pass  reboot",
    ]
    assert all("(eta " in line for line in lines[:-1])


def test_a_fault_that_nobody_notices_ends_with_1(desk: Desk, capsys: Captured) -> None:
    desk.ground.shows["stepped-clock"] = QUIET
    assert desk.lab("clock", "no-leak") == 1
    said = capsys.readouterr().out
    assert "✘ missed  clock: stepped-clock, the guest's wall clock is set 5 s ahead\n    nothing was red\n" in said
    assert "1 of 2 faults caught by the name of their invariant; control: green" in said
    (missed, _, _) = desk.document["proofs"]
    assert (missed["word"], missed["caught"], missed["red"]) == ("missed", False, [])
    (cell,) = [cell for cell in read_matrix(desk.run).cells if cell.outcome is Outcome.FAIL]
    assert cell.reason == "missed: nothing red"


def test_a_false_alarm_without_a_fault_ends_with_1(desk: Desk, capsys: Captured) -> None:
    desk.ground.shows["none"] = BREAKS["warning"](GOOD)
    assert desk.lab("clock") == 1
    said = capsys.readouterr().out
    assert "✘ red  control\n    kernel-log: WARNING: CPU: 0" in said
    assert "1 of 1 faults caught by the name of their invariant; control: red" in said


def test_trouble_ends_with_3_at_once(desk: Desk, capsys: Captured) -> None:
    desk.ground.troubles["stepped-clock"] = TROUBLE
    assert desk.lab("clock", "no-leak", "reboot") == 3
    assert desk.ground.log == ["plan", "1: stepped-clock", "down", "close"]
    assert desk.document["untried"] == ["leaked-loop", "none", "reboot"]
    said = capsys.readouterr().out
    assert "! unproven  clock: stepped-clock, the guest's wall clock is set 5 s ahead" in said
    assert "    xen-4.14: QEMU ended with status -9\n" in said
    assert "0 of 3 faults caught by the name of their invariant; control: not tried" in said


def test_trouble_need_not_be_the_end(desk: Desk) -> None:
    desk.ground.troubles["stepped-clock"] = TROUBLE
    assert desk.lab("clock", "no-leak", "reboot", "--keep-going") == 3
    assert [proof["word"] for proof in desk.document["proofs"]] == ["unproven", "caught", "green", "caught"]


def test_without_hosts_nothing_is_tried(desk: Desk, capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    from lab.commands import prove

    def none(*_words: object, **_more: object) -> None:
        raise HostError("no QEMU", hint="run `lab doctor`")

    monkeypatch.setattr(prove, "open_ground", none)
    assert desk.lab("clock") == 3
    assert capsys.readouterr().err.endswith("error: no QEMU\n  hint: run `lab doctor`\n")
    assert desk.document["untried"] == ["stepped-clock", "none"]


def test_an_interrupt_leaves_the_record_of_what_was_done(desk: Desk, capsys: Captured) -> None:
    desk.ground.troubles["leaked-loop"] = KeyboardInterrupt()
    assert desk.lab("clock", "no-leak", "reboot") == 3
    assert capsys.readouterr().err.endswith(f"interrupted; 3 not tried; record at {desk.run}\n")
    assert desk.ground.log == ["plan", "1: stepped-clock", "1: leaked-loop", "down", "close"]
    assert [proof["word"] for proof in desk.document["proofs"]] == ["caught"]


def test_it_speaks_json(desk: Desk, capsys: Captured) -> None:
    assert desk.lab("clock", "--json", "--moving", "--from", "xen-4.17") == 0
    assert json.loads(capsys.readouterr().out) == desk.document
    assert (desk.document["moving"], desk.asked) == (True, [("4.17", "4.20", True)])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("clokc",), "error: no invariant or fault 'clokc'; known: "),
        (("--from", "4.13"), "error: no Xen version '4.13'; known: 4.14, 4.17, 4.20\n"),
        (
            ("--from", "4.20"),
            "error: --from and --to are both 4.20\n  hint: the guest needs another host to come from\n",
        ),
    ],
)
def test_what_cannot_be_meant_ends_with_2(desk: Desk, capsys: Captured, words: tuple[str, ...], message: str) -> None:
    assert desk.lab(*words) == 2
    assert capsys.readouterr().err.startswith(message)
    assert not (desk.folder / "reports").exists()


def test_its_help_has_examples_and_exit_codes(desk: Desk, capsys: Captured) -> None:
    assert desk.lab("--help") == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "Examples: lab prove | lab prove memory-intact clock | lab prove --from 4.17 --moving --keep-going" in said
    assert "Exit codes: 0 every fault was caught and the control is green" in said
