"""What workers of a run leave when they are killed."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lab import cli
from lab.cache import Cache
from tests.unit.fake_runs import fake_run, program, reap


@pytest.mark.parametrize("workers", [1, 2])
def test_what_killed_workers_left_goes_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], workers: int
) -> None:
    monkeypatch.setenv("LAB_CACHE", str(tmp_path / "cache"))
    cache = Cache(tmp_path / "cache")
    with ExitStack() as stack:
        earlier = stack.enter_context(fake_run(cache, "older000", alive=False))
        left: list[Any] = []

        def killed(*_: object, **__: object) -> tuple[int, Any]:
            for tag, alive in (("worker01", False), ("worker02", True)):
                left.append(stack.enter_context(fake_run(cache, tag, alive=alive)))
            left.append(left[0].host("xen-4.20"))
            return 3, SimpleNamespace(matrix=None)

        monkeypatch.setattr("lab.commands.run.run_session", killed)
        assert cli.main(["run", "x.lab.yaml", "-n", str(workers)]) == 3
        dead, undoing, qemu = left
        assert earlier.path.exists()
        assert undoing.path.exists()
        said = capsys.readouterr().err
        if workers == 1:
            assert (said, dead.path.exists(), qemu.poll()) == ("", True, None)
            return
        assert said == "a worker was killed; removed what it left: worker01, 2 processes\n"
        assert not dead.path.exists()
        assert qemu.wait(5) == -9


def test_the_machine_that_a_killed_worker_was_making_goes_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    short = tmp_path / "lab-ttq37bk3"
    short.mkdir(mode=0o700)
    (short / "config").touch()
    half = tmp_path / "cache" / "poised" / "abc.building"
    earlier = half.with_name("old.building")
    earlier.mkdir(parents=True)
    machines = [program("qemu-system-x86_64", f"file={earlier}/disk.qcow2")]
    try:

        def killed(*_: object, **__: object) -> tuple[int, Any]:
            half.mkdir()
            machines.append(program("qemu-system-x86_64", f"file={half}/disk", f"unix:{short}/qmp,server=on"))
            return 3, SimpleNamespace(matrix=None)

        monkeypatch.setattr("lab.commands.run.run_session", killed)
        assert cli.main(["run", "x.lab.yaml", "-n", "2"]) == 3
        assert machines[0].poll() is None
        assert machines[1].wait(5) == -9
        assert not half.exists()
        assert not short.exists()
        said = capsys.readouterr().err.splitlines()
        assert said[0] == "a worker was killed; removed what it left: half-made poised/abc, 2 processes"
        assert said[1].startswith(f"a worker was killed; removed what it left: {short}, ")
    finally:
        for machine in machines:
            reap(machine)
