"""Benches without Xen: the guest is bare; a crash, a hang and trouble of the lab are told apart as they are on Xen."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lab.deadline import Deadline
from lab.errors import GuestError, HostError
from lab.guests import bare
from lab.guests.bare import BareGuest
from lab.ntfs.drivers import drivers
from lab.ntfs.manifest import Entry, Kind, Manifest, digest
from lab.ntfs.observation import SCHEMA
from lab.ntfs.shelf import Shelf
from lab.ntfs.specimen import Specimen
from lab.ntfs.volumes import State
from lab.scenario.cell import Cell, GuestRequest, HostRequest, KernelRequest, NtfsRequest
from lab.stage import judging, probed
from lab.stage.bench import Bench
from lab.stage.prepared import PreparedVolume
from lab.stage.volumes import VolumeCells
from lab.stage.xen import XenStage
from lab.verdict import Finding, Outcome, Verdict

NTFS3 = drivers["ntfs3"]
REQUEST = NtfsRequest(
    HostRequest("microvm", inventory="microvm"),
    GuestRequest("ntfs", "trixie", "amd64", KernelRequest("trixie"), system="probe"),
    "ntfs3",
    "disk.img",
    stage="microvm",
)
NOTHING: Any = None
Probe = Callable[["Qemu", socket.socket], None]


def truth() -> dict[str, Any]:
    """What the probe says of a volume that it has read right."""
    sha256, blocks = digest((b"truth",), 5)
    entry = {"path": "a.txt", "kind": "file", "size": 5, "sha256": sha256, "blocks": list(blocks)}
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
    }


@dataclass
class Qemu:
    """A QEMU with a guest whose probe is a function. ``status`` is how it ended, ``state`` what it says of it."""

    folder: Path
    probe: Probe
    status: int | None = None
    state: str = "running"
    asked: list[dict[str, Any]] = field(default_factory=list)
    listener: socket.socket | None = None

    def poll(self) -> int | None:
        return self.status

    def execute(self, _command: str, *, deadline: Deadline) -> dict[str, str]:
        deadline.check("query-status")
        return {"status": self.state}

    def end(self, status: int) -> None:
        """Close its sockets, and be gone a moment later."""
        if self.listener is not None:
            self.listener.shutdown(socket.SHUT_RDWR)
        threading.Timer(0.05, lambda: setattr(self, "status", status)).start()

    def serve(self, listener: socket.socket) -> None:
        self.listener = listener
        while True:
            try:
                line, _ = listener.accept()
            except OSError:
                return
            with line:
                self.probe(self, line)


def _close(listener: socket.socket) -> None:
    with suppress(OSError):  # if its QEMU has ended
        listener.shutdown(socket.SHUT_RDWR)


@contextmanager
def guest_of(qemu: Qemu) -> Iterator[BareGuest]:
    with ExitStack() as undo:
        listener = undo.enter_context(socket.create_server(("127.0.0.1", 0)))
        undo.callback(_close, listener)
        threading.Thread(target=qemu.serve, args=(listener,), daemon=True).start()
        wiring = SimpleNamespace(folder=qemu.folder, console=qemu.folder / "console.log")
        machine: Any = SimpleNamespace(process=qemu, qmp=qemu, wiring=wiring)
        kernel = SimpleNamespace(release="6.12.0", package_version="6.12.0-1")
        image: Any = SimpleNamespace(boot=SimpleNamespace(kernel=kernel))
        yield BareGuest("ntfs-1", image, machine, NOTHING, {7079: listener.getsockname()[1]}, "/dev/vdb")


def hears(qemu: Qemu, line: socket.socket) -> list[str]:
    question: dict[str, Any] = json.loads(line.makefile("rb").readline())
    qemu.asked.append(question)
    return list(question["words"])


def reads(qemu: Qemu, line: socket.socket) -> None:
    line.sendall(json.dumps(truth() if hears(qemu, line) else {}).encode() + b"\n")


def ends(status: int, said: str = "") -> Probe:
    """In the middle of reading QEMU ends; its sockets go before it does."""

    def probe(qemu: Qemu, line: socket.socket) -> None:
        if not hears(qemu, line):
            line.sendall(b"{}\n")
            return
        (qemu.folder / "console.log").write_text(said)
        line.close()
        qemu.end(status)

    return probe


def hangs(qemu: Qemu, line: socket.socket) -> None:
    if hears(qemu, line):
        line.recv(1)  # until whoever asked has enough
    else:
        line.sendall(b"{}\n")


@pytest.fixture
def foreign(tmp_path: Path) -> Specimen:
    path = tmp_path / "copy.raw"
    path.write_bytes(b"NTFS" * 1000)
    sha256, blocks = digest((b"truth",), 5)
    manifest = Manifest((Entry("a.txt", Kind.FILE, size=5, sha256=sha256, blocks=blocks),))
    return Specimen("disk.img", path, 512, State.CLEAN, manifest)


def judged(foreign: Specimen, folder: Path, qemu: Qemu) -> tuple[Verdict, Bench]:
    evidence = folder / "evidence"
    evidence.mkdir()
    shelf = Shelf.empty(folder / "shelf.raw")
    shelf.put(foreign, Deadline(10))
    with guest_of(qemu) as guest:
        used = Bench(guest, shelf)
        verdict = judging.judge_volume(REQUEST, PreparedVolume(used, NTFS3, {}), evidence, Deadline(900))
    return verdict, used


def test_a_driver_is_tried_on_the_device_that_the_shelf_is_here(foreign: Specimen, tmp_path: Path) -> None:
    qemu = Qemu(tmp_path, reads)
    verdict, used = judged(foreign, tmp_path, qemu)
    assert (verdict.outcome, verdict.finding, used.spoiled) == (Outcome.PASS, Finding.CORRECT, "")
    (asked,) = qemu.asked
    words = asked["words"]
    assert words[words.index("--part") + 1] == "/dev/vdb:16777216:4000"
    # The console of the guest and the words of its QEMU are the evidence.
    assert sorted(path.name for path in (tmp_path / "evidence").glob("ntfs-1*")) == [
        "ntfs-1-console.log",
        "ntfs-1-qemu.log",
    ]


def test_a_kernel_that_panics_is_a_crash_of_the_driver(foreign: Specimen, tmp_path: Path) -> None:
    panic = "[    9.1] Kernel panic - not syncing: Fatal exception\n"
    verdict, used = judged(foreign, tmp_path, Qemu(tmp_path, ends(0, panic)))
    assert (verdict.outcome, verdict.finding) == (Outcome.FAIL, Finding.CRASH)
    assert "Kernel panic - not syncing: Fatal exception" in verdict.reason
    assert used.spoiled == "ntfs-1: it has ended"


def test_a_guest_that_just_ends_has_crashed_too(foreign: Specimen, tmp_path: Path) -> None:
    # A triple fault says nothing.
    verdict, _ = judged(foreign, tmp_path, Qemu(tmp_path, ends(0)))
    assert (verdict.outcome, verdict.finding) == (Outcome.FAIL, Finding.CRASH)


def test_a_kernel_that_says_nothing_any_more_is_a_hang(
    foreign: Specimen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probed, "_GRACE", 0.3)
    monkeypatch.setattr(Specimen, "reading_seconds", 0.1)
    verdict, used = judged(foreign, tmp_path, Qemu(tmp_path, hangs))
    assert (verdict.outcome, verdict.finding) == (Outcome.FAIL, Finding.HANG)
    assert used.spoiled == "ntfs-1:7079: not done within 0.4 s"


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (-9, "ntfs-1: QEMU was ended by signal 9; its last words: none"),
        (-6, "ntfs-1: QEMU was ended by signal 6; its last words: none"),
        (1, "ntfs-1: QEMU ended with status 1; its last words: none"),
    ],
)
def test_a_qemu_that_dies_blames_nobody_but_the_lab(foreign: Specimen, tmp_path: Path, status: int, words: str) -> None:
    with pytest.raises(HostError) as caught:
        judged(foreign, tmp_path, Qemu(tmp_path, ends(status)))
    assert str(caught.value) == words


def test_a_guest_that_qemu_has_stopped_blames_nobody_but_the_lab(
    foreign: Specimen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probed, "_GRACE", 0.3)
    monkeypatch.setattr(bare, "_ENDING", 0.1)
    monkeypatch.setattr(Specimen, "reading_seconds", 0.1)
    with pytest.raises(HostError, match=r"^ntfs-1: QEMU has stopped it: io-error\n"):
        judged(foreign, tmp_path, Qemu(tmp_path, hangs, state="io-error"))


def test_half_an_answer_of_a_guest_that_lives_is_the_labs_trouble(
    foreign: Specimen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bare, "_ENDING", 0.1)

    def stammer(qemu: Qemu, line: socket.socket) -> None:
        hears(qemu, line)
        line.sendall(b'{"entries": [{"pa')

    with pytest.raises(GuestError, match=r"^ntfs-1: the probe: half an answer, of 17 bytes$"):
        judged(foreign, tmp_path, Qemu(tmp_path, stammer))


@dataclass
class World:
    """A real stage whose guests are not there: each next one is of the next QEMU."""

    stage: XenStage
    qemus: list[Qemu]
    started: list[tuple[str, str]] = field(default_factory=list)
    gone: int = 0

    @contextmanager
    def bare(self, ground: Any, request: GuestRequest, *_: Any, shelf: Path, **_more: Any) -> Iterator[BareGuest]:
        self.started.append((f"{request.name} on {ground}", shelf.name))
        with guest_of(self.qemus.pop(0)) as guest:
            yield guest
        self.gone += 1


@pytest.fixture
def world(foreign: Specimen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with ExitStack() as stack:
        pool: Any = SimpleNamespace(ground="tcg", guest=None, seen=(), up=lambda: ())
        folder: Any = SimpleNamespace(path=tmp_path, tag="feed0000")
        cells = VolumeCells(NOTHING, folder, pool, stack, {foreign.name: foreign})
        made = World(XenStage(NOTHING, NOTHING, folder, pool, stack, cells), [])
        monkeypatch.setattr("lab.stage.microvm.bare_guest", made.bare)
        yield made
    assert made.gone == len(made.started)


def cell(**more: str) -> Cell:
    return Cell("s.lab.yaml", "one", "s", "ntfs", {}, replace(REQUEST, **more))  # type: ignore[arg-type] # only of strings


def test_a_cell_without_a_host_runs_on_a_bare_guest_and_the_next_one_on_the_same(world: World, tmp_path: Path) -> None:
    world.qemus = [Qemu(tmp_path, reads)]
    for number in range(2):
        evidence = tmp_path / f"evidence-{number}"
        evidence.mkdir()
        with world.stage.prepare(cell(), evidence, Deadline(600)) as prepared:
            assert prepared.facts == {"kernel_version": "6.12.0", "kernel_package": "6.12.0-1"}
            assert world.stage.judge(cell(), prepared, evidence, Deadline(600)).outcome is Outcome.PASS
    assert world.started == [("ntfs on tcg", "shelf-0.raw")]
    assert world.stage.hosts() == ()


def test_a_crash_is_repeated_on_a_fresh_guest_before_a_driver_is_blamed(world: World, tmp_path: Path) -> None:
    world.qemus = [Qemu(tmp_path, ends(0, "Kernel panic - not syncing: x\n")), Qemu(tmp_path, reads)]
    evidence = tmp_path / "evidence"
    evidence.mkdir()
    with world.stage.prepare(cell(), evidence, Deadline(600)) as prepared:
        verdict = world.stage.judge(cell(), prepared, evidence, Deadline(600))
    assert verdict.outcome is Outcome.ERROR
    assert verdict.reason.startswith("not reproduced on a fresh guest: crash, then correct; ")
    assert len(world.started) == 2


def test_the_cell_after_trouble_of_the_lab_gets_a_fresh_guest(world: World, tmp_path: Path) -> None:
    world.qemus = [Qemu(tmp_path, ends(-9)), Qemu(tmp_path, reads)]
    evidence = tmp_path / "evidence"
    evidence.mkdir()
    with (
        world.stage.prepare(cell(), evidence, Deadline(600)) as prepared,
        pytest.raises(HostError, match=r"^ntfs-1: QEMU was ended by signal 9; "),
    ):
        world.stage.judge(cell(), prepared, evidence, Deadline(600))
    world.stage.salvage(cell(), evidence)
    assert (evidence / "ntfs-1-qemu.log").exists()
    with world.stage.prepare(cell(), evidence, Deadline(600)) as again:
        assert world.stage.judge(cell(), again, evidence, Deadline(600)).outcome is Outcome.PASS
        # What is known of volumes before they are written to is of no guest.
        assert isinstance(prepared, PreparedVolume)
        assert isinstance(again, PreparedVolume)
        assert again.bench is not prepared.bench
        assert again.bench.pristine is prepared.bench.pristine
