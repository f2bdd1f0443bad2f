"""Bare guests for real: a crash, a hang and the end of QEMU are told apart, two run at once, and nothing is left."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lab.deadline import Deadline
from lab.errors import HostError
from lab.guests.bare import BareGuest
from lab.hosts.processes import naming
from lab.scenario.cell import Cell, NtfsRequest
from lab.scenario.stages import on_stage
from lab.settings import Settings
from lab.stage import open_stage
from lab.stage.judging import judge_volume
from lab.stage.prepared import PreparedVolume
from lab.stage.xen import XenStage
from lab.verdict import Finding, Outcome


@pytest.fixture(scope="module")
def cell(quick_cells: tuple[Cell, ...]) -> Cell:
    (found,) = (one for one in on_stage(quick_cells, "microvm") if one.name == "ntfs3-trixie-clean-read")
    return found


@contextmanager
def prepared(stage: XenStage, cell: Cell, evidence: Path) -> Iterator[tuple[PreparedVolume, BareGuest]]:
    with stage.prepare(cell, evidence, Deadline(900)) as ready:
        assert isinstance(ready, PreparedVolume)
        assert isinstance(ready.bench.guest, BareGuest)
        yield ready, ready.bench.guest


def later(guest: BareGuest, command: str) -> None:
    """Have the guest do that in a moment, when the cell is being judged."""
    script = f"(sleep 1; {command}) >/dev/null 2>&1 &"
    guest.shell.run("sh", "-c", script, deadline=Deadline(120)).check()


def judged(stage: XenStage, cell: Cell, evidence: Path) -> Outcome:
    with prepared(stage, cell, evidence) as (ready, _):
        return stage.judge(cell, ready, evidence, Deadline(600)).outcome


def test_a_healthy_volume_is_read_right_and_there_is_no_host(stage: XenStage, cell: Cell, tmp_path: Path) -> None:
    assert judged(stage, cell, tmp_path) is Outcome.PASS
    assert stage.hosts() == ()
    (console,) = tmp_path.glob("*-console.log")
    assert "lab guest: ready" in console.read_text()
    # What `lab clean` would find, had this process been killed.
    assert [process.program for process in naming([stage.folder.path])] == ["qemu-system-x86_64"]


def test_what_one_driver_has_written_another_reads(stage: XenStage, cell: Cell, tmp_path: Path) -> None:
    assert isinstance(cell.request, NtfsRequest)
    crossed = dataclasses.replace(cell, request=dataclasses.replace(cell.request, operation="create", writer="ntfs-3g"))
    with prepared(stage, crossed, tmp_path) as (ready, _):
        assert ready.facts["writer_finding"] == "correct"
        assert stage.judge(crossed, ready, tmp_path, Deadline(600)).outcome is Outcome.PASS
    expected = json.loads((tmp_path / "expected.json").read_text())
    assert "lab create" in {entry["path"] for entry in expected["entries"]}


PANIC = "echo c > /proc/sysrq-trigger"
# From outside a kernel that hangs is a probe that does not answer.
SILENCE = "for one in /proc/[0-9]*; do grep -q probe.py $one/cmdline && kill -STOP ${one#/proc/}; done"


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lab.stage.probed._GRACE", 1.0)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(("command", "finding"), [(PANIC, Finding.CRASH), (SILENCE, Finding.HANG)])
def test_a_guest_that_goes_down_is_told_and_the_next_one_is_fresh(
    stage: XenStage, cell: Cell, tmp_path: Path, command: str, finding: Finding
) -> None:
    with prepared(stage, cell, tmp_path) as (ready, guest):
        later(guest, command)
        for _ in range(20):
            verdict = judge_volume(cell.request, ready, tmp_path, Deadline(600))  # type: ignore[arg-type] # of an NTFS cell
            if verdict.outcome is not Outcome.PASS:
                break
        assert verdict.finding is finding
    assert judged(stage, cell, tmp_path) is Outcome.PASS


def test_a_qemu_that_is_killed_blames_nobody(stage: XenStage, cell: Cell, tmp_path: Path) -> None:
    with prepared(stage, cell, tmp_path) as (ready, guest):
        os.kill(guest.machine.process.pid, signal.SIGKILL)
        guest.machine.process.wait(10)
        with pytest.raises(HostError, match=r": QEMU was ended by signal 9; "):
            judge_volume(cell.request, ready, tmp_path, Deadline(600))  # type: ignore[arg-type] # of an NTFS cell
    assert judged(stage, cell, tmp_path) is Outcome.PASS


def test_two_stages_at_once_have_a_guest_each_from_the_same_snapshot(
    stage: XenStage, cell: Cell, tmp_path: Path
) -> None:
    folders = [tmp_path / name for name in ("one", "two")]
    for folder in folders:
        folder.mkdir()
    with (
        open_stage(Settings.from_environment()) as other,
        prepared(stage, cell, folders[0]) as (ready, one),
        prepared(other, dataclasses.replace(cell), folders[1]) as (too, two),
    ):
        assert one.name == two.name
        assert one.ports[7079] != two.ports[7079]
        for held, evidence in ((ready, folders[0]), (too, folders[1])):
            verdict = judge_volume(cell.request, held, evidence, Deadline(600))  # type: ignore[arg-type] # likewise
            assert verdict.outcome is Outcome.PASS
        gone = other.folder.path
    assert not gone.exists()
    assert naming([gone]) == ()
