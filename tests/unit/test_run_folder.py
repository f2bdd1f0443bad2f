"""Run folders: alive or not, whose, and what is swept of a dead one. Nothing foreign may ever be touched."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

from lab.cache import Cache
from lab.deadline import Deadline
from lab.errors import CacheError
from lab.hosts import mounts
from lab.hosts.processes import Process, end, naming
from lab.hosts.run_folder import Owner, is_alive, leftovers, run_folder, sockets_of, sweep
from lab.process import Completed
from tests.unit.fake_runs import asleep, fake_run, program, reap


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cache:
    """An empty cache, and a folder of its own for temporary files."""
    (tmp_path / "t").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "t"))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "t"))
    return Cache(tmp_path / "cache")


def test_a_run_lives_as_long_as_its_context_and_leaves_nothing(cache: Cache, tmp_path: Path) -> None:
    with run_folder(cache) as run:
        assert is_alive(run.path)
        assert sockets_of(run.path) == run.sockets
        owner = Owner.of(run.path)
        assert owner is not None
        assert owner.process is not None
        assert owner.process.pid == os.getpid()
        assert leftovers(cache) == ()
    assert list((tmp_path / "cache/run").iterdir()) == []
    assert list((tmp_path / "t").iterdir()) == []


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    whole = (
        re.escape(f"{tmp_path}/cache/run/") + r"[0-9a-f]{8}: Not a directory\n  hint: point LAB_CACHE at a folder .*"
    )
    with pytest.raises(CacheError) as caught, run_folder(Cache(tmp_path / "cache")):
        pass
    assert re.fullmatch(whole, str(caught.value))


def test_a_folder_without_its_lock_is_being_made_unless_it_is_old(cache: Cache) -> None:
    path = cache.root / "run" / "young"
    path.mkdir(parents=True)
    assert leftovers(cache) == ()
    os.utime(path, (0, 0))
    assert [ruin.tag for ruin in leftovers(cache)] == ["young"]


def test_a_dead_run_is_swept_with_its_processes_and_their_children(cache: Cache) -> None:
    with fake_run(cache, alive=False) as run:
        qemu = run.host("xen-4.20")
        ssh = run.program("ssh", "-F", f"{run.sockets}/xen-4.20/config", "-M", "-N", "xen-4.20")
        hub = run.program("qemu-system-x86_64", f"stream,id=a,addr.path={run.sockets}/net/guests-14")
        builder = run.program("mke2fs", "-d", "root", f"{run.path}/boot.raw")
        children = [child for each in run.processes for child in asleep(each.pid)]
        (ruin,) = leftovers(cache)
        assert set(ruin.processes) == {qemu.pid, ssh.pid, hub.pid, builder.pid}
        assert set(sweep(ruin)) == {*ruin.processes, *children}
        assert [process.wait(5) for process in run.processes] == [-signal.SIGKILL] * 4
        assert not any(Process.read(child) for child in children)
        assert not run.path.exists()
        assert not run.sockets.exists()
        assert leftovers(cache) == ()


def test_a_live_run_is_no_leftover(cache: Cache) -> None:
    with fake_run(cache) as run:
        qemu = run.host("xen-4.20")
        assert leftovers(cache) == ()
        assert qemu.poll() is None


def test_what_merely_mentions_a_dead_run_is_not_touched(cache: Cache) -> None:
    with fake_run(cache, alive=False) as run, fake_run(cache, f"{run.tag}5") as other:
        reader = run.program("tail", "-f", f"{run.path}/xen-4.20/console.log")
        namesake = run.program("qemu-system-x86_64", f"file=/backup{run.path}/disk")
        neighbour = other.host("xen-4.20")
        # The lab's own lead a session; whoever copies a log by hand sits in that of a terminal.
        copying = program("cp", f"{run.path}/xen-4.20/console.log", "home", session=False)
        run.undo.callback(reap, copying)
        (ruin,) = leftovers(cache)
        assert ruin.processes == ()
        assert sweep(ruin) == ()
        assert not run.path.exists()
        assert [each.poll() for each in (reader, namesake, neighbour, copying)] == [None] * 4


def test_of_a_users_own_ssh_nothing_else_in_its_terminal_dies(cache: Cache) -> None:
    with fake_run(cache, alive=False) as run:
        users = program("ssh", "-F", f"{run.sockets}/xen-4.20/config", "xen-4.20", session=False)
        run.undo.callback(reap, users)
        (ruin,) = leftovers(cache)
        assert sweep(ruin) == (users.pid,)  # and this test, of the same session, still runs


def test_a_script_is_known_by_its_own_name(cache: Cache, tmp_path: Path) -> None:
    script = tmp_path / "qemu-system-x86_64"
    script.write_text("#!/bin/sh\nsleep 60; :\n")
    script.chmod(0o755)
    with fake_run(cache, alive=False) as run:
        process = subprocess.Popen((script, f"{run.path}/disk.qcow2"), start_new_session=True)
        run.undo.callback(reap, process)
        asleep(process.pid)
        assert [each.pid for each in naming([run.path])] == [process.pid]


_KILLED = """
import sys, time
from pathlib import Path
from lab.cache import Cache
from lab.hosts.run_folder import run_folder
from tests.unit.fake_runs import program
with run_folder(Cache(Path(sys.argv[1]))) as run:
    print(program("qemu-system-x86_64", f"{run.path}/xen-4.20/disk.qcow2").pid, flush=True)
    time.sleep(60)
