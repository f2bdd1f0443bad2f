"""What one driver writes and another reads: real FUSE drivers, in guests that are this machine."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from lab.deadline import Deadline
from lab.errors import HostError
from lab.ntfs.checker import NTFSFIX
from lab.ntfs.drivers import drivers
from lab.ntfs.manifest import Manifest
from lab.ntfs.specimen import Specimen
from lab.ntfs.volumes import State, Volume
from lab.scenario.cell import GuestRequest, HostRequest, KernelRequest, NtfsRequest
from lab.stage.crossing import writing_request
from lab.stage.prepared import Foregone, PreparedVolume
from lab.stage.volumes import VolumeCells
from lab.verdict import Finding, Outcome, Verdict
from tests.unit.ntfs.local import Answer, LocalGuest, needs_loop

REQUEST = NtfsRequest(
    HostRequest("lab", "4.20"),
    GuestRequest("ntfs", "trixie", "amd64", KernelRequest("trixie"), system="probe"),
    "lowntfs-3g",
    "streams",
    "create",
    writer="ntfs-3g",
)


@dataclass
class World:
    """The real half of the stage. ``twists`` change what the drivers say, by the probe's operation."""

    cells: VolumeCells
    folder: Path
    twists: dict[str, Answer] = field(default_factory=dict)
    guests: list[LocalGuest] = field(default_factory=list)

    @contextmanager
    def guest(self, _pool: object, _run: object, _request: object, shelf: Path, **_: object) -> Iterator[LocalGuest]:
        guest = LocalGuest(shelf, self.folder / "mnt", self._twisted)
        self.guests.append(guest)
        yield guest

    def _twisted(self, document: dict[str, Any]) -> dict[str, Any]:
        twist = self.twists.get(document["operation"])
        return twist(document) if twist else document

    def verdict(self, request: NtfsRequest = REQUEST) -> Verdict:
        evidence = self.folder / f"evidence-{len(list(self.folder.iterdir()))}"
        evidence.mkdir()
        prepared = self.cells.prepare(request, evidence, Deadline(900))
        if isinstance(prepared, Foregone):
            return replace(prepared.verdict, facts=prepared.facts)
        return self.cells.judge(request, prepared, evidence, Deadline(900))

    def asked(self, operation: str) -> int:
        return sum(words[0] == operation for guest in self.guests for words in guest.asked)


