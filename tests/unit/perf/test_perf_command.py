"""``lab ntfs perf``: what it prints, what it keeps, and how it ends. No guest: drivers as fast as a script says."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from lab import cli
from lab.errors import HostError
from lab.ntfs.drivers import drivers
from lab.ntfs.perf import PerfResult, Stamp
from lab.report import perf_markdown, perf_text
from lab.run_record import read_matrix
from lab.verdict import Outcome
from tests.unit.perf.benches import Document, FakeStage

Captured = pytest.CaptureFixture[str]
ALWAYS = range(1000)


@dataclass
class Desk:
    """A folder to work in, and the stage that the command gets."""

    folder: Path
    stage: FakeStage = field(default_factory=FakeStage)

    def lab(self, *words: str) -> int:
        """The exit code of ``lab ntfs perf``."""
        return cli.main(["ntfs", "perf", *words, "--reports", str(self.folder / "reports")])

    @property
    def run(self) -> Path:
        return (self.folder / "reports" / "latest").resolve()

    @property
    def document(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.run / "perf.json").read_text())
        return found

    def figure(self, driver: str, measure: str) -> Mapping[str, Any]:
        (kernel,) = self.document["kernels"]
        (found,) = (each for each in kernel["figures"] if (each["driver"], each["measure"]) == (driver, measure))
        return dict(found)


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    from lab.commands import ntfs_perf

    made = Desk(tmp_path, FakeStage(speeds={"ntfs3": (0.1, 0.11, 0.12), "ntfs-3g": (0.5, 0.6, 0.7)}))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(ntfs_perf, "open_perf_stage", lambda settings, *, host: made.stage.open(settings, host=host))
    return made


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(resources.files("lab.ntfs.perf").joinpath("perf.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(found)
    return found


KNOWN = "metadata, mount, mount-1t, read-sequential, read-small, walk, write-sequential, write-small"
PAIR = ("--drivers", "ntfs3,ntfs-3g", "--kernels", "trixie", "--rounds", "3")


def test_the_best_comes_first_with_its_rank_and_the_others_say_how_many_times_slower(
    desk: Desk, capsys: Captured
) -> None:
    assert desk.lab(*PAIR, "--measures", "walk,mount", "--stage", "microvm") == 0
    said = capsys.readouterr()
    lines = said.out.splitlines()
    assert (
        lines[1]
        == f"lab ntfs perf {' '.join(PAIR)} --measures walk,mount --stage microvm --reports {desk.folder}/reports"
    )
    assert lines[2].startswith("tcg, stage microvm (no Xen), 3 rounds, crossroads-lab ")
    assert re.fullmatch(r"this machine: \d+ CPUs, load [\d.]+ before and [\d.]+ at the end \(1 .*\)", lines[3])
    assert lines[4:] == [
        "large file 1 MiB, 8 small files of 4096 bytes, 20 names in the metadata loop",
        "",
        "== trixie: kernel 6.12.0 (6.12.0-1, one guest)",
        "   ntfs3: 6.12.0, as ntfs3",
        "   ntfs-3g: 6.12.0, as ntfs-3g",
        "",
        "mount: mount a small volume, until its root can be looked at; ms, less is better",
        "  1   ntfs3    110  100 to 120  x1.00",
        "  2   ntfs-3g  600  500 to 700  x5.45",
        "",
        "walk: stat every name of a directory of 10 000; names/s, more is better",
        "  1   ntfs3    90900  83300 to 100000  x1.00",
        "  2   ntfs-3g  16700   14300 to 20000  x5.45",
        "",
        "Emulated: TCG figures are not hardware figures. Compare drivers with each other, on one kernel, only.",
        "4 of 4 figures",
        "",
        f"record: {desk.run}",
        f"figures: {desk.run}/perf.json",
        f"report: {desk.run}/perf.md",
    ]
    assert [re.sub(r"  [0-9].*", "", line) for line in said.err.splitlines()] == [
        "[1/6] pass  trixie round 1 ntfs3",
        "[2/6] pass  trixie round 1 ntfs-3g",
        "[3/6] pass  trixie round 2 ntfs-3g",
        "[4/6] pass  trixie round 2 ntfs3",
        "[5/6] pass  trixie round 3 ntfs3",
        "[6/6] pass  trixie round 3 ntfs-3g",
    ]
    assert all("(eta " in line for line in said.err.splitlines()[:-1])
    assert desk.stage.asked == [""]
    assert desk.stage.log[-1] == "end"


def test_the_document_is_stamped_and_as_its_schema_says(desk: Desk, schema: dict[str, Any]) -> None:
    assert desk.lab(*PAIR) == 0
    document = desk.document
    jsonschema.validate(document, schema)
    run = document["run"]
    assert {name: run[name] for name in ("run", "stage", "host", "accelerator", "rounds")} == {
        "run": desk.run.name,
        "stage": "xen",
        "host": "4.20",
        "accelerator": "tcg",
        "rounds": 3,
    }
    assert run["command"].startswith("lab ntfs perf --drivers ntfs3,ntfs-3g ")
    assert "TCG figures are not hardware figures" in run["caveat"]
    assert document["sizes"] == {"large": 1 << 20, "small": 8, "each": 4096, "names": 20, "kept": 10}
    (kernel,) = document["kernels"]
    assert {name: kernel[name] for name in ("release", "version", "package", "fio", "guests")} == {
        "release": "trixie",
        "version": "6.12.0",
        "package": "6.12.0-1",
        "fio": "fio-3.39",
        "guests": 1,
    }
    assert kernel["drivers"][0] == {"name": "ntfs3", "version": "6.12.0", "type": "ntfs3", "options": ["ro", "rw"]}
    assert kernel["order"] == [["ntfs3", "ntfs-3g"], ["ntfs-3g", "ntfs3"], ["ntfs3", "ntfs-3g"]]
    found = desk.figure("ntfs-3g", "metadata")
    assert found == {
        "measure": "metadata",
        "driver": "ntfs-3g",
        "outcome": "pass",
        "finding": "correct",
        "reason": "",
        "samples": [116.0, 96.6667, 82.8571],
        "median": 96.6667,
        "low": 82.8571,
        "high": 116.0,
        "ratio": 5.45455,
        "rank": 2,
        "tied": False,
    }


def test_the_record_is_that_of_a_run_with_a_cell_a_figure_and_every_sample(desk: Desk) -> None:
    assert desk.lab(*PAIR, "--measures", "mount") == 0
    assert {path.name for path in desk.run.iterdir()} == {
        *("run.jsonl", "matrix.json", "matrix.md", "matrix.html", "perf.json", "perf.md", "evidence"),
    }
    cells = read_matrix(desk.run).cells
    assert [(cell.id, cell.outcome) for cell in cells] == [
        ("ntfs-perf::ntfs3-trixie-mount", Outcome.PASS),
        ("ntfs-perf::ntfs-3g-trixie-mount", Outcome.PASS),
    ]
    assert str(cells[0].checks[0]) == (
        "mount: pass (expected done, and right afterwards, observed 110 ms (100 to 120))"
    )
    assert (cells[0].axes["kernel"], cells[0].axes["driver_version"], cells[0].axes["host"]) == (
        "trixie",
        "6.12.0",
        "4.20",
    )
    events = [json.loads(line) for line in (desk.run / "run.jsonl").read_text().splitlines()]
    samples = [event for event in events if event["event"] == "sample"]
    assert [(one["round"], one["driver"], one["value"]) for one in samples] == [
        *((1, "ntfs3", 110.0), (1, "ntfs-3g", 600.0), (2, "ntfs-3g", 700.0)),
        *((2, "ntfs3", 120.0), (3, "ntfs3", 100.0), (3, "ntfs-3g", 500.0)),
    ]


def test_with_two_rounds_there_are_no_ranks_and_that_is_said(
    desk: Desk, schema: dict[str, Any], capsys: Captured
) -> None:
    assert desk.lab("--drivers", "ntfs3,ntfs-3g", "--kernels", "trixie", "--rounds", "2", "--measures", "mount") == 0
    said = capsys.readouterr().out
    assert "  -   ntfs3    115  110 to 120  x1.00\n  -   ntfs-3g  650  600 to 700  x5.65\n" in said
    assert "\nFewer than 3 rounds: ratios, and no ranks.\n" in said
    jsonschema.validate(desk.document, schema)
    assert desk.document["ranked"] is False
    assert (desk.figure("ntfs-3g", "mount")["rank"], desk.figure("ntfs-3g", "mount")["ratio"]) == (None, 5.65217)
    assert "Fewer than 3 rounds: ratios, and no ranks." in (desk.run / "perf.md").read_text()


def test_drivers_that_cannot_be_told_apart_share_a_rank(desk: Desk, capsys: Captured) -> None:
    desk.stage.speeds["lowntfs-3g"] = (0.55, 0.65, 0.75)
    words = ("--drivers", "lowntfs-3g,ntfs-3g,ntfs3", "--kernels", "trixie", "--rounds", "3", "--measures", "mount")
    assert desk.lab(*words) == 0
    said = capsys.readouterr().out
    assert (
        "  1   ntfs3       110  100 to 120  x1.00\n"
        "  2=  ntfs-3g     600  500 to 700  x5.45\n"
        "  2=  lowntfs-3g  650  550 to 750  x5.91\n"
        "\n= no clear order: the ranges of these drivers overlap\n"
    ) in said


def test_a_fast_wrong_driver_ends_with_1_and_has_no_rank(desk: Desk, schema: dict[str, Any], capsys: Captured) -> None:
    def zeros(found: Document) -> Document:
        found["written"]["files"]["large.bin"][1] = [0] * 256
        found["taken"]["seconds"] = 0.000001
        return found

    desk.stage.edits.append(("ntfs-3g", "write-sequential", ALWAYS, zeros))
    assert desk.lab(*PAIR, "--measures", "write-sequential") == 1
    said = capsys.readouterr()
    why = (
        "wrong-data: read back after another mount: 'large.bin': other bytes from byte 0 on "
        "(seen twice, the second time on a fresh guest)"
    )
    assert f"  1   ntfs3    9.09  8.33 to 10  x1.00\n  -   ntfs-3g  ✘ fail: {why}\n" in said.out
    assert "1 of 2 figures, 1 fail\n" in said.out
    assert "[2/6] fail  trixie round 1 ntfs-3g" in said.err
    jsonschema.validate(desk.document, schema)
    found = desk.figure("ntfs-3g", "write-sequential")
    assert (found["outcome"], found["finding"], found["reason"], found["rank"]) == ("fail", "wrong-data", why, None)
    assert f"- ✘ **fail** ntfs-3g, write-sequential: {why}" in (desk.run / "perf.md").read_text()
    cell = read_matrix(desk.run).cells[1]
    assert (cell.outcome, cell.finding, cell.expected) == (Outcome.FAIL, "wrong-data", False)
    assert [path.rpartition("/")[2] for path in cell.evidence] == ["console.log", "probe.json"]


def test_a_driver_that_a_kernel_has_not_is_shown_and_no_failure(
    desk: Desk, schema: dict[str, Any], capsys: Captured
) -> None:
    words = ("--drivers", "ntfs,ntfs-3g", "--kernels", "trixie", "--rounds", "3", "--measures", "mount")
    assert desk.lab(*words) == 0
    why = "no-driver: the kernel of trixie has no ntfs, and it is not compiled for it"
    assert f"  -   ntfs     ∅ unsupported: {why}\n" in capsys.readouterr().out
    jsonschema.validate(desk.document, schema)
    assert "| ✔" not in (desk.run / "perf.md").read_text()


def test_the_markdown_has_measures_down_and_drivers_across(desk: Desk) -> None:
    assert desk.lab(*PAIR, "--measures", "mount,walk") == 0
    page = (desk.run / "perf.md").read_text().splitlines()
    assert "| measure | ntfs3 | ntfs-3g |" in page
    assert (
        "| **mount**, ms (less is better) | **1** 110 (100 to 120), \u00d71.00 | **2** 600 (500 to 700), \u00d75.45 |"
    ) in page
    assert (
        "**Emulated: TCG figures are not hardware figures. Compare drivers with each other, on one kernel, only.**"
        in page
    )
    assert page[-1] == "**4 of 4 figures**"


def test_json_on_standard_output_is_the_document(desk: Desk, capsys: Captured) -> None:
    assert desk.lab(*PAIR, "--measures", "mount", "--json") == 0
    assert json.loads(capsys.readouterr().out) == desk.document


def test_trouble_with_one_kernel_ends_with_3_and_the_other_is_measured(
    desk: Desk, schema: dict[str, Any], capsys: Captured
) -> None:
    desk.stage.troubles = [HostError("xen-4.20: it does not come up", hint="ask it")]
    assert desk.lab("--drivers", "ntfs-3g", "--rounds", "3", "--measures", "mount") == 3
    said = capsys.readouterr()
    assert said.err.endswith("error: xen-4.20: it does not come up\n  hint: ask it\n")
    assert "== trixie: kernel unknown (0 guests)\n   ntfs-3g: not tried\n" in said.out
    assert "  -   ntfs-3g  ! error: xen-4.20: it does not come up\n" in said.out
    assert "== forky: kernel 6.12.0 (6.12.0-1, one guest)\n" in said.out
    assert "1 of 2 figures, 1 error\n" in said.out
    jsonschema.validate(desk.document, schema)


def test_an_interrupt_keeps_what_there_is_and_ends_with_3(desk: Desk, schema: dict[str, Any], capsys: Captured) -> None:
    def interrupt(_found: Document) -> KeyboardInterrupt:
        return KeyboardInterrupt()

    desk.stage.edits.append(("ntfs-3g", "walk", range(1, 2), interrupt))
    assert desk.lab(*PAIR, "--measures", "mount,walk,metadata") == 3
    said = capsys.readouterr()
    assert said.err.endswith(f"interrupted; 6 of 6 figures; record at {desk.run}\n")
    assert "\nWhere there is a ratio and no rank, a driver has fewer than 3 samples.\n" in said.out
    assert desk.stage.log[-2:] == ["close", "end"]
    jsonschema.validate(desk.document, schema)
    assert desk.figure("ntfs-3g", "mount")["samples"] == [600.0, 700.0]
    # Two of three rounds: no rank, though three were asked for.
    assert desk.figure("ntfs-3g", "walk")["rank"] is None


def test_a_bug_in_the_lab_loses_no_figure(desk: Desk, schema: dict[str, Any], capsys: Captured) -> None:
    def burst(_found: Document) -> ZeroDivisionError:
        return ZeroDivisionError("oops")

    desk.stage.edits.append(("ntfs-3g", "walk", range(1), burst))
    assert desk.lab(*PAIR, "--measures", "mount,walk") == 3
    assert "error: ZeroDivisionError: oops\n  this is a bug in the lab; " in capsys.readouterr().err
    assert desk.stage.log[-2:] == ["close", "end"]
    jsonschema.validate(desk.document, schema)
    assert len(desk.figure("ntfs3", "walk")["samples"]) == 1


def test_what_was_not_got_to_is_no_blank(desk: Desk, schema: dict[str, Any], capsys: Captured) -> None:
    def interrupt(_found: Document) -> KeyboardInterrupt:
        return KeyboardInterrupt()

    desk.stage.edits.append(("ntfs3", "walk", range(1), interrupt))
    assert desk.lab(*PAIR, "--measures", "mount,walk") == 3
    assert "  -   ntfs-3g  - skipped: not got to\n" in capsys.readouterr().out
    jsonschema.validate(desk.document, schema)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--measures", "walkk"), f"error: no measure 'walkk'; known: {KNOWN}\n  hint: did you mean 'walk'?\n"),
        (
            ("--drivers", "ntfs4"),
            f"error: no driver 'ntfs4'; known: {', '.join(drivers)}\n  hint: did you mean 'ntfs'?\n",
        ),
        (("--rounds", "0"), "error: --rounds 0: not between 1 and 100\n  hint: ranks need 3, and 5 are better\n"),
    ],
)
def test_what_cannot_be_meant_ends_with_2_and_nothing_is_kept(
    desk: Desk, capsys: Captured, words: tuple[str, ...], message: str
) -> None:
    assert desk.lab(*words) == 2
    assert capsys.readouterr() == ("", message)
    assert not (desk.folder / "reports").exists()


def test_help_has_an_example(desk: Desk, capsys: Captured) -> None:
    assert desk.lab("--help") == 0
    said = capsys.readouterr().out
    assert "Examples: lab ntfs perf | lab ntfs perf --drivers ntfs3,ntfs-3g" in said
    assert "Exit codes: 0" in said


def test_without_any_kernel_there_is_a_sentence(schema: dict[str, Any]) -> None:
    empty = PerfResult(Stamp(run="r", stage="xen", rounds=3))
    assert perf_text.render(empty).splitlines()[-1] == "0 of 0 figures"
    assert "**0 of 0 figures**" in perf_markdown.render(empty)
    jsonschema.validate(empty.to_json(), schema)


def test_where_the_encoding_can_do_no_better_it_is_ascii() -> None:
    stamp = replace(Stamp(), command="lab ntfs perf \u00e9\x1b[31m")
    assert perf_text.render(PerfResult(stamp), encoding="ascii").isascii()


@pytest.mark.parametrize(
    ("value", "text"),
    [(1234.5, "1230"), (12.345, "12.3"), (0.012345, "0.0123"), (0.0, "0"), (999.9, "1000"), (3e6, "3000000")],
)
def test_a_number_has_three_digits(value: float, text: str) -> None:
    assert perf_text.number(value) == text
