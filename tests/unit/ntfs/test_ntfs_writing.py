"""A cell that writes, from the shelf and back: the probe for real, behind a loop device of this machine."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lab.deadline import Deadline
from lab.errors import DeadlineError, HostError, LabError
from lab.ntfs.checker import NTFSFIX
from lab.ntfs.drivers import drivers
from lab.ntfs.inspection import inspect
from lab.ntfs.operations import operations
from lab.ntfs.pristine import Pristine
from lab.ntfs.shelf import Shelf
from lab.ntfs.specimen import Specimen
from lab.ntfs.volumes import State, Volume
from lab.process import Completed
from lab.scenario.cell import GuestRequest, HostRequest, KernelRequest, NtfsRequest
from lab.stage import judging, writing
from lab.stage.bench import Bench
from lab.stage.prepared import PreparedVolume
from lab.verdict import Finding, Outcome, Verdict
from tests.unit.ntfs.local import Answer, LocalGuest, needs_loop
from tests.unit.ntfs.written import named

NTFS_3G = drivers["ntfs-3g"]


@pytest.fixture
def bench(built: Mapping[str, Volume], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Bench]:
    monkeypatch.setattr(writing, "FIRST_READERS", ("libfsntfs",))
    monkeypatch.setattr("lab.ntfs.pristine.FIRST_READERS", ("libfsntfs",))

    def make(name: str, twist: Answer = lambda document: document) -> Bench:
        shelf = Shelf.empty(tmp_path / "shelf.raw")
        shelf.put(Specimen.of(built[name]), Deadline(30))
        guest: Any = LocalGuest(shelf.disk, tmp_path / "mnt", twist)
        return Bench(guest, shelf, checkers=(NTFSFIX,))

    return make


def judged(used: Bench, volume: str, operation: str, folder: Path, driver: str = "ntfs-3g") -> Verdict:
    guest = GuestRequest("ntfs", "trixie", "amd64", KernelRequest("trixie"), system="probe")
    request = NtfsRequest(HostRequest("lab", "4.20"), guest, driver, volume, operation)
    evidence = folder / "evidence"
    evidence.mkdir(exist_ok=True)
    prepared = PreparedVolume(used, drivers[driver], {"kernel_version": "1"})
    return judging.judge_volume(request, prepared, evidence, Deadline(900))


@needs_loop
def test_a_fresh_copy_is_written_and_looked_at_from_outside(bench: Callable[..., Bench], tmp_path: Path) -> None:
    used = bench("streams")
    before = used.shelf.digest("streams", Deadline(30))
    verdict = judged(used, "streams", "append", tmp_path)
    assert (verdict.outcome, verdict.finding, verdict.reason) == (Outcome.PASS, Finding.CORRECT, "")
    assert {"step:append/resident", "reader:libfsntfs", "reader:structures", "checker:ntfsfix"} <= {
        check.name for check in verdict.checks
    }
    assert verdict.facts["options_asked"] == "rw,permissions,streams_interface=xattr"
    assert verdict.facts["kernel_version"] == os.uname().release
    # Its own copy has gone again, and the one that is only read is as it was.
    assert list(used.shelf.places) == ["streams"]
    assert used.shelf.digest("streams", Deadline(30)) == before
    evidence = tmp_path / "evidence"
    assert sorted(path.name for path in evidence.iterdir()) == [
        "differences.json",
        "expected.json",
        "observed.json",
        "outside.json",
        "steps.json",
    ]
    assert json.loads((evidence / "differences.json").read_text()) == []
    assert all(step["came_of_it"] == {} for step in json.loads((evidence / "steps.json").read_text()))
    outside = json.loads((evidence / "outside.json").read_text())
    assert set(outside["after"]["readers"]) == {"libfsntfs", "structures"}
    # The pristine volume is looked at once for all cells.
    pristine = used.pristine["streams"]
    judged(used, "streams", "create", tmp_path)
    assert used.pristine["streams"] is pristine
    places = [words[words.index("--part") + 1] for words in used.guest.asked]  # type: ignore[attr-defined] # the fake's own
    assert len(set(places)) == 2


@needs_loop
def test_what_the_driver_says_and_the_disk_does_not_is_found(bench: Callable[..., Bench], tmp_path: Path) -> None:
    def lie(document: dict[str, Any]) -> dict[str, Any]:
        entry = next(one for one in document["entries"] if one["path"] == "lab append/from 0.bin")
        entry["sha256"] = "0" * 64
        return document

    verdict = judged(bench("streams", lie), "streams", "append", tmp_path)
    assert (verdict.outcome, verdict.finding) == (Outcome.FAIL, Finding.WRONG_DATA)
    assert named(verdict, "step:append/new").outcome is Outcome.FAIL
    (one,) = json.loads((tmp_path / "evidence" / "differences.json").read_text())
    assert (one["seen_by"], one["path"], one["what"]) == ("driver", "lab append/from 0.bin", "bytes")


@needs_loop
@pytest.mark.parametrize("name", ["hibernated", "unclean-log"])
def test_what_another_system_still_has_is_left_alone(bench: Callable[..., Bench], tmp_path: Path, name: str) -> None:
    verdict = judged(bench(name), name, "append", tmp_path)
    if verdict.finding in {Finding.REFUSED, Finding.READ_ONLY}:
        assert verdict.outcome is Outcome.PASS
        assert named(verdict, "image-untouched").outcome is Outcome.PASS
    else:  # ntfs-3g clears an unclean log, as its manual says (recover)
        assert (name, verdict.finding) == ("unclean-log", Finding.CORRECT)


@needs_loop
def test_a_driver_that_declines_and_writes_all_the_same(bench: Callable[..., Bench], tmp_path: Path) -> None:
    used = bench("hibernated")

    def scribble(document: dict[str, Any]) -> dict[str, Any]:
        (name,) = set(used.shelf.places) - {"hibernated"}
        with used.shelf.disk.open("r+b") as disk:
            disk.seek(used.shelf.places[name].offset + 5000)
            disk.write(b"oops")
        return document

    used.guest.twist = scribble  # type: ignore[attr-defined] # the fake's own
    verdict = judged(used, "hibernated", "append", tmp_path)
    assert (verdict.outcome, verdict.finding) == (Outcome.FAIL, Finding.DAMAGED)
    assert verdict.reason.startswith(
        "damaged: image-untouched: fail (expected every byte as it was, observed other bytes)"
    )


@needs_loop
@pytest.mark.parametrize(("ended", "finding"), [("deadline", Finding.HANG), ("died", None)])
def test_a_guest_that_did_not_end_well_is_spoiled_and_its_copy_stays(
    bench: Callable[..., Bench], tmp_path: Path, ended: str, finding: Finding | None
) -> None:
    used = bench("streams", lambda document: {**document, "ended": ended})
    verdict = judged(used, "streams", "append", tmp_path)
    assert verdict.finding is finding
    assert used.spoiled == f"ntfs-3g on streams#1: {ended}"
    assert set(used.shelf.places) == {"streams", "streams#1"}


def test_a_guest_that_is_gone_in_the_middle_has_crashed(bench: Callable[..., Bench], tmp_path: Path) -> None:
    used = bench("streams")
    guest: Any = used.guest

    def gone(*_: object, **__: object) -> Completed:
        raise HostError("here: it has ended")

    guest.ask, guest.is_active = gone, lambda _: False
    verdict = judged(used, "streams", "append", tmp_path, "ntfs3")
    assert (verdict.outcome, verdict.finding) == (Outcome.FAIL, Finding.CRASH)
    assert verdict.facts["options_asked"] == "rw,iocharset=utf8"
    assert used.spoiled == "here: it has ended"


def test_where_there_is_nothing_to_do_nobody_is_asked(bench: Callable[..., Bench], tmp_path: Path) -> None:
    used = bench("streams")
    verdict = judged(used, "streams", "short-name", tmp_path)
    assert (verdict.outcome, verdict.finding) == (Outcome.SKIPPED, None)
    assert verdict.reason == "nothing-to-do: streams has nothing for the operation short-name"
    assert used.guest.asked == []  # type: ignore[attr-defined] # the fake's own


def test_no_driver_is_blamed_for_time_that_the_lab_used_up(bench: Callable[..., Bench]) -> None:
    with pytest.raises(DeadlineError) as caught:
        bench("streams").operate(NTFS_3G, "streams", "[]", seconds=60, deadline=Deadline(40, clock=lambda: 0.0))
    assert str(caught.value) == (
        "the steps of ntfs-3g on streams: 40 of 40 s are left, and it may take 120 s\n"
        "  hint: the machine is busy, or bringing up the guest took long; try again"
    )


@needs_loop
def test_one_more_reader_is_asked_where_the_first_ones_part(
    bench: Callable[..., Bench], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used = bench("streams")

    def one_sees_it_otherwise(*words: Any, **more: Any) -> Any:
        found = inspect(*words, **more)
        seen = dict(found.readings.manifests)
        seen["libfsntfs"] = replace(seen["libfsntfs"], entries=seen["libfsntfs"].entries[1:])
        return replace(found, readings=replace(found.readings, manifests=seen))

    monkeypatch.setattr(writing, "inspect", one_sees_it_otherwise)
    verdict = judged(used, "streams", "append", tmp_path)
    assert (verdict.outcome, verdict.finding) == (Outcome.UNSUPPORTED, Finding.DEGRADED)
    assert named(verdict, "readers-agree").observed.startswith("libfsntfs alone: 'folder': missing: expected directory")
    outside = json.loads((tmp_path / "evidence" / "outside.json").read_text())
    assert "sleuthkit" in outside["after"]["readers"] | outside["after"]["refusals"]


def test_a_volume_that_is_none_cannot_be_written_to(tmp_path: Path, built: Mapping[str, Volume]) -> None:
    path = tmp_path / "none.img"
    path.write_bytes(bytes(1 << 20))
    specimen = replace(Specimen.of(built["streams"]), path=path)
    with pytest.raises(LabError) as caught:
        Pristine.of(specimen, (), Deadline(60))
    assert str(caught.value).startswith(f"{path}+0x3: system id is ")

    damaged = Pristine.of(replace(specimen, state=State.DAMAGED), (), Deadline(60))
    assert damaged.terrain.layouts == {}
    assert {step.part for step in damaged.steps(operations["append"])} == {"append", "append/new"}
