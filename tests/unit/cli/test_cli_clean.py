"""``lab clean``: what killed runs left goes, what lives stays, and whatever is not the lab's is not even looked at."""

from __future__ import annotations

import json
import os
import re
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lab import cli
from lab.cache import Cache
from lab.commands import clean
from lab.deadline import Deadline
from lab.errors import CacheError
from lab.hosts.processes import naming
from lab.hosts.run_folder import run_folder
from tests.unit.fake_runs import asleep, fake_run, program, reap
from tests.unit.programs import Programs

_DAY = 86400.0


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cache:
    """The cache that the command will find, and a folder of its own for temporary files."""
    (tmp_path / "t").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "t"))
    monkeypatch.setenv("LAB_CACHE", str(tmp_path / "cache"))
    return Cache(tmp_path / "cache")


@pytest.fixture
def document(capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """What the command says to machines."""

    def run(*words: str) -> Any:
        assert cli.main(["clean", "--json", *words]) == 0
        return json.loads(capsys.readouterr().out)

    return run


def entry(cache: Cache, kind: str, key: str, *, days: float = 0.0, size: int = 1 << 20) -> Path:
    """A finished thing that was last used so long ago."""
    path = cache.folder(kind, key)
    path.mkdir(parents=True)
    (path / "disk.raw").write_bytes(b"x" * size)
    os.utime(path, (path.stat().st_mtime - days * _DAY,) * 2)
    return path


@pytest.mark.usefixtures("cache")
def test_nothing_to_remove(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["clean"]) == 0
    assert capsys.readouterr().out == "nothing to remove\n"


def test_a_dead_run_goes_and_a_live_one_stays(cache: Cache, capsys: pytest.CaptureFixture[str]) -> None:
    with fake_run(cache, "dead0000", alive=False) as dead, fake_run(cache, "live0000") as live:
        gone, stays = dead.host("xen-4.20"), live.host("xen-4.20")
        (dead.path / "disk.raw").write_bytes(b"x" * (3 << 20))
        assert cli.main(["clean", "--dry-run"]) == 0
        said = capsys.readouterr().out
        assert re.fullmatch(
            r"would remove run dead0000: 3\.0 MiB, 1 process\n"
            r"alive, not touched: run live0000 \(lab run live0000\)\n3\.0 MiB would be freed\n",
            said,
        )
        assert (gone.poll(), stays.poll()) == (None, None)
        assert cli.main(["clean"]) == 0
        assert capsys.readouterr().out == (
            "removed run dead0000: 3.0 MiB, 2 processes\n"
            "alive, not touched: run live0000 (lab run live0000)\n3.0 MiB freed\n"
        )
        assert gone.wait(5) == -9
        assert stays.poll() is None
        assert not dead.path.exists()
        assert not dead.sockets.exists()
        assert (live.path / "xen-4.20/console.log").exists()
        assert (live.sockets / "xen-4.20/config").exists()


def test_a_half_made_thing_goes_with_its_builder_unless_somebody_builds_it(
    cache: Cache, document: Callable[..., Any]
) -> None:
    half = entry(cache, "host", "abc.building")
    builder = program("mmdebstrap", "--mode=root", f"{half}/root")
    reader = program("less", f"{half}/log")
    try:
        with cache.alone("host", "abc", deadline=Deadline(1)):
            assert document()["removed"] == []
        assert builder.poll() is None
        assert document("--dry-run")["removed"][0]["processes"] == [builder.pid]
        (removed,) = document()["removed"]
        assert (removed["what"], removed["name"]) == ("half-made", "host/abc")
        assert builder.wait(5) == -9
        assert reader.poll() is None
        assert not half.exists()
    finally:
        reap(builder)
        reap(reader)


def test_what_nobody_has_used_for_two_weeks_goes(cache: Cache, document: Callable[..., Any]) -> None:
    paths = {days: entry(cache, "guest", f"days-{days}", days=days) for days in (1, 13, 15)}
    keys = entry(cache, "keys", "ed25519", days=400)
    assert [one["name"] for one in document("--dry-run")["removed"]] == ["days-15"]
    assert all(path.exists() for path in paths.values())
    said = document()
    assert [(one["what"], one["name"]) for one in said["removed"]] == [("guest", "days-15")]
    assert said["bytes"] >= 1 << 20
    assert [one["name"] for one in document("--unused-for", "0.5")["removed"]] == ["days-1", "days-13"]
    assert not any(path.exists() for path in paths.values())
    assert keys.exists()  # all images hold them


def test_what_a_run_uses_stays_and_the_run_is_named(cache: Cache, capsys: pytest.CaptureFixture[str]) -> None:
    entry(cache, "keys", "ed25519")
    entry(cache, "host", "used")
    entry(cache, "host", "unused")
    with (
        fake_run(cache, "live0000"),
        cache.use("host", "used", lambda _into: None, deadline=Deadline(1)),
    ):
        assert cli.main(["clean", "--all"]) == 0
    assert capsys.readouterr().out == (
        "removed host unused: 1.0 MiB\n"
        "kept host used: run live0000 (lab run live0000) uses it\n"
        "kept keys ed25519: run live0000 (lab run live0000) uses it\n"
        "alive, not touched: run live0000 (lab run live0000)\n"
        "1.0 MiB freed\n"
    )
    with cache.use("host", "used", lambda _into: None, deadline=Deadline(1)):
        assert cli.main(["clean", "--all"]) == 0
    assert "kept host used: another process of the lab uses it\n" in capsys.readouterr().out


def test_all_empties_the_cache(cache: Cache, document: Callable[..., Any]) -> None:
    entry(cache, "keys", "ed25519")
    entry(cache, "snapshot", "abc")
    entry(cache, "apt", "trixie-amd64")
    for name in ("accelerator/abc.json", "host/failed-trixie-amd64.log"):
        (cache.root / name).parent.mkdir(exist_ok=True)
        (cache.root / name).touch()
    assert {one["what"] for one in document("--all", "--dry-run")["removed"]} == {"keys", "snapshot", "apt"}
    assert {one["what"] for one in document("--all")["removed"]} == {"keys", "snapshot", "apt"}
    assert {path.suffix for path in cache.root.rglob("*") if path.is_file()} == {".lock"}


def stray(tmp_path: Path, name: str, *files: str, old: bool = True) -> Path:
    """A folder as tempfile makes it."""
    path = tmp_path / "t" / name
    path.mkdir(mode=0o700)
    for file in files:
        (path / file).parent.mkdir(exist_ok=True)
        (path / file).touch()
    if old:
        os.utime(path, (0, 0))
    return path


@pytest.mark.usefixtures("cache")
def test_short_folders_that_nobody_uses_go(tmp_path: Path, document: Callable[..., Any]) -> None:
    empty = stray(tmp_path, "lab-abcd_123")
    snapshot = stray(tmp_path, "lab-ttq37bk3", "config", "known_hosts", "xen-4.20.conf", "xen-4.20.log")
    doctor = stray(tmp_path, "lab-doctor-abcd1234", "bookworm")
    assert [one["name"] for one in document()["removed"]] == [str(empty), str(doctor), str(snapshot)]
    assert list((tmp_path / "t").iterdir()) == []


def test_short_folders_that_may_be_somebodys_stay(cache: Cache, tmp_path: Path, document: Callable[..., Any]) -> None:
    stays = [
        stray(tmp_path, "lab-exercise", "answers.txt"),  # a user's own, by its content
        stray(tmp_path, "lab-notes"),  # by its name
        stray(tmp_path, "lab-abcd1234", old=False),  # about to be used, perhaps
        stray(tmp_path, "lab-shared12"),
        stray(tmp_path, "lab-workedin"),
        stray(tmp_path, "lab-opened12", "xen-4.20.log"),
    ]
    stays[3].chmod(0o755)
    os.utime(stays[3], (0, 0))
    (tmp_path / "t/lab-linked12").symlink_to(stays[1])
    with (
        subprocess.Popen(("sleep", "60"), cwd=stays[4]) as worker,
        (stays[5] / "xen-4.20.log").open(),
        fake_run(cache) as live,
        run_folder(Cache(tmp_path / "another cache")) as another,
    ):
        os.utime(live.sockets, (0, 0))
        os.utime(another.sockets, (0, 0))
        assert document()["removed"] == []
        worker.kill()
        assert live.sockets.exists()
        assert another.sockets.exists()
    assert all(path.exists() for path in stays)
    assert [one["name"] for one in document()["removed"]] == [live.tag, str(stays[5]), str(stays[4])]


@pytest.mark.usefixtures("cache")
def test_orphans_in_a_short_folder_go_and_children_of_the_living_stay(
    tmp_path: Path, document: Callable[..., Any]
) -> None:
    ours = stray(tmp_path, "lab-ttq37bk3", "config", old=False)
    orphaned = stray(tmp_path, "lab-ttq37bk4", "config", old=False)
    script = tmp_path / "qemu-system-x86_64"
    script.write_text("#!/bin/sh\nsleep 60; :\n")
    script.chmod(0o755)
    living = program("qemu-system-x86_64", f"unix:{ours}/qmp,server=on")  # its parent is this Python
    # The lab is gone, and something that is no Python has taken its children over.
    env = {**os.environ, "SCRIPT": str(script), "FOLDER": str(orphaned)}
    with subprocess.Popen(("sh", "-c", 'setsid "$SCRIPT" "unix:$FOLDER/qmp,server=on" & wait'), env=env) as adopter:
        found = adopted(orphaned)
        said = document()["removed"]
        adopter.wait(5)
    try:
        assert [one["name"] for one in said] == [str(orphaned)]
        assert found in said[0]["processes"]
        assert living.poll() is None
        assert ours.exists()
        assert not orphaned.exists()
    finally:
        reap(living)


def adopted(folder: Path) -> int:
    """The process that names the folder, once it has settled."""
    while not (found := naming([folder])):
        pass
    asleep(found[0].pid)
    return found[0].pid


def test_a_builder_that_is_killed_frees_its_short_folder_at_once(
    cache: Cache, tmp_path: Path, document: Callable[..., Any]
) -> None:
    half = entry(cache, "snapshot", "abc.building")
    short = stray(tmp_path, "lab-ttq37bk3", "config", old=False)
    qemu = program("qemu-system-x86_64", f"file={half}/disk.qcow2", f"unix:{short}/qmp,server=on")
    try:
        assert [one["what"] for one in document()["removed"]] == ["half-made", "folder"]
        assert qemu.wait(5) == -9
        assert not short.exists()
    finally:
        reap(qemu)


def test_what_cannot_be_removed_is_said_and_keeps_nothing_else(
    cache: Cache, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(_ruin: object) -> tuple[int, ...]:
        raise CacheError("run/dead0000: something is still mounted at /x", hint="umount /x")

    monkeypatch.setattr(clean, "sweep", refuse)
    entry(cache, "guest", "old", days=20)
    with fake_run(cache, "dead0000", alive=False):
        assert cli.main(["clean"]) == 3
    said = capsys.readouterr()
    assert said.out == "removed guest old: 1.0 MiB\n1.0 MiB freed\n"
    assert said.err == "error: run/dead0000: something is still mounted at /x\n  hint: umount /x\n"


def test_a_negative_age_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["clean", "--unused-for", "-1"]) == 2
    assert "Invalid value for '--unused-for': Input should be greater than or equal to 0" in capsys.readouterr().err


@pytest.fixture
def hosts(tmp_path: Path, programs: Programs) -> Path:
    """A hosts file of two, one of which is this machine under another name, and one that lets nobody in."""
    programs.add(
        "ssh", 'case "$*" in *"-l root h1 "*) ;; *) echo "h2: refused" >&2; exit 255 ;; esac\ncat "$HERE/said"'
    )
    file = tmp_path / "hosts.yaml"
    file.write_text("hosts:\n  rack-1: {ssh: root@h1}\n")
    return file


@pytest.mark.usefixtures("cache")
def test_what_killed_runs_left_on_hosts_goes_with_them(
    hosts: Path, programs: Programs, document: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    (programs.folder / "said").write_text("dead aaaaaaaa 2\nguest aaaaaaaa web32-aaaa-266\nend\n")
    left = {"tag": "aaaaaaaa", "guests": ["web32-aaaa-266"], "disks": 2}
    assert document("--hosts", str(hosts))["removed"] == [
        {"what": "on rack-1", "name": "run aaaaaaaa", "bytes": 0, "processes": [], "left": left}
    ]
    assert cli.main(["clean", "--dry-run", "--hosts", str(hosts)]) == 0
    assert capsys.readouterr().out == ("would remove on rack-1 run aaaaaaaa: 2 disks; guests: web32-aaaa-266\n")


@pytest.mark.usefixtures("cache")
def test_a_host_that_lets_nobody_in_is_told_and_keeps_nothing_else(
    hosts: Path, programs: Programs, capsys: pytest.CaptureFixture[str]
) -> None:
    (programs.folder / "said").write_text("end\n")
    hosts.write_text("hosts:\n  rack-2: {ssh: root@h2}\n  rack-1: {ssh: root@h1}\n")
    assert cli.main(["clean", "--hosts", str(hosts)]) == 3
    said = capsys.readouterr()
    assert said.err == ("error: rack-2: ssh does not get there: h2: refused\n  hint: try it yourself: ssh root@h2\n")


@pytest.mark.usefixtures("cache")
def test_a_hosts_file_with_mistakes_is_a_usage_error(hosts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hosts.write_text("hosts:\n  rack-1: {shs: root@h1}\n")
    assert cli.main(["clean", "--hosts", str(hosts)]) == 2
    assert "hosts.yaml:2:12: hosts.rack-1: unknown key 'shs'; did you mean 'ssh'?" in capsys.readouterr().err
