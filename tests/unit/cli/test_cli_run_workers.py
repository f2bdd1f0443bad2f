"""What workers of a run leave when they are killed."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lab import cli
from lab.cache import Cache
from tests.unit.fake_runs import fake_run


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
