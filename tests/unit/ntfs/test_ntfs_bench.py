"""The bench around the probe: what it asks of a guest, what it makes of silence, and a fresh one after the worst."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lab.deadline import Deadline
from lab.errors import DeadlineError, GuestError, HostError, LabError
from lab.guests.guest import Address
from lab.ntfs.drivers import drivers
from lab.ntfs.manifest import Entry, Kind, Manifest, digest
from lab.ntfs.observation import SCHEMA
from lab.ntfs.shelf import Shelf
from lab.ntfs.specimen import Specimen
from lab.ntfs.volumes import State
from lab.process import Completed
from lab.scenario.cell import GuestRequest, HostRequest, KernelRequest, NtfsRequest
from lab.stage import judging
from lab.stage.bench import Bench
from lab.stage.benched import OnXen
from lab.stage.prepared import PreparedVolume
from lab.stage.volumes import VolumeCells
from lab.testing.shell import Answer, FakeShell
from lab.verdict import Finding, Outcome, Verdict

NTFS3 = drivers["ntfs3"]
REQUEST = NtfsRequest(
    HostRequest("lab", "4.20"),
    GuestRequest("ntfs", "trixie", "amd64", KernelRequest("trixie"), system="probe"),
    "ntfs3",
    "disk.img",
)


def document(text: bytes = b"truth", **more: object) -> dict[str, Any]:
    """What the probe says of a volume with one file."""
    sha256, blocks = digest((text,), len(text))
    entry = {"path": "a.txt", "kind": "file", "size": len(text), "sha256": sha256, "blocks": list(blocks)}
    return {
        "schema": SCHEMA,
        "operation": "mount-and-read",
        "driver": "ntfs3",
        "kind": "kernel",
        "type_asked": "ntfs3",
        "options_asked": "ro",
        "streams_as": "none",
        "kernel": "6.12.0",
        "ended": "complete",
        "mount": {"ok": True, "type": "ntfs3", "options": "ro", "super_options": "ro", "source": "/dev/loop0"},
        "entries": [entry],
        "errors": [],
        "kernel_log": [],
        **more,
    }


def shell(answer: Mapping[str, Any] | LabError) -> FakeShell:
    """Of a host with a guest in which the probe says what it is told to say."""
    said = answer if isinstance(answer, LabError) else json.dumps(answer)
    return FakeShell({'ask 10.77.128.9:7079 {"words": []}': "{}", "ask 10.77.128.9:7079 *": said})


def guest(answer: Mapping[str, Any] | LabError, *, alive: bool = True) -> Any:
    kernel = SimpleNamespace(release="6.12.0", package_version="6.12.0-1")
    return SimpleNamespace(
        name="ntfs-1",
        address=Address(9),
        host=SimpleNamespace(
            name="xen-4.20",
            shell=shell(answer),
            disks=SimpleNamespace(watch=lambda: None),
            accelerator="tcg",
        ),
        domain=SimpleNamespace(is_active=lambda _deadline: alive, xml=lambda _deadline: "<domain/>"),
        image=SimpleNamespace(boot=SimpleNamespace(kernel=kernel)),
        console=lambda **_: "",
    )


@pytest.fixture
def foreign(tmp_path: Path) -> Specimen:
    """A volume that no recipe made, in which two readers saw one file."""
    path = tmp_path / "copy.raw"
    path.write_bytes(b"NTFS" * 1000)
    sha256, blocks = digest((b"truth",), 5)
    manifest = Manifest((Entry("a.txt", Kind.FILE, size=5, sha256=sha256, blocks=blocks),))
    return Specimen("disk.img", path, 256, State.CLEAN, manifest, ("'b': readers disagree on size: x: 1, y: 2",))


def bench(foreign: Specimen, tmp_path: Path, answer: Mapping[str, Any] | LabError, *, alive: bool = True) -> Bench:
    shelf = Shelf.empty(tmp_path / "shelf.raw")
    shelf.put(foreign, Deadline(10))
    return Bench(OnXen(guest(answer, alive=alive)), shelf)


def xen(used: Bench) -> Any:
    """The guest of a bench that is on Xen, as the fake that it is."""
    assert isinstance(used.guest, OnXen)
    return used.guest.guest


def judged(used: Bench, tmp_path: Path) -> Verdict:
    evidence = tmp_path / "evidence"
    evidence.mkdir(exist_ok=True)
    return judging.judge_volume(REQUEST, PreparedVolume(used, NTFS3, {}), evidence, Deadline(900))


def test_a_foreign_volume_is_tried_like_one_of_the_labs_own(foreign: Specimen, tmp_path: Path) -> None:
    used = bench(foreign, tmp_path, document())
    verdict = judged(used, tmp_path)
    assert (verdict.outcome, verdict.finding) == (Outcome.PASS, Finding.CORRECT)
    assert str(verdict.checks[-1]) == (
        "readers-agree: unsupported (expected two trusted readers say the same of everything, "
        "observed not judged: 'b': readers disagree on size: x: 1, y: 2)"
    )
    (asked,) = xen(used).host.shell.asked
    words = json.loads(asked.argv[-1])["words"]
    assert words[0] == "mount-and-read"
    # A loop device has no sectors of 256 bytes.
    assert words[words.index("--part") :][:4] == ["--part", "/dev/xvdb:16777216:4000", "--sector", "512"]
    assert used.spoiled == ""


def test_a_driver_that_shows_other_bytes_is_found_and_has_tainted_nothing(foreign: Specimen, tmp_path: Path) -> None:
    used = bench(foreign, tmp_path, document(b"lies!"))
    verdict = judged(used, tmp_path)
    assert (verdict.outcome, verdict.finding) == (Outcome.FAIL, Finding.WRONG_DATA)
    assert verdict.reason.startswith("wrong-data: 'a.txt': bytes from byte 0: expected ")
    assert used.spoiled == ""


def test_a_volume_whose_image_changed_under_a_reader_is_damaged(foreign: Specimen, tmp_path: Path) -> None:
    used = bench(foreign, tmp_path, document())
    told = xen(used).host.shell

    def write_and_answer(*words: Any, **more: Any) -> Completed:
        with used.shelf.disk.open("r+b") as disk:
            disk.seek(used.shelf.places["disk.img"].offset)
            disk.write(b"oops")
        done: Completed = told.ask(*words, **more)
        return done

    xen(used).host.shell = SimpleNamespace(ask=write_and_answer)
    verdict = judged(used, tmp_path)
    assert verdict.outcome is Outcome.FAIL
    assert verdict.reason.startswith("image-untouched: fail (expected ")


@pytest.mark.parametrize(
    ("lost", "alive", "finding"),
    [
        (DeadlineError("the guest does not answer"), True, Finding.HANG),
        (HostError("ntfs-1: connection lost"), False, Finding.CRASH),
    ],
)
def test_a_guest_that_does_not_come_back_is_spoiled(
    foreign: Specimen, tmp_path: Path, lost: LabError, *, alive: bool, finding: Finding
) -> None:
    used = bench(foreign, tmp_path, lost, alive=alive)
    assert judged(used, tmp_path).finding is finding
    assert used.spoiled == lost.message


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (Answer(1, stderr="nobody answers at 10.77.128.9:7079"), "nobody answers at 10.77.128.9:7079"),
        (Answer(stdout='{"entries": [{"pa'), "half an answer, of 17 bytes"),
        (Answer(stdout='{"refused": "OSError: no space"}'), "OSError: no space"),
    ],
)
def test_a_probe_that_is_in_trouble_is_the_labs_trouble(
    foreign: Specimen, tmp_path: Path, said: Answer, words: str
) -> None:
    used = bench(foreign, tmp_path, document())
    xen(used).host.shell.answers = {"ask *": said}
    with pytest.raises(GuestError) as caught:
        used.read(NTFS3, "disk.img", seconds=60, deadline=Deadline(600))
    assert str(caught.value) == f"ntfs-1: the probe: {words}"


def test_while_the_probe_is_silent_somebody_looks_whether_its_guest_still_lives(
    foreign: Specimen, tmp_path: Path
) -> None:
    used = bench(foreign, tmp_path, document(), alive=False)

    def silence(*_words: Any, watch: Callable[[], None], **_more: Any) -> Completed:
        watch()
        raise AssertionError("it goes on waiting for the dead")

    xen(used).host.shell = SimpleNamespace(ask=silence)
    verdict = judged(used, tmp_path)
    assert verdict.finding is Finding.CRASH
    assert used.spoiled == "ntfs-1: it has ended"


TWICE = """\
RIP: 0010:asm_sysvec_xen_hvm_callback+0x0/0x20
RSP: 0000:fffffe0000002fd8 EFLAGS: 00000002
Kernel panic - not syncing: Fatal exception in interrupt
"""


@pytest.mark.parametrize("died", [True, False])
def test_no_driver_is_blamed_for_an_emulated_cpu(foreign: Specimen, tmp_path: Path, *, died: bool) -> None:
    said = HostError("it has ended") if died else document(ended="crash")
    used = bench(foreign, tmp_path, said, alive=not died)
    xen(used).console = lambda **_: TWICE
    with pytest.raises(HostError, match=r"^ntfs-1 on xen-4\.20: died of an interrupt that QEMU delivered twice"):
        judged(used, tmp_path)
    assert used.spoiled
    xen(used).host.accelerator = "kvm"
    assert judged(used, tmp_path).finding is Finding.CRASH


def test_no_driver_is_blamed_for_time_that_the_lab_used_up(foreign: Specimen, tmp_path: Path) -> None:
    used = bench(foreign, tmp_path, document())
    with pytest.raises(DeadlineError) as caught:
        used.read(NTFS3, "disk.img", seconds=60, deadline=Deadline(40, clock=lambda: 0.0))
    assert str(caught.value) == (
        "reading disk.img by ntfs3: 40 of 40 s are left, and it may take 120 s\n"
        "  hint: the machine is busy, or bringing up the guest took long; try again"
    )


def stage(foreign: Specimen, tmp_path: Path, *answers: Mapping[str, Any]) -> VolumeCells:
    """The real half of the stage, whose guests are not there; each next one answers the next of ``answers``."""
    made = iter(answers)

    @contextmanager
    def start(*_words: object, **_more: object) -> Iterator[Any]:
        yield guest(next(made))

    pool: Any = SimpleNamespace(guest=start)
    folder: Any = SimpleNamespace(path=tmp_path, tag="feed0000")
    nothing: Any = None
    return VolumeCells(nothing, folder, pool, ExitStack(), {foreign.name: foreign})


def prepared(opened: VolumeCells, tmp_path: Path, request: NtfsRequest = REQUEST) -> PreparedVolume:
    found = opened.prepare(request, tmp_path, Deadline(60))
    assert isinstance(found, PreparedVolume)
    return found


def confirmed(opened: VolumeCells, tmp_path: Path) -> Verdict:
    evidence = tmp_path / "evidence"
    evidence.mkdir()
    return opened.judge(REQUEST, prepared(opened, tmp_path), evidence, Deadline(900))


def test_a_driver_is_blamed_when_a_fresh_guest_shows_the_same(foreign: Specimen, tmp_path: Path) -> None:
    opened = stage(foreign, tmp_path, document(b"lies!"), document(b"lies!"))
    verdict = confirmed(opened, tmp_path)
    assert (verdict.outcome, verdict.finding) == (Outcome.FAIL, Finding.WRONG_DATA)
    assert verdict.reason.endswith("(seen twice, the second time on a fresh guest)")
    assert (tmp_path / "evidence" / "first" / "observed.json").is_file()


def test_what_a_fresh_guest_does_not_show_again_blames_nobody(foreign: Specimen, tmp_path: Path) -> None:
    oops = document(kernel_log=["BUG: unable to handle page fault for address: ffff"])
    verdict = confirmed(stage(foreign, tmp_path, oops, document()), tmp_path)
    assert verdict.outcome is Outcome.ERROR
    assert verdict.reason.startswith("not reproduced on a fresh guest: crash, then correct; ")


def test_a_spoiled_bench_is_replaced_and_its_shelf_with_it(foreign: Specimen, tmp_path: Path) -> None:
    opened = stage(foreign, tmp_path, document(), document())
    first = prepared(opened, tmp_path).bench
    assert prepared(opened, tmp_path).bench is first
    first.spoiled = "ntfs3 on hostile.img: died"
    second = prepared(opened, tmp_path).bench
    assert second is not first
    assert second.shelf.disk.exists()
    assert not first.shelf.disk.exists()


def test_a_compiled_driver_gets_a_bench_of_its_own(
    foreign: Specimen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = stage(foreign, tmp_path, document(), document(), document())
    monkeypatch.setattr("lab.stage.microvm.furnished", lambda *_words, **_more: nullcontext(None))
    compiled = replace(REQUEST, driver="ntfs3-lzx")
    first = prepared(opened, tmp_path).bench
    second = prepared(opened, tmp_path, compiled).bench
    assert second is not first
    assert prepared(opened, tmp_path, compiled).bench is second
    assert prepared(opened, tmp_path).bench is not second
