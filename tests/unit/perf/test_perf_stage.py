"""The stage and its benches, without a guest: what is asked, what becomes of volumes, who is blamed for silence."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lab.deadline import Deadline
from lab.errors import DeadlineError, GuestError, HostError, LabError
from lab.guests.bare import BareReadiness
from lab.kernels.build import BuiltModule, ModuleBuildError
from lab.kernels.build_recipe import Built
from lab.ntfs.drivers import drivers
from lab.ntfs.manifest import Manifest
from lab.ntfs.perf import Sizes, sizes_for, volumes
from lab.ntfs.perf.volume import manifest_of
from lab.ntfs.shelf import Shelf
from lab.ntfs.specimen import Specimen
from lab.ntfs.volumes import State, recipes
from lab.process import Completed
from lab.stage import perf as perf_stage
from lab.stage.bench import readiness
from lab.stage.perf import PerfStage
from lab.stage.perf_bench import PerfBench, perf_readiness
from lab.testing.shell import FakeShell
from tests.unit.perf.benches import SIZES, measure

NTFS3 = drivers["ntfs3"]
NOTHING: Any = None


@dataclass
class FakeGuest:
    """Implements :class:`lab.stage.benched.BenchGuest`: it says what a test wants."""

    answer: Callable[[list[str]], object] = lambda _words: {"ended": "complete"}
    alive: bool = True
    sound: LabError | None = None
    asked: list[list[str]] = field(default_factory=list)
    name: str = "perf-1"
    shelf_device: str = "/dev/vdb"
    kernel: Any = field(default_factory=lambda: SimpleNamespace(release="6.12.0", package_version="6.12.0-1"))
    shell: Any = None

    def ask(self, port: int, question: bytes, *, deadline: Deadline, watch: Callable[[], None]) -> Completed:
        deadline.check(str(port))
        words = json.loads(question)["words"]
        self.asked.append(words)
        said = self.answer(words)
        if isinstance(said, BaseException):
            watch()
            raise said
        text = said if isinstance(said, bytes) else json.dumps(said).encode()
        return Completed(("ask", str(port)), 0, text, b"", 0.1)

    def watch(self) -> None:
        if self.sound is not None:
            raise self.sound

    def is_active(self, deadline: Deadline) -> bool:
        deadline.check("is_active")
        return self.alive

    def console(self, *, deadline: Deadline) -> str:
        deadline.check("console")
        return "one\nKernel panic - not syncing: x\n"

    def acquit(self, deadline: Deadline) -> None:
        deadline.check("acquit")

    def keep(self, folder: Path, *, deadline: Deadline) -> None:
        deadline.check("keep")
        (folder / "console.log").write_text("said\n")


def specimen(folder: Path, name: str, size: int) -> Specimen:
    path = folder / f"{name}.img"
    with path.open("wb") as file:
        file.write(b"NTFS" * 100)
        file.truncate(size)
    return Specimen(name, path, 256, State.CLEAN, Manifest(()))


def bench(folder: Path, guest: FakeGuest) -> PerfBench:
    known = {"perf": specimen(folder, "perf", 1 << 20), "size-1t": specimen(folder, "size-1t", 2 << 30)}
    return PerfBench(guest, Shelf.empty(folder / "shelf.raw"), known, SIZES, {})


def after(words: list[str], word: str) -> str:
    return words[words.index(word) + 1]


def test_a_measure_is_asked_for_on_a_fresh_copy_that_is_gone_afterwards(tmp_path: Path) -> None:
    guest = FakeGuest()
    used = bench(tmp_path, guest)
    for name in ("metadata", "read-sequential", "metadata"):
        used.measure(NTFS3, measure(name), Deadline(900))
    first, second, third = guest.asked
    assert first[0] == "metadata"
    assert (after(first, "--options"), after(second, "--options")) == ("rw,iocharset=utf8", "ro,iocharset=utf8")
    assert (after(first, "--again"), after(first, "--type"), after(first, "--modules")) == (
        "ro,iocharset=utf8",
        "ntfs3",
        "ntfs3",
    )
    assert json.loads(after(second, "--work")) == {"file": "large.bin", "size": SIZES.large}
    assert json.loads(after(first, "--work")) == {"count": 20, "kept": 10}
    # A loop device has no sectors of 256 bytes.
    assert after(first, "--sector") == "512"
    parts = [after(words, "--part") for words in (first, second, third)]
    assert parts[0] == f"/dev/vdb:16777216:{1 << 20}"
    assert len(set(parts)) == 3
    assert used.shelf.places == {}
    assert used.shelf.disk.stat().st_blocks == 0
    assert used.spoiled == ""


def test_a_terabyte_is_copied_once_and_stays(tmp_path: Path) -> None:
    guest = FakeGuest()
    used = bench(tmp_path, guest)
    for _ in range(2):
        used.measure(NTFS3, measure("mount-1t"), Deadline(900))
    assert len({after(words, "--part") for words in guest.asked}) == 1
    assert list(used.shelf.places) == ["size-1t"]


def test_a_guest_in_which_a_driver_is_stuck_keeps_its_volume(tmp_path: Path) -> None:
    used = bench(tmp_path, FakeGuest(lambda _words: {"ended": "deadline"}))
    assert used.measure(NTFS3, measure("mount"), Deadline(900))["ended"] == "deadline"
    assert used.spoiled == "mount of ntfs3: deadline"
    assert list(used.shelf.places) == ["perf#1"]


@pytest.mark.parametrize(("alive", "ended"), [(True, "deadline"), (False, "died")])
def test_silence_is_an_observation(tmp_path: Path, alive: bool, ended: str) -> None:  # noqa: FBT001 - pytest gives it
    used = bench(tmp_path, FakeGuest(lambda _words: DeadlineError("not done within 200 s"), alive=alive))
    document = used.measure(NTFS3, measure("metadata"), Deadline(900))
    assert (document["ended"], document["driver"], document["options_asked"]) == (ended, "ntfs3", "rw,iocharset=utf8")
    assert document["kernel_log"] == ["one", "Kernel panic - not syncing: x"]
    assert used.spoiled


def test_the_host_that_is_gone_blames_nobody_but_the_lab(tmp_path: Path) -> None:
    gone = HostError("perf-1: QEMU was ended by signal 9")
    used = bench(tmp_path, FakeGuest(lambda _words: HostError("lost"), sound=gone))
    with pytest.raises(HostError, match=r"^perf-1: QEMU was ended by signal 9$"):
        used.measure(NTFS3, measure("mount"), Deadline(900))


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"refused": "no such choice"}, "perf-1: the probe: no such choice"),
        (b'{"half', "perf-1: the probe: half an answer, of 6 bytes"),
    ],
)
def test_a_probe_that_does_not_understand_is_the_labs_trouble(tmp_path: Path, said: object, message: str) -> None:
    with pytest.raises(GuestError) as caught:
        bench(tmp_path, FakeGuest(lambda _words: said)).measure(NTFS3, measure("mount"), Deadline(900))
    assert str(caught.value) == message


def test_with_too_little_time_left_a_driver_is_not_even_asked(tmp_path: Path) -> None:
    guest = FakeGuest()
    with pytest.raises(DeadlineError, match=r"^mount of ntfs3: [0-9]+ of 150 s are left, and it may take 240 s\n"):
        bench(tmp_path, guest).measure(NTFS3, measure("mount"), Deadline(150))
    assert guest.asked == []


def test_the_reference_is_of_the_measures_that_write(tmp_path: Path) -> None:
    guest = FakeGuest()
    used = bench(tmp_path, guest)
    used.reference([measure("write-small")], Deadline(900))
    assert guest.asked == [["reference", "--work", '{"write-small": {"count": 8, "each": 4096}}']]
    assert (used.kernel_version, used.kernel_package) == ("6.12.0", "6.12.0-1")
    used.keep(tmp_path)
    assert (tmp_path / "console.log").exists()


def built(folder: Path, driver: str) -> BuiltModule:
    folder.mkdir(exist_ok=True)
    (folder / "ntfs3.ko").write_bytes(b"the module")
    return BuiltModule(folder, "ntfs3", "6.12", "linux-source-6.12 6.12.117-1", driver, "CONFIG_NTFS3_FS=m")


def test_such_a_guest_has_what_a_bench_has_and_the_program_that_measures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lab.stage.bench.ModuleTree", lambda _path: SimpleNamespace(loadable=set(), builtin=set()))
    monkeypatch.setattr("lab.stage.bench.push_modules", lambda *_words, **_more: ())
    shell = FakeShell({"tar *": "", "python3 *": ""})
    put: list[str] = []
    monkeypatch.setattr(FakeShell, "put", lambda _self, _data, path, **_more: put.append(path), raising=False)
    guest: Any = SimpleNamespace(
        shell=shell, image=SimpleNamespace(boot=SimpleNamespace(kernel=SimpleNamespace(modules=tmp_path)))
    )
    ready = perf_readiness({"ntfs3-lzx": built(tmp_path / "m", "ABC")})
    ready.make(guest, Deadline(20))
    assert put == ["/root/probe.py", "/root/perf_probe.py"]
    assert shell.asked[-1].argv == ("python3", "/root/perf_probe.py", "serve", "--port", "7080")
    assert (ready.ports, ready.shelf) == ((7079, 7080), readiness().shelf)
    # The ordinary bench is as it was: its guests in the cache are still good.
    assert len({readiness().key, ready.key, perf_readiness({}).key}) == 3


@dataclass
class World:
    """A stage whose guests and modules are not there."""

    stage: PerfStage
    opened: list[str] = field(default_factory=list)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    opened: list[str] = []

    @contextmanager
    def bare(_ground: Any, request: Any, ready: BareReadiness, *_: Any, shelf: Path, **_more: Any) -> Iterator[Any]:
        opened.append(f"{request.system} {request.release} {request.kernel.name} {shelf.name} {len(ready.ports)}")
        yield FakeGuest()
        opened.append("gone")

    @contextmanager
    def kernel(_cache: object, suite: str, **_more: object) -> Iterator[Any]:
        yield SimpleNamespace(release=suite)

    @contextmanager
    def module(_cache: object, suite: str, _kernel: object, wanted: Built, *, deadline: Deadline) -> Iterator[Any]:
        deadline.check(suite)
        if wanted.module == "ntfs":
            raise ModuleBuildError("ntfs: it cannot be compiled")
        yield built(tmp_path / f"{wanted.module}-{suite}", "ABC")

    monkeypatch.setattr(perf_stage, "bare_guest", bare)
    monkeypatch.setattr(perf_stage, "obtain_kernel", kernel)
    monkeypatch.setattr(perf_stage, "obtain_module", module)
    monkeypatch.setattr(PerfStage, "_specimen", lambda _self, name, _deadline: specimen(tmp_path, name, 1 << 20))
    with ExitStack() as stack:
        pool: Any = SimpleNamespace(ground="tcg", seen=(), accelerator=SimpleNamespace(name="tcg"))
        folder: Any = SimpleNamespace(path=tmp_path)
        yield World(PerfStage(NOTHING, folder, pool, stack, ""), opened)


def test_a_kernel_gets_one_guest_with_all_its_drivers_and_it_goes_at_the_end(world: World, tmp_path: Path) -> None:
    asked = [drivers[name] for name in ("ntfs3", "ntfs3-lzx", "ntfs-3g")]
    with world.stage.bench("trixie", asked, ["perf"], Deadline(20)) as used:
        assert list(used.specimens) == ["perf"]
        assert used.missing == {}
        assert (tmp_path / "perf-0.raw").exists()
    assert world.opened == ["perf trixie trixie-amd64-cloud perf-0.raw 2", "gone"]
    assert not (tmp_path / "perf-0.raw").exists()


def test_what_cannot_be_compiled_takes_no_other_driver_with_it(world: World) -> None:
    asked = [drivers[name] for name in ("ntfs-classic", "ntfs3-lzx")]
    with world.stage.bench("bookworm", asked, ["perf"], Deadline(20)) as used:
        assert used.missing == {"ntfs-classic": "ntfs: it cannot be compiled"}
    assert (world.stage.accelerator, world.stage.sizes, world.stage.hosts()) == ("tcg", Sizes(), ())


def test_a_faster_machine_gets_more_to_do() -> None:
    slow, fast = sizes_for("tcg"), sizes_for("kvm")
    assert (fast.large, fast.small, fast.names) == (8 * slow.large, 8 * slow.small, 8 * slow.names)
    assert slow.operations == 3 * 200 - 20


@pytest.mark.parametrize("accelerator", ["tcg", "kvm"])
def test_the_volumes_hold_what_is_read_and_have_room_for_what_is_written(accelerator: str) -> None:
    sizes = sizes_for(accelerator)
    plain = volumes(sizes)["perf"]
    assert plain.name not in recipes
    entries = {entry.path: entry for entry in manifest_of("perf", sizes).entries}
    assert entries["large.bin"].size == sizes.large
    assert {f"small/f.{number}" for number in range(sizes.small)} <= set(entries)
    assert plain.size >= 2 * (sizes.large + sizes.small * sizes.each) + (16 << 20)
    assert volumes(sizes)["size-1t"] is recipes["size-1t"]
