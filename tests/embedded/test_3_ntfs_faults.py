"""NTFS cells on a real bench: a planted fault is found and named; a guest that dies once condemns no driver."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.deadline import Deadline
from lab.ntfs.specimen import Specimen
from lab.ntfs.volumes import Volume, mounted
from lab.scenario.cell import Cell, NtfsRequest
from lab.stage.judging import judge_volume
from lab.stage.prepared import PreparedVolume
from lab.stage.xen import XenStage
from lab.verdict import Finding, Outcome, Verdict

VICTIM = "sizes/1048576.bin"


@pytest.fixture(scope="module")
def cell(quick_cells: tuple[Cell, ...]) -> Cell:
    return next(cell for cell in quick_cells if cell.name == "ntfs3-trixie-clean-read")


@pytest.fixture(scope="module")
def planted(stage: XenStage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """More volumes on the shelf: copies of `clean`, each with one fault."""
    deadline = Deadline(120)
    original = stage.ntfs.volume("clean", deadline)
    folder = tmp_path_factory.mktemp("planted")
    (folder / "mnt").mkdir()
    for name in ("zeroed", "lost", "no-boot-sector"):
        copy = folder / f"{name}.img"
        copy.write_bytes(original.path.read_bytes())
        PLANT[name](copy, folder / "mnt")
        recipe = dataclasses.replace(original.recipe, name=name)
        stage.ntfs.specimens[name] = Specimen.of(Volume(copy, recipe, original.manifest))
    yield
    for name in PLANT:
        del stage.ntfs.specimens[name]


def zero(image: Path, at: Path) -> None:
    """A file whose clusters were zeroed while its metadata stayed whole."""
    with mounted(image, at, options=(), deadline=Deadline(60)):
        content = (at / VICTIM).read_bytes()
    whole = bytearray(image.read_bytes())
    start = whole.find(content)
    assert start > 0
    whole[start : start + len(content)] = bytes(len(content))
    image.write_bytes(whole)


def lose(image: Path, at: Path) -> None:
    with mounted(image, at, options=(), deadline=Deadline(60)):
        (at / VICTIM).unlink()


def wipe(image: Path, _at: Path) -> None:
    with image.open("r+b") as file:
        file.write(bytes(512))


PLANT = {"zeroed": zero, "lost": lose, "no-boot-sector": wipe}


def verdict_on(stage: XenStage, cell: Cell, volume: str, evidence: Path) -> Verdict:
    assert isinstance(cell.request, NtfsRequest)
    request = dataclasses.replace(cell.request, volume=volume)
    wanted = dataclasses.replace(cell, request=request)
    with stage.prepare(wanted, evidence, Deadline(600)) as prepared:
        return stage.judge(wanted, prepared, evidence, Deadline(600))


@pytest.mark.usefixtures("planted")
def test_a_healthy_volume_is_read_right(stage: XenStage, cell: Cell, tmp_path: Path) -> None:
    verdict = verdict_on(stage, cell, "clean", tmp_path)
    assert (verdict.outcome, verdict.finding) == (Outcome.PASS, Finding.CORRECT)
    assert verdict.facts["kernel_version"].startswith("6.12.")
    # The guest's serial console is recorded from its first line on.
    (console,) = tmp_path.glob("*-console.log")
    assert "lab guest: ready" in console.read_text()


@pytest.mark.usefixtures("planted")
def test_a_zeroed_file_is_found_twice_and_named(stage: XenStage, cell: Cell, tmp_path: Path) -> None:
    verdict = verdict_on(stage, cell, "zeroed", tmp_path)
    assert (verdict.outcome, verdict.finding) == (Outcome.FAIL, Finding.WRONG_DATA)
    assert f"'{VICTIM}': bytes from byte 0" in verdict.reason
    assert verdict.reason.endswith("(seen twice, the second time on a fresh guest)")
    assert (tmp_path / "first" / "observed.json").is_file()


@pytest.mark.usefixtures("planted")
def test_a_lost_name_is_named(stage: XenStage, cell: Cell, tmp_path: Path) -> None:
    verdict = verdict_on(stage, cell, "lost", tmp_path)
    assert verdict.finding is Finding.WRONG_DATA
    # The folder's own time changed with it; the name is told beside that.
    names = next(check for check in verdict.checks if check.name == "names")
    assert names.outcome is Outcome.FAIL
    assert f"'{VICTIM}': missing" in names.observed


@pytest.mark.usefixtures("planted")
def test_a_volume_without_a_boot_sector_is_refused(stage: XenStage, cell: Cell, tmp_path: Path) -> None:
    verdict = verdict_on(stage, cell, "no-boot-sector", tmp_path)
    assert verdict.finding is Finding.REFUSED


def test_a_guest_that_dies_once_does_not_condemn_the_driver(stage: XenStage, cell: Cell, tmp_path: Path) -> None:
    assert isinstance(cell.request, NtfsRequest)
    deadline = Deadline(600)
    with stage.prepare(cell, tmp_path, deadline) as prepared:
        assert isinstance(prepared, PreparedVolume)
        guest = prepared.bench.guest
        guest.shell.run("sh", "-c", "(sleep 1; echo c > /proc/sysrq-trigger) >/dev/null 2>&1 &", deadline=deadline)
        # The kernel dies while the cell is judged; the answer is a crash, and the repeat on a fresh guest is clean.
        first = judge_volume(cell.request, prepared, tmp_path, deadline)
        while first.outcome is Outcome.PASS:
            first = judge_volume(cell.request, prepared, tmp_path, deadline)
        assert first.finding in {Finding.CRASH, Finding.HANG}
    assert verdict_on(stage, cell, "clean", tmp_path).outcome is Outcome.PASS
