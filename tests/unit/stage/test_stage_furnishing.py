"""Benches with a compiled module: who gets one, under which key, and what is made ahead for them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lab.deadline import Deadline
from lab.guests.bare import BareReadiness
from lab.kernels.build import BuiltModule, ModuleBuildError
from lab.kernels.build_recipe import Built
from lab.ntfs.drivers import drivers
from lab.scenario.cell import Cell, GuestRequest, HostRequest, KernelRequest, NtfsRequest
from lab.stage import furnishing
from lab.stage.bench import readiness
from lab.stage.furnishing import furnished, is_furnished
from lab.stage.planning import make_ahead
from lab.testing.shell import FakeShell
from tests.unit.stage.test_stage_planning import Pool

HOST, BARE = HostRequest("lab", "4.20"), HostRequest("microvm", inventory="microvm")
TRIXIE = GuestRequest("ntfs", "trixie", "amd64", KernelRequest("trixie"), system="probe")
BOOKWORM = replace(TRIXIE, kernel=KernelRequest("bookworm"))
SHIPPED = NtfsRequest(HOST, TRIXIE, "ntfs3", "clean")
COMPILED = NtfsRequest(HOST, TRIXIE, "ntfs3-lzx", "clean")


def built(folder: Path, srcversion: str = "AAAA") -> BuiltModule:
    folder.mkdir(exist_ok=True)
    (folder / "ntfs3.ko").write_bytes(b"the module")
    return BuiltModule(folder, "ntfs3", "6.12", "linux-source-6.12 6.12.117-1", srcversion, "CONFIG_NTFS3_FS=m")


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """What is compiled; ``ntfs`` cannot be."""
    compiled: list[str] = []

    @contextmanager
    def kernel(_cache: object, suite: str, **_more: object) -> Iterator[Any]:
        yield SimpleNamespace(release=suite)

    @contextmanager
    def module(_cache: object, suite: str, _kernel: object, wanted: Built, *, deadline: Deadline) -> Iterator[Any]:
        deadline.check(suite)
        compiled.append(f"{wanted.module} for {suite}")
        if wanted.module == "ntfs":
            raise ModuleBuildError("ntfs: it cannot be compiled")
        yield built(tmp_path / f"{wanted.module}-{suite}")

    monkeypatch.setattr(furnishing, "obtain_kernel", kernel)
    monkeypatch.setattr(furnishing, "obtain_module", module)
    return compiled


def test_only_a_driver_that_is_compiled_for_the_kernel_wants_a_module() -> None:
    assert is_furnished(COMPILED)
    assert not is_furnished(SHIPPED)
    assert not is_furnished(replace(COMPILED, driver="ntfs-classic"))  # it is not compiled for 6.12
    assert is_furnished(replace(COMPILED, driver="ntfs-classic", guest=BOOKWORM))


def ready(pool: Any, request: NtfsRequest) -> BareReadiness:
    with furnished(pool, request, deadline=Deadline(20)) as found:
        return found


def test_a_bench_without_a_module_is_that_of_everybody(made: list[str]) -> None:
    assert ready(SimpleNamespace(), SHIPPED).key == readiness().key
    assert made == []


def test_a_bench_with_a_module_is_another_for_each_making_of_it(made: list[str], tmp_path: Path) -> None:
    pool = SimpleNamespace(cache=None)
    found = ready(pool, COMPILED)
    assert made == ["ntfs3 for trixie"]
    other = readiness({"ntfs3-lzx": built(tmp_path / "another-making")})
    assert len({readiness().key, found.key, other.key}) == 3


def test_the_module_is_pushed_before_the_probe_is_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lab.stage.bench.ModuleTree", lambda _path: SimpleNamespace(loadable=set(), builtin=set()))
    monkeypatch.setattr("lab.stage.bench.push_modules", lambda *_words, **_more: ())
    shell = FakeShell({"tar *": "", "python3 *": ""})
    put: list[str] = []
    monkeypatch.setattr(FakeShell, "put", lambda _self, _data, path, **_more: put.append(path), raising=False)
    guest: Any = SimpleNamespace(
        shell=shell, image=SimpleNamespace(boot=SimpleNamespace(kernel=SimpleNamespace(modules=tmp_path)))
    )
    readiness({"ntfs3-lzx": built(tmp_path / "m")}).make(guest, Deadline(20))
    assert put == ["/root/probe.py"]
    assert [asked.argv[0] for asked in shell.asked] == ["tar", "python3"]
    assert b"root/modules/ntfs3-lzx/ntfs3.ko" in shell.asked[0].stdin
    assert drivers["ntfs3-lzx"].delivered == "/root/modules/ntfs3-lzx"


def ahead(monkeypatch: pytest.MonkeyPatch, *requests: NtfsRequest) -> list[str]:
    pool = Pool()

    @contextmanager
    def image(_cache: object, request: GuestRequest, _keys: object, *, deadline: Deadline) -> Iterator[None]:
        deadline.check(request.name)
        pool.made.append(f"guest {request.kernel.release}")
        yield

    @contextmanager
    def bare(_ground: object, guest: GuestRequest, _ready: object, *, deadline: Deadline) -> Iterator[None]:
        deadline.check(guest.name)
        pool.made.append(f"bare {guest.kernel.release}")
        yield

    pool_: Any = pool
    pool_.cache = pool_.ground = None
    nothing: Any = None
    monkeypatch.setattr("lab.stage.planning.obtain_guest_image", image)
    monkeypatch.setattr("lab.stage.furnishing.obtain_bare", bare)
    cells = [Cell("s.lab.yaml", str(n), "s", "ntfs", {}, request) for n, request in enumerate(requests)]
    make_ahead(nothing, nothing, pool_, cells, deadline=Deadline(20))
    return pool.made


def test_modules_are_compiled_ahead_once_for_all_volumes_and_stages(
    monkeypatch: pytest.MonkeyPatch, made: list[str]
) -> None:
    said = ahead(
        monkeypatch,
        COMPILED,
        replace(COMPILED, volume="sparse"),
        replace(COMPILED, host=BARE, stage="microvm"),
    )
    assert made[0] == "ntfs3 for trixie"
    # Then it is asked for twice more, from the cache: for the guest on Xen and for the bare one.
    assert made.count("ntfs3 for trixie") == 3
    assert sorted(said[:3]) == ["accelerator", "guest trixie", "image xen-4.20"]
    assert said[3] == "snapshot xen-4.20"
    bare, on_xen = sorted(said[4:])
    assert bare == "bare trixie"
    assert on_xen.startswith("ntfs on xen-4.20, ")


def test_what_cannot_be_compiled_takes_nobody_with_it(monkeypatch: pytest.MonkeyPatch, made: list[str]) -> None:
    classic = NtfsRequest(HOST, BOOKWORM, "ntfs-classic", "clean")
    said = ahead(monkeypatch, classic, replace(classic, driver="ntfs3-lzx"))
    assert sorted(set(made)) == ["ntfs for bookworm", "ntfs3 for bookworm"]
    assert [line for line in said if line.startswith("ntfs on")] == [said[-1]]
