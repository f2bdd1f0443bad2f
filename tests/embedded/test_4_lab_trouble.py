"""Trouble of the lab is told from a product's failure: exit code 3, the cause, and no traceback."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.cache import Cache
from lab.deadline import Deadline
from lab.errors import HostError
from lab.hosts.run_folder import leftovers, sweep
from lab.scenario.cell import HostRequest
from lab.settings import Settings
from lab.stage.xen import XenStage
from tests.embedded.conftest import QUICK, ROOT

HOST = HostRequest("lab", "4.17")


def lab(*words: str, env: dict[str, str], timeout: float = 300) -> subprocess.CompletedProcess[str]:
    command = (sys.executable, "-m", "lab", *words)
    everything = {**os.environ, **env}
    return subprocess.run(
        command,
        cwd=ROOT,
        env=everything,
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout,
        stdin=subprocess.DEVNULL,
    )


def words_of(done: subprocess.CompletedProcess[str]) -> str:
    """All that was said, without the line breaks that a narrow terminal puts in."""
    return " ".join((done.stdout + done.stderr).split())


def test_every_version_comes_up_and_says_what_it_is(stage: XenStage) -> None:
    for version, suite_libvirt in (("4.14", "7.0"), ("4.17", "9.0"), ("4.20", "11.3")):
        facts = stage.host(HostRequest("any", version), Deadline(900))
        assert facts.xen.startswith(version)
        assert facts.libvirt.startswith(suite_libvirt)
        assert "xen-3.0-x86_64" in facts.capabilities


def test_a_dead_host_is_named_and_the_next_cell_gets_another(stage: XenStage) -> None:
    stage.host(HOST, Deadline(900))
    host = next(host for host in stage.pool.up() if host.name == "xen-4.17")
    pid = int((stage.folder.path / "xen-4.17" / "qemu.pid").read_text())
    os.kill(pid, signal.SIGKILL)
    time.sleep(1)
    with pytest.raises(HostError, match=r"xen-4\.17: QEMU ended with status -9"):
        stage.host(HOST, Deadline(60))
    stage.host(HOST, Deadline(120))
    again = next(host for host in stage.pool.up() if host.name == "xen-4.17")
    assert again is not host
    assert again.shell.run("true", deadline=Deadline(20))


def test_no_qemu(tmp_path: Path) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    for folder in os.environ["PATH"].split(":"):
        for program in Path(folder).glob("*"):
            if not program.name.startswith("qemu") and not (programs / program.name).exists():
                (programs / program.name).symlink_to(program)
    done = lab("run", str(QUICK), "-k", "clean", "--reports", str(tmp_path / "r"), env={"PATH": str(programs)})
    assert done.returncode == 3
    assert "qemu-system-x86_64: no such program" in words_of(done)
    assert "Traceback" not in done.stdout + done.stderr


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(("mount", "-t", "tmpfs", "-o", "size=8m", "lab-test", str(folder)), check=True, timeout=10)
    yield folder
    subprocess.run(("umount", str(folder)), check=True, timeout=10)


def test_a_full_disk(small_disk: Path, tmp_path: Path) -> None:
    env = {"LAB_CACHE": str(small_disk)}
    done = lab("run", str(QUICK), "-k", "clean", "--reports", str(tmp_path / "r"), env=env)
    assert done.returncode == 3
    assert "No space left on device" in words_of(done)
    assert "Traceback" not in done.stdout + done.stderr


def test_what_a_killed_run_leaves_is_found_and_removed(tmp_path: Path) -> None:
    settings = Settings.from_environment()
    cache = Cache(settings.cache)
    before = {left.tag for left in leftovers(cache)}
    hosts = set((cache.root / "run").glob("*/xen-4.20/qemu.pid"))  # of this session's own stage
    command = (
        sys.executable,
        "-m",
        "lab",
        "run",
        str(QUICK),
        "-k",
        "ntfs3 and clean",
        "--reports",
        str(tmp_path / "r"),
    )
    running = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 120
        while not set((cache.root / "run").glob("*/xen-4.20/qemu.pid")) - hosts:
            assert time.monotonic() < until
            time.sleep(0.2)
    finally:
        running.kill()
        running.wait()
    (left,) = [left for left in leftovers(cache) if left.tag not in before]
    assert left.processes
    sweep(left)
    time.sleep(0.5)
    assert not left.path.exists()
    assert all(not Path(f"/proc/{pid}/exe").exists() for pid in left.processes)
