"""``lab agree``: a run whose cells differ in one axis only, or two."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lab import cli
from lab.matrix.model import HostFacts, Matrix, MatrixCell, RunFacts
from lab.verdict import Outcome

Captured = pytest.CaptureFixture[str]
HOST = HostFacts("xen-4.20", "embedded", "4.20.4", "11.3.0", "6.12", "")


def record(folder: Path, *stages: str, differences: str = "[]", outcome: Outcome = Outcome.PASS) -> Path:
    """A matrix.json with a cell of each stage, and what their evidence says."""
    cells = []
    for stage in stages:
        named = f"evidence/clean-{stage}/differences.json"
        (folder / named).parent.mkdir(parents=True)
        (folder / named).write_text(differences)
        first = folder / f"evidence/clean-{stage}/first/differences.json"
        first.parent.mkdir()
        first.write_text("of a first attempt")
        axes = {"host": "4.20" if stage == "xen" else stage, "volume": "clean", "stage": stage}
        evidence = (f"evidence/clean-{stage}/first/differences.json", named)
        cells.append(MatrixCell(f"s.lab.yaml::clean-{stage}", "both", "ntfs", axes, outcome, evidence=evidence))
    hosts = (HOST,) if "xen" in stages else ()
    run = RunFacts(folder.name, "2026-11-23T01:20:29+00:00", 9.0, "lab run", "1f2e3d4", "tcg", hosts)
    path = folder / "matrix.json"
    path.write_text(json.dumps(Matrix(run, tuple(cells)).to_json()))
    return path


def test_a_run_on_both_stages_agrees_with_itself(tmp_path: Path, capsys: Captured) -> None:
    assert cli.main(["agree", str(record(tmp_path, "xen", "microvm"))]) == 0
    assert capsys.readouterr().out == "xen and microvm: 1 of 1 agree\n"
    assert cli.main(["agree", str(tmp_path / "matrix.json"), "--all"]) == 0
    assert capsys.readouterr().out == "clean: xen and microvm\nxen and microvm: 1 of 1 agree\n"


def test_two_runs_that_do_not_agree_end_with_1(tmp_path: Path, capsys: Captured) -> None:
    one = record(tmp_path / "one", "xen")
    two = record(tmp_path / "two", "microvm", differences='["a"]')
    assert cli.main(["agree", str(one), str(two)]) == 1
    assert capsys.readouterr().out == (
        "clean: not the same: differences.json of their evidence\nxen and microvm: 0 of 1 agree, 1 do not\n"
    )
    assert cli.main(["agree", str(one), str(two), "--json"]) == 1
    assert json.loads(capsys.readouterr().out) == {
        "schema": "lab.agree/1",
        "across": "stage",
        "groups": [
            {
                "what": "clean",
                "cells": {"xen": ["s.lab.yaml::clean-xen"], "microvm": ["s.lab.yaml::clean-microvm"]},
                "unlike": ["differences.json of their evidence"],
                "lacking": [],
            }
        ],
    }


def test_where_it_cannot_be_told_the_end_is_3(tmp_path: Path, capsys: Captured) -> None:
    one = record(tmp_path / "one", "xen")
    two = record(tmp_path / "two", "microvm", outcome=Outcome.ERROR)
    assert cli.main(["agree", str(one), str(two)]) == 3
    assert capsys.readouterr().out == (
        "clean: cannot be told: microvm: error: \nxen and microvm: 0 of 1 agree, of 1 it cannot be told\n"
    )


def test_one_stage_alone_cannot_be_compared(tmp_path: Path, capsys: Captured) -> None:
    assert cli.main(["agree", str(record(tmp_path, "microvm"))]) == 2
    assert capsys.readouterr().err == (
        "error: nothing to compare: stage is 'microvm' throughout each scenario\n"
        "  hint: name the run with the other stage, too\n"
    )


def test_another_axis_can_be_asked_for(tmp_path: Path, capsys: Captured) -> None:
    path = record(tmp_path, "xen", "microvm")
    assert cli.main(["agree", str(path), "--across", "volume"]) == 2
    assert capsys.readouterr().err.startswith("error: nothing to compare: volume is 'clean' throughout each scenario\n")