"""


def test_a_run_that_is_killed_is_found_and_swept(cache: Cache) -> None:
    with subprocess.Popen((sys.executable, "-c", _KILLED, cache.root), stdout=subprocess.PIPE) as killed:
        assert killed.stdout is not None
        pid = int(killed.stdout.readline())
        assert leftovers(cache) == ()
        killed.kill()
    (ruin,) = leftovers(cache)
    assert ruin.processes == (pid,)
    sockets = sockets_of(ruin.path)
    sweep(ruin)
    assert Process.read(pid) is None
    assert sockets is not None
    assert not sockets.exists()


def test_a_later_process_of_the_same_number_is_not_the_owner(cache: Cache) -> None:
    owner = Owner.here()
    assert owner.process is not None
    assert replace(owner, started=owner.started - 1).process is None
    with run_folder(cache) as run:
        (run.path / "owner.json").write_text("{}")
        assert Owner.of(run.path) is None


def test_a_signal_reaches_only_the_process_that_was_meant() -> None:
    sleeper = program("sleeper")
    try:
        found = Process.read(sleeper.pid)
        assert found is not None
        assert not replace(found, started=found.started - 1).send(signal.SIGKILL)
        assert not replace(found, pid=2**22 + 1).send(signal.SIGKILL)
        assert sleeper.poll() is None
        assert found.send(signal.SIGKILL)
        sleeper.wait(5)
        assert found.gone
    finally:
        reap(sleeper)


def test_a_process_that_ignores_a_signal_says_so() -> None:
    words = ("sh", "-c", "trap '' INT; echo; sleep 60; :")
    with subprocess.Popen(words, stdout=subprocess.PIPE, start_new_session=True) as deaf:
        assert deaf.stdout is not None
        deaf.stdout.readline()
        found = Process.read(deaf.pid)
        assert found is not None
        assert (found.ignores(signal.SIGINT), found.ignores(signal.SIGTERM)) == (True, False)
        end([found], deadline=Deadline(5))


def test_a_link_that_does_not_look_like_ours_is_not_followed(cache: Cache, tmp_path: Path) -> None:
    with fake_run(cache, alive=False) as run:
        precious = tmp_path / "precious"
        precious.mkdir()
        (run.path / "sockets").unlink()
        (run.path / "sockets").symlink_to(precious)
        (ruin,) = leftovers(cache)
        sweep(ruin)
        assert precious.exists()
        assert not run.path.exists()


def test_a_folder_in_which_something_stays_mounted_is_not_emptied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, inner = tmp_path / "half", tmp_path / "half/a/mnt"
    inner.mkdir(parents=True)
    called: list[tuple[str | Path, ...]] = []

    def umount(*argv: str | Path, deadline: Deadline) -> Completed:
        called.append(argv)
        deadline.check("umount")
        return Completed(tuple(map(str, argv)), 32, b"", b"busy")

    monkeypatch.setattr(mounts, "run", umount)
    monkeypatch.setattr(mounts, "mounts_in", lambda _folder: (inner,))
    with pytest.raises(CacheError) as caught:
        mounts.remove(folder)
    assert str(caught.value) == f"{folder}: something is still mounted at {inner}\n  hint: umount {inner}"
    assert called == [("umount", "--no-canonicalize", "--lazy", inner)]
    assert inner.exists()


def test_mounts_are_read_with_their_blanks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = b"1 0 0:1 / / rw - ext4 a b\n2 1 0:2 / /x/a\\040b rw - fuse c d\n3 2 0:3 / /x/a\\040b/c rw - fuse c d\n"
    monkeypatch.setattr(Path, "read_bytes", lambda _path: table)
    assert mounts.mounts_in(Path("/x")) == (Path("/x/a b/c"), Path("/x/a b"))
    assert mounts.mounts_in(tmp_path) == ()


def test_a_machine_that_lives_keeps_its_place_and_the_next_of_its_name_gets_another(cache: Cache) -> None:
    with run_folder(cache) as run:
        first = run.place("xen-4.20")
        assert (first.folder, first.sockets) == (run.path / "xen-4.20", run.sockets / "xen-4.20")
        assert first.tag == run.tag
        (first.folder / "disk.qcow2").touch()
        (first.sockets / "qmp").touch()
        second = run.place("xen-4.20")
        assert (second.folder, second.sockets) == (run.path / "xen-4.20.2", run.sockets / "xen-4.20.2")
        (second.sockets / "qmp").touch()
        assert run.place("xen-4.20").folder.name == "xen-4.20.3"
        assert run.place("xen-4.14").folder.name == "xen-4.14"
        assert (first.folder / "disk.qcow2").exists()


def test_a_place_is_used_again_once_its_machine_is_gone_and_nothing_of_it_is_left(cache: Cache) -> None:
    with run_folder(cache) as run:
        first = run.place("xen-4.20")
        (first.sockets / "qmp").touch()
        second = run.place("xen-4.20")
        (second.sockets / "qmp").touch()
        (first.folder / "console.log").touch()
        (first.sockets / "lab").touch()
        (first.sockets / "qmp").unlink()
        again = run.place("xen-4.20")
        assert again == first
        assert [*again.folder.iterdir(), *again.sockets.iterdir()] == []
        assert (second.sockets / "qmp").exists()
