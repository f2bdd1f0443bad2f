"""``lab preflight``: what it prints, for people and for machines, and how it ends."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from lab import cli
from lab.errors import UnknownNameError
from lab.matrix.model import Matrix
from lab.preflight import Answer, Decision, Reason, Score, Scored, Side
from lab.preflight.reach import Way
from lab.report import document
from lab.report.preflight_text import render, render_score
from lab.scenario.inventory import Inventory
from lab.testing.hypervisor import FakeHypervisor
from lab.testing.shell import FakeShell
from lab.verdict import Outcome
from tests.unit.preflight.hosts import INSIDE, hypervisor, side, told
from tests.unit.preflight.questions import cell, matrix

NEW = told().replace("4.14.6", "4.15.2")


class Lab:
    """Two hosts that answer to the command, and a folder of records."""

    def __init__(self, folder: Path) -> None:
        self.reports = folder / "reports"
        self.worlds: dict[str, FakeHypervisor] = {
            "xen-4.14": hypervisor("web", "db"),
            "xen-4.15": hypervisor(xen="4.15", libvirt="7.10.0"),
        }
        self.said = {"xen-4.14": told(), "xen-4.15": NEW}
        self.asked: list[str] = []

    def way_to(self, name: str, runs: object, *, inventory: Inventory, tag: str) -> Way:
        """Stands for :func:`lab.preflight.way_to`."""
        del runs, tag
        name = inventory.hosts[name].machine if name in inventory.hosts else name
        if name not in self.worlds:
            raise UnknownNameError("live host", name, self.worlds)
        return partial(self._reached, name)

    @contextmanager
    def _reached(self, name: str, _deadline: object) -> Iterator[Side]:
        self.asked.append(name)
        yield side(name, self.worlds[name], self.said[name], within={"web": FakeShell({"sh -c *": INSIDE})})

    def record(self, run: Matrix) -> str:
        """A run's matrix.json, to be named on the command line."""
        self.reports.mkdir(exist_ok=True)
        path = self.reports / f"{len(list(self.reports.iterdir()))}.json"
        path.write_text(document.render(run))
        return str(path)


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    """The command finds these hosts, and nothing of this machine."""
    found = Lab(tmp_path)
    monkeypatch.setenv("LAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("LAB_HOSTS", raising=False)
    monkeypatch.setenv("LAB_REPORTS", str(tmp_path / "reports"))
    monkeypatch.setattr("lab.commands.preflight.way_to", found.way_to)
    return found


PAIR = ("preflight", "--from", "4.14", "--to", "xen-4.15")


def test_go_ends_with_0_and_names_every_reason(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    run = lab.record(matrix(cell()))
    assert cli.main([*PAIR, "web", "--evidence", run]) == 0
    assert lab.asked == ["xen-4.14", "xen-4.15"]
    assert capsys.readouterr().out == (
        "✔ go web: live, xen-4.14 to xen-4.15\n"
        "    ✔ go  abi: the target takes xen-3.0-x86_64  [xl info on xen-4.15: xen_caps; uname -m in web]\n"
        "    ✔ go  log-dirty: the source has shadow paging, which a live move of a PV guest needs  "
        "[xl info on xen-4.14: virt_caps]\n"
        "    ✔ go  cpu: the target's CPU has all that the guest was shown  "
        "[xl info: hw_caps of xen-4.14 and xen-4.15]\n"
        "    ✔ go  memory: it needs 132 MiB and 700 MiB are free  [xl info on xen-4.15: free_memory]\n"
        "    ✔ go  bridge: the target has bridge xenbr0  [/sys/class/net on xen-4.15]\n"
        "    ✔ go  disk: xvda (/dev/disk/by-id/web): the same device on both hosts  "
        "[/dev/disk/by-id/web on both hosts: 0QEMU_web]\n"
        "    ✔ go  xen-version: from Xen 4.14.6 to 4.15.2 is supported  "
        "[https://wiki.xenproject.org/wiki/Xen_Project_Version_Compatibility]\n"
        "    ✔ go  past: such a move was seen to work  [run 20261122-1, live]\n"
        "\n"
        "1 guest: 1 go\n"
    )


def test_untested_ends_with_3(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([*PAIR, "web"]) == 3  # there is no run at all
    assert capsys.readouterr().out.splitlines()[:2] == [
        "? untested web: live, xen-4.14 to xen-4.15",
        "    ? untested  past: no run has seen such a move  [runs: none was given]",
    ]
    assert len(lab.asked) == 2


def test_no_go_ends_with_1_and_comes_first(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    lab.said["xen-4.15"] = NEW.replace("free_memory            : 700", "free_memory            : 7")
    assert cli.main([*PAIR]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == [
        "✘ no-go db: live, xen-4.14 to xen-4.15",
        "    ✘ no-go  memory: it needs 132 MiB and only 7 MiB are free  [xl info on xen-4.15: free_memory]",
    ]
    assert lines[-1] == "2 guests: 2 no-go"


def test_for_machines(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    run = lab.record(matrix(cell(Outcome.FAIL, "clock: fail")))
    assert cli.main([*PAIR, "all", "--json", "--evidence", run]) == 1
    said = json.loads(capsys.readouterr().out)
    assert said["schema"] == "lab.preflight/1"
    assert [(one["guest"], one["from"], one["to"], one["how"], one["decision"]) for one in said["answers"]] == [
        ("db", "xen-4.14", "xen-4.15", "live", "no-go"),
        ("web", "xen-4.14", "xen-4.15", "live", "no-go"),
    ]
    assert said["answers"][1]["reasons"][-1] == {
        "decision": "no-go",
        "rule": "past",
        "words": "such a move was seen: fail: clock: fail",
        "source": "run 20261122-1, live",
    }


def test_a_cold_move_brings_what_it_is_told(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    lab.said["xen-4.15"] = told(places="place 0 absent\nplace 1 absent\n").replace("4.14.6", "4.15.2")
    cold = (*PAIR, "web", "--how", "cold", "--kernel", "6.1.0-56-cloud-amd64")
    assert cli.main([*cold, "--module", "loop"]) == 1
    said = capsys.readouterr().out
    assert "boot-files: the target lacks the kernel" in said
    assert "modules: kernel 6.1.0-56-cloud-amd64 needs loop, and the guest lacks it" in said
    assert cli.main([*cold, "--bring", "/boot"]) == 3
    assert "no-go" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("preflight",), "--from is missing\n  hint: lab preflight --from HOST --to HOST; see lab host ls"),
        (
            ("preflight", "--from", "4.14"),
            "--to is missing\n  hint: lab preflight --from HOST --to HOST; see lab host ls",
        ),
        (
            ("preflight", "--from", "4.14", "--to", "xen-4.14"),
            "--from and --to are both xen-4.14; a guest must move to another host",
        ),
        (
            ("preflight", "--from", "4.14", "--to", "4.17"),
            "no live host 'xen-4.17'; known: xen-4.14, xen-4.15\n  hint: did you mean 'xen-4.15'?",
        ),
        ((*PAIR, "wbe"), "no guest on xen-4.14 'wbe'; known: db, web\n  hint: did you mean 'web'?"),
        ((*PAIR, "--how", "warm"), "how 'warm' is not one of cold, cold-shared, live, save-restore"),
        (
            (*PAIR, "--kernel", "6.12"),
            "kernel '6.12': a guest that is moved live keeps its kernel\n  hint: only a cold move starts it anew",
        ),
        ((*PAIR, "--score", "latest"), "--score looks at a run; it takes no hosts and no guests"),
    ],
)
def test_what_cannot_be_meant_ends_with_2(
    lab: Lab, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], said: str
) -> None:
    assert cli.main(list(words)) == 2
    assert capsys.readouterr().err == f"error: {said}\n"
    assert not lab.reports.exists()


def test_a_mistyped_host_is_told_before_any_is_asked(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["preflight", "--from", "4.14", "--to", "4.51"]) == 2
    assert "did you mean 'xen-4.15'?" in capsys.readouterr().err
    assert lab.asked == []


def test_a_host_in_trouble_ends_with_3(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    lab.said["xen-4.15"] = ""
    assert cli.main([*PAIR]) == 3
    assert capsys.readouterr().err == (
        "error: xen-4.15: half an answer to what it is: status 0\n  hint: can you run a command on xen-4.15?\n"
    )


def test_the_score_of_a_run(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    good = matrix(
        cell(name="a", preflight="go"),
        cell(name="b", preflight="no-go", preflight_rules="cpu"),
        cell(Outcome.UNSUPPORTED, name="c", preflight="no-go", preflight_rules="log-dirty"),
        cell(name="d"),
    )
    assert cli.main(["preflight", "--score", lab.record(good)]) == 0
    assert capsys.readouterr().out == (
        "run 20261122-1: preflight against what 3 moves did\n"
        "\n"
        "preflight said  pass  fail  unsupported\n"
        "go                 1     0            0\n"
        "no-go              1     0            1\n"
        "untested           0     0            0\n"
        "\n"
        "false go: 0\n"
        "no-go, and it worked: 1\n"
        "    ! warn  m.lab.yaml::b (cpu)\n"
        "not counted: 1 moves without an answer, 0 without a verdict\n"
    )


def test_a_false_go_is_named_and_ends_with_1(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    bad = lab.record(matrix(cell(Outcome.FAIL, name="a", preflight="go")))
    assert cli.main(["preflight", "--score", bad]) == 1
    assert "false go: 1\n    ✘ no-go  m.lab.yaml::a: fail\n" in capsys.readouterr().out
    assert cli.main(["preflight", "--score", bad, "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["false_go"] == ["m.lab.yaml::a"]


def test_a_run_without_answers_scores_nothing(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["preflight", "--score", lab.record(matrix(cell()))]) == 3
    assert capsys.readouterr().err == (
        "error: run 20261122-1: none of its 1 migrations has a verdict and preflight's answer\n"
        "  hint: score a run of migration scenarios\n"
    )


def test_help_has_examples_and_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["preflight", "--help"]) == 0
    said = capsys.readouterr().out
    assert "lab preflight --from xen-4.14" in said.partition("Example")[2]
    assert "Exit codes: 0 go for all" in said


def test_where_the_encoding_has_no_glyphs_words_are_enough(lab: Lab) -> None:
    hostile = Reason(Decision.NO_GO, "name", "taken by \x1b[31mred", "libvirt")
    text = render([Answer("web", "a", "b", "live", (hostile,))], encoding="ascii")
    assert text.startswith("X no-go web: live, a to b\n    X no-go  name: taken by ")
    assert text.isascii()
    assert "\x1b" not in text
    assert render([]) == "no guest to be moved\n"
    assert render_score(Score((Scored("c", Decision.GO, Outcome.FAIL),)), "r", encoding="ascii").isascii()
    assert lab.asked == []


def test_hosts_of_a_hosts_file_are_meant_by_their_names(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "hosts.yaml"
    file.write_text("hosts: {old: {ssh: xen-4.14}, new: {ssh: xen-4.15}}\n")
    run = lab.record(matrix(cell()))
    words = ("preflight", "--from", "old", "--to", "new", "web", "--evidence", run)
    assert cli.main([*words, "--hosts", str(file)]) == 0
    monkeypatch.setenv("LAB_HOSTS", str(file))
    assert cli.main(list(words)) == 0
    assert lab.asked == ["xen-4.14", "xen-4.15"] * 2


def test_a_hosts_file_with_a_mistake_is_told_with_its_place(
    lab: Lab, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "hosts.yaml"
    file.write_text("hosts:\n  old: {shh: root@alpha}\n")
    assert cli.main(["preflight", "--from", "old", "--to", "new", "--hosts", str(file)]) == 2
    assert "hosts.yaml:2:" in capsys.readouterr().err
    assert lab.asked == []