@pytest.fixture
def world(built: Mapping[str, Volume], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    nothing: Any = None
    folder: Any = type("Folder", (), {"path": tmp_path})()
    with ExitStack() as stack:
        made = World(VolumeCells(nothing, folder, nothing, stack, {"streams": Specimen.of(built["streams"])}), tmp_path)
        made.cells._checking.append(NTFSFIX)
        monkeypatch.setattr("lab.stage.slot.bench_guest", made.guest)
        yield made


@needs_loop
def test_what_one_driver_has_written_another_reads(world: World) -> None:
    verdict = world.verdict()
    assert (verdict.outcome, verdict.finding, verdict.reason) == (Outcome.PASS, Finding.CORRECT, "")
    assert {"names", "bytes", "image-untouched"} <= {check.name for check in verdict.checks}
    facts = verdict.facts
    assert (facts["writer_finding"], facts["writer_options_asked"]) == ("correct", ",".join(drivers["ntfs-3g"].write))
    assert facts["options_asked"] == "ro,streams_interface=xattr"
    # Whoever reads it next reads the same bytes: it is written once.
    assert world.verdict(replace(REQUEST, driver="ntfs-3g")).outcome is Outcome.PASS
    assert (world.asked("operate"), world.asked("mount-and-read")) == (1, 2)
    assert len(world.guests) == 2
    (evidence, _) = sorted(world.folder.glob("evidence-*"))
    assert {"steps.json", "readers.json", "outside.json"} <= {path.name for path in (evidence / "written").iterdir()}
    expected = Manifest.from_json(json.loads((evidence / "expected.json").read_text()))
    assert "lab create" in expected.by_path


@needs_loop
def test_a_reader_that_shows_other_bytes_than_outsiders_is_wrong(world: World) -> None:
    def lie(document: dict[str, Any]) -> dict[str, Any]:
        next(one for one in document["entries"] if one["path"] == "folder/a.txt")["sha256"] = "0" * 64
        return document

    world.twists["mount-and-read"] = lie
    verdict = world.verdict()
    assert (verdict.outcome, verdict.finding) == (Outcome.FAIL, Finding.WRONG_DATA)
    assert verdict.reason.endswith("(seen twice, the second time on a fresh guest)")
    # The volume was not written a second time for that.
    assert world.asked("operate") == 1


@needs_loop
def test_what_was_not_written_cannot_be_read(world: World, built: Mapping[str, Volume]) -> None:
    world.cells.specimens["hibernated"] = Specimen.of(built["hibernated"])
    verdict = world.verdict(replace(REQUEST, volume="hibernated"))
    assert verdict.outcome is Outcome.UNSUPPORTED
    assert verdict.reason.startswith("not-written: ntfs-3g: ")
    assert world.asked("mount-and-read") == 0


@needs_loop
def test_a_writer_that_crashes_is_wrong_whoever_reads(world: World) -> None:
    oops = ["BUG: unable to handle page fault for address: ffff"]
    world.twists["operate"] = lambda document: {**document, "kernel_log": oops}
    verdict = world.verdict()
    assert (verdict.outcome, verdict.finding) == (Outcome.FAIL, Finding.CRASH)
    assert verdict.reason.startswith("ntfs-3g while it wrote: crash: ")
    assert verdict.reason.endswith("(seen twice, the second time on a fresh guest)")
    assert (world.asked("operate"), world.asked("mount-and-read"), len(world.guests)) == (2, 0, 2)


@needs_loop
def test_a_writer_that_crashes_once_blames_nobody_and_is_tried_again(world: World) -> None:
    crashes = iter([True])
    oops = ["BUG: unable to handle page fault for address: ffff"]
    world.twists["operate"] = lambda document: {**document, "kernel_log": oops if next(crashes, False) else []}
    assert world.verdict().outcome is Outcome.PASS
    assert world.asked("operate") == 2


def test_where_there_is_nothing_to_write_nothing_is_read(world: World) -> None:
    verdict = world.verdict(replace(REQUEST, operation="short-name"))
    assert verdict.outcome is Outcome.SKIPPED
    assert verdict.reason == "nothing-to-do: streams has nothing for the operation short-name"


def test_trouble_of_the_lab_while_it_is_written_is_the_labs_and_not_kept(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def lost(*_: object, **__: object) -> Iterator[LocalGuest]:
        raise HostError("xen-4.20: QEMU was ended by signal 9")
        yield

    monkeypatch.setattr("lab.stage.slot.bench_guest", lost)
    for _ in range(2):
        with pytest.raises(HostError, match=r"^xen-4\.20: QEMU was ended by signal 9$"):
            world.verdict()


@pytest.mark.parametrize(
    ("writer", "kernel", "expected"),
    [
        ("ntfs-3g", "forky", "forky"),
        ("ntfs3", "trixie", "trixie"),
        ("ntfs3", "forky", "trixie"),
        ("ntfs", "trixie", "forky"),
        ("ntfs3-lzx", "bullseye", "bookworm"),
    ],
)
def test_a_writer_runs_on_a_kernel_that_has_it(writer: str, kernel: str, expected: str) -> None:
    guest = replace(REQUEST.guest, kernel=KernelRequest(kernel))
    writing = writing_request(replace(REQUEST, guest=guest, writer=writer))
    assert (writing.driver, writing.writer, writing.guest.kernel) == (writer, "", KernelRequest(expected))
    assert (writing.volume, writing.operation, writing.guest.release) == ("streams", "create", "trixie")


@needs_loop
def test_a_volume_that_was_damaged_before_may_still_be_refused(world: World, tmp_path: Path) -> None:
    damaged = replace(world.cells.specimens["streams"], state=State.DAMAGED)
    world.cells.specimens["streams"] = damaged
    prepared = world.cells.prepare(REQUEST, tmp_path, Deadline(900))
    assert isinstance(prepared, PreparedVolume)
    assert prepared.bench.shelf.places[REQUEST.shelved].specimen.state is State.DAMAGED
