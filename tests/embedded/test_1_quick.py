"""The lab at its smallest, run as a user runs it: the whole of scenarios/quick.lab.yaml."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from lab.run_record import read_matrix
from tests.embedded.conftest import QUICK, ROOT

VOLUMES = {"clean", "dirty", "compressed", "sparse", "unicode-names"}


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    reports = tmp_path_factory.mktemp("reports")
    command = (sys.executable, "-m", "lab", "run", str(QUICK), "--reports", str(reports))
    done = subprocess.run(command, cwd=ROOT, check=False, timeout=2700, stdin=subprocess.DEVNULL)
    assert done.returncode == 0
    return (reports / "latest").resolve()


@pytest.fixture(scope="module")
def matrix(run_folder: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((run_folder / "matrix.json").read_text())
    return document


def test_the_record_is_whole(run_folder: Path, matrix: dict[str, Any]) -> None:
    schema = json.loads((ROOT / "lab/matrix/matrix.schema.json").read_text())
    jsonschema.validate(matrix, schema)
    assert {path.name for path in run_folder.iterdir()} >= {
        "run.jsonl",
        "matrix.json",
        "matrix.md",
        "matrix.html",
        "junit.xml",
        "allure-results",
        "evidence",
    }
    assert read_matrix(run_folder).to_json()["cells"] == matrix["cells"]
    assert {host["name"] for host in matrix["run"]["hosts"]} == {"xen-4.14", "xen-4.20"}


def test_a_32_bit_guest_moved_live_between_two_versions_of_xen(matrix: dict[str, Any]) -> None:
    moved = [cell for cell in matrix["cells"] if cell["kind"] == "migration" and cell["outcome"] == "pass"]
    assert [cell["axes"]["how"] for cell in moved] == ["live"]
    (cell,) = moved
    assert (cell["axes"]["userland"], cell["axes"]["source"], cell["axes"]["target"]) == ("i386", "4.14", "4.20")
    observed = {check["name"]: check["observed"] for check in cell["checks"]}
    assert observed["userland-bits"] == "32"
    assert observed["kernel-architecture"] == "x86_64"
    assert {"migrated", "same-boot", "same-process", "modules-kept", "module-loads-after:isofs"} <= set(observed)


def test_modules_load_on_the_newer_host(matrix: dict[str, Any]) -> None:
    (cell,) = [cell for cell in matrix["cells"] if cell["kind"] == "modules"]
    assert cell["outcome"] == "pass"
    assert {check["name"] for check in cell["checks"]} >= {"module-loads:loop", "module-loads:fuse", "modules-listed"}


def test_three_drivers_read_five_volumes(run_folder: Path, matrix: dict[str, Any]) -> None:
    cells = [cell for cell in matrix["cells"] if cell["kind"] == "ntfs"]
    seen = {(cell["axes"]["driver"], cell["axes"]["volume"]) for cell in cells}
    assert seen == {(driver, volume) for driver in ("ntfs3", "ntfs", "ntfs-3g") for volume in VOLUMES}
    for cell in cells:
        # What a driver did is an observation; that it was made, by the driver named, is what this test is about.
        assert cell["outcome"] in {"pass", "fail", "unsupported"}, cell
        assert cell["evidence"]
        assert all((run_folder / path).is_file() for path in cell["evidence"])
        mounted = [check for check in cell["checks"] if check["name"] == "type-in-force"]
        assert mounted or cell["outcome"] == "unsupported"


def test_nothing_is_left_behind() -> None:
    running = subprocess.run(
        ("pgrep", "-x", "qemu-system-x86"), capture_output=True, text=True, check=False, timeout=10
    )
    assert running.stdout == ""
