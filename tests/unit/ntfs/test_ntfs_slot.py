"""One bench after the other: a shelf that is full is no end of the run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lab.deadline import Deadline
from lab.ntfs.manifest import Manifest
from lab.ntfs.shelf import SHELF_BYTES
from lab.ntfs.specimen import Specimen
from lab.ntfs.volumes import State
from lab.scenario.cell import GuestRequest, HostRequest, KernelRequest, NtfsRequest
from lab.stage import slot
from lab.stage.bench import Bench
from lab.stage.slot import BenchSlot

GUEST = GuestRequest("ntfs", "trixie", "amd64", KernelRequest("trixie"), system="probe")
REQUEST = NtfsRequest(HostRequest("lab", "4.20"), GUEST, "ntfs3", "any", "read")


def sparse(folder: Path, name: str, size: int) -> Specimen:
    path = folder / name
    with path.open("wb") as file:
        file.truncate(size)
    return Specimen(name, path, 512, State.CLEAN, Manifest(()))


def test_when_a_shelf_is_full_the_next_volume_gets_a_fresh_guest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def start(*_words: object, **_more: object) -> Iterator[Any]:
        yield SimpleNamespace(name="ntfs-1")

    monkeypatch.setattr(slot, "bench_guest", start)
    monkeypatch.setattr(Bench, "answers", lambda *_words: True)
    nothing: Any = None
    folder: Any = SimpleNamespace(path=tmp_path)
    with ExitStack() as stack:
        benches = BenchSlot(nothing, folder, stack, "shelf")
        volumes = [sparse(tmp_path, f"{number}.img", SHELF_BYTES // 4) for number in range(5)]
        used = [benches.take(REQUEST, one, Deadline(60)) for one in volumes]
        assert all(bench.shelf.disk.exists() == (bench is used[-1]) for bench in used)
        first, second = used[0], used[2]
        assert [bench is first for bench in used[:2]] == [True, True]
        assert second is not first
        assert benches.take(REQUEST, volumes[-1], Deadline(60)) is used[-1]
        for bench in used:
            assert all(place.offset + place.size <= SHELF_BYTES for place in bench.shelf.places.values())
