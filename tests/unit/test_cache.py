"""The cache: complete or absent, built once, never pulled from under a run."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest

from lab import cache as module
from lab.cache import Cache, Entry, birth, fingerprint
from lab.deadline import Deadline
from lab.errors import CacheError, DeadlineError, HostError

WORKER = """
import sys, time
from pathlib import Path
from lab.cache import Cache
from lab.deadline import Deadline

root, builds, seconds = Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3])

def build(folder):
    with builds.open("a") as log:
        log.write("built\\n")
    (folder / "half").write_text("of it")
    print("building", flush=True)
    time.sleep(seconds)
    (folder / "whole").write_text("all of it")

with Cache(root).use("host", "k1", build, deadline=Deadline(30)) as folder:
    print((folder / "whole").read_text(), flush=True)
    sys.stdin.read()
"""


def soon() -> Deadline:
    return Deadline(20)


def nothing_to_build(_folder: Path) -> None:
    raise AssertionError("it is there already")


def write(content: str) -> Callable[[Path], None]:
    def build(folder: Path) -> None:
        (folder / "file").write_text(content)

    return build


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look again at once instead of twice a second."""
    monkeypatch.setattr("lab.wait.pause", lambda seconds: threading.Event().wait(min(seconds, 0.01)))


class Worker:
    """Another run, in a process of its own: it uses host/k1 until it is told to end."""

    def __init__(self, cache: Cache, builds: Path, seconds: float) -> None:
        argv = [sys.executable, "-c", WORKER, str(cache.root), str(builds), str(seconds)]
        self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def hear(self) -> str:
        """Its next line."""
        assert self.process.stdout
        return self.process.stdout.readline().strip()

    def end(self) -> int:
        """Its status, after it has let go."""
        self.process.communicate(timeout=20)
        return self.process.returncode


@contextmanager
def worker(cache: Cache, builds: Path, seconds: float) -> Iterator[Worker]:
    made = Worker(cache, builds, seconds)
    try:
        yield made
    finally:
        made.process.kill()
        made.process.communicate()


def test_two_makings_of_one_thing_have_two_births(cache: Cache) -> None:
    with cache.use("host", "k1", write("one"), deadline=soon()) as folder:
        first = birth(folder)
    with cache.use("host", "k1", nothing_to_build, deadline=soon()) as folder:
        assert birth(folder) == first
        shutil.rmtree(folder)
    with cache.use("host", "k1", write("one"), deadline=soon()) as folder:
        assert birth(folder) != first


def test_a_thing_is_built_once_and_then_found(cache: Cache) -> None:
    with cache.use("host", "k1", write("one"), deadline=soon()) as folder:
        assert folder == cache.folder("host", "k1")
    with cache.use("host", "k1", nothing_to_build, deadline=soon()) as folder:
        assert (folder / "file").read_text() == "one"
    assert sorted(path.name for path in (cache.root / "host").iterdir()) == ["k1", "k1.birth", "k1.lock"]


def test_a_killed_build_leaves_nothing_that_is_served(cache: Cache, tmp_path: Path) -> None:
    with worker(cache, tmp_path / "builds", 60) as run:
        assert run.hear() == "building"
        run.process.kill()
        run.process.wait()
    assert not cache.folder("host", "k1").exists()
    assert (cache.root / "host/k1.building/half").exists()
    assert cache.entries() == ()
    with cache.use("host", "k1", write("anew"), deadline=soon()) as folder:
        assert ((folder / "file").exists(), (folder / "half").exists()) == (True, False)
    assert not (cache.root / "host/k1.building").exists()


def test_of_two_runs_at_once_one_builds_and_both_use_it_side_by_side(cache: Cache, tmp_path: Path) -> None:
    builds = tmp_path / "builds"
    with worker(cache, builds, 0.6) as first, worker(cache, builds, 0.6) as second:
        heard = [(first.hear(), first), (second.hear(), second)]
        builder = next(run for said, run in heard if said == "building")
        # The one that waited has it while the one that built it still uses it: that may go on for an hour.
        assert builder.hear() == "all of it"
        assert [said for said, run in heard if run is not builder] == ["all of it"]
        assert (first.end(), second.end()) == (0, 0)
    assert builds.read_text() == "built\n"


@pytest.mark.usefixtures("fast")
def test_a_run_that_waits_in_vain_says_for_what(cache: Cache) -> None:
    final = re.escape(str(cache.folder("host", "k1")))
    with (
        held_by_a_builder(cache),
        pytest.raises(DeadlineError, match=f"^the end of another run's work on {final}.lock: not seen within 0.1 s$"),
        cache.use("host", "k1", nothing_to_build, deadline=Deadline(0.1)),
    ):
        pass


@contextmanager
def held_by_a_builder(cache: Cache, kind: str = "host", key: str = "k1") -> Iterator[None]:
    """Somebody builds it as long as the context lasts."""
    building, finish = threading.Event(), threading.Event()

    def build(folder: Path) -> None:
        (folder / "half").touch()
        building.set()
        finish.wait(20)

    def work() -> None:
        with cache.use(kind, key, build, deadline=soon()):
            pass

    thread = threading.Thread(target=work)
    thread.start()
    assert building.wait(20)
    try:
        yield
    finally:
        finish.set()
        thread.join(20)


@pytest.mark.usefixtures("fast")
def test_many_that_wait_for_a_build_all_get_it(cache: Cache) -> None:
    got: list[str] = []
    everybody = threading.Barrier(4, timeout=20)

    def work() -> None:
        with cache.use("host", "k1", nothing_to_build, deadline=soon()) as folder:
            got.append(folder.name)
            everybody.wait()  # all hold it at the same time

    waiting = [threading.Thread(target=work) for _ in range(4)]
    with held_by_a_builder(cache):
        for thread in waiting:
            thread.start()
    for thread in waiting:
        thread.join(20)
    assert got == ["k1"] * 4


def test_who_came_at_the_same_moment_as_the_builder_gets_it_too(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    # Both have looked and found nothing; the other is quicker, builds it, and goes on to use it for an hour.
    looked = threading.Event()

    def pause(_seconds: float) -> None:
        looked.set()
        time.sleep(0.01)

    monkeypatch.setattr("lab.wait.pause", pause)
    final = cache.folder("host", "k1")
    final.parent.mkdir(parents=True)
    got = threading.Event()

    def work() -> None:
        with cache.use("host", "k1", nothing_to_build, deadline=soon()):
            got.set()

    with (final.parent / "k1.lock").open("a") as other:
        fcntl.flock(other, fcntl.LOCK_SH)
        late = threading.Thread(target=work)
        late.start()
        assert looked.wait(20)
        fcntl.flock(other, fcntl.LOCK_EX)
        final.mkdir()
        fcntl.flock(other, fcntl.LOCK_SH)
        assert got.wait(5)
    late.join(20)


@pytest.mark.usefixtures("fast")
def test_when_the_builder_fails_one_of_those_that_wait_builds(cache: Cache) -> None:
    started, fail = threading.Event(), threading.Event()
    got: list[str] = []

    def broken(_folder: Path) -> None:
        started.set()
        fail.wait(20)
        raise HostError("power cut")

    def first() -> None:
        with pytest.raises(HostError, match=r"^power cut$"), cache.use("host", "k1", broken, deadline=soon()):
            pass

    def second() -> None:
        with cache.use("host", "k1", write("second"), deadline=soon()) as folder:
            got.append((folder / "file").read_text())

    threads = [threading.Thread(target=first), threading.Thread(target=second), threading.Thread(target=second)]
    threads[0].start()
    assert started.wait(20)
    for thread in threads[1:]:
        thread.start()
    fail.set()
    for thread in threads:
        thread.join(20)
    assert got == ["second", "second"]


def test_a_build_that_fails_leaves_nothing_and_its_own_words(cache: Cache) -> None:
    def build(folder: Path) -> None:
        (folder / "half").touch()
        raise HostError("xen-4.17: it does not boot")

    with (
        pytest.raises(HostError, match=r"^xen-4\.17: it does not boot$"),
        cache.use("host", "k1", build, deadline=soon()),
    ):
        pass
    assert [path.name for path in (cache.root / "host").iterdir()] == ["k1.lock"]


def test_a_full_disk_is_named_with_what_helps(cache: Cache) -> None:
    def build(folder: Path) -> None:
        (folder / "half").touch()
        Path("/dev/full").write_bytes(b"x")  # full(4): every write ends with ENOSPC

    with pytest.raises(CacheError) as caught, cache.use("host", "k1", build, deadline=soon()):
        pass
    assert str(caught.value) == (
        f"{cache.folder('host', 'k1')}: No space left on device\n"
        "  hint: free some space (`lab clean --all` empties the cache) or point LAB_CACHE at a larger disk"
    )
    assert [path.name for path in (cache.root / "host").iterdir()] == ["k1.lock"]


@pytest.mark.parametrize("what", ["read", "rename"])
def test_trouble_with_a_file_of_somebody_elses_gives_no_advice_about_the_cache(
    cache: Cache, tmp_path: Path, what: str
) -> None:
    other = tmp_path / "cache-of-mine" / "vmlinuz"  # begins like the cache's own name

    def build(_folder: Path) -> None:
        other.read_bytes() if what == "read" else other.rename(tmp_path / "y")

    with pytest.raises(CacheError) as caught, cache.use("host", "k1", build, deadline=soon()):
        pass
    assert str(caught.value) == (f"{cache.folder('host', 'k1')}: cannot be made: {other}: No such file or directory")


def test_trouble_on_the_way_into_the_cache_is_the_caches(cache: Cache, tmp_path: Path) -> None:
    (tmp_path / "x").touch()

    def build(folder: Path) -> None:
        (tmp_path / "x").rename(folder / "no" / "x")

    with pytest.raises(CacheError) as caught, cache.use("host", "k1", build, deadline=soon()):
        pass
    assert str(caught.value) == (
        f"{cache.folder('host', 'k1')}: No such file or directory\n"
        "  hint: point LAB_CACHE at a folder that you may write"
    )


def test_a_disk_too_full_for_the_folder_itself_is_the_same(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_args: object, **_kwargs: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "mkdir", full)
    where = re.escape(str(cache.root / "host/k1.lock"))
    with (
        pytest.raises(CacheError, match=f"^{where}: No space left on device\n  hint: free some space"),
        cache.use("host", "k1", nothing_to_build, deadline=soon()),
    ):
        pass


def test_a_folder_that_cannot_be_one_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    cache = Cache(tmp_path / "file")
    with pytest.raises(CacheError) as caught, cache.use("host", "k1", nothing_to_build, deadline=soon()):
        pass
    assert str(caught.value) == (
        f"{tmp_path}/file/host/k1.lock: Not a directory\n  hint: point LAB_CACHE at a folder that you may write"
    )


def test_trouble_of_the_user_of_a_thing_is_not_the_caches(cache: Cache) -> None:
    with pytest.raises(OSError, match=r"^mine$"), cache.use("host", "k1", write("x"), deadline=soon()):
        raise OSError("mine")
    assert cache.folder("host", "k1").exists()


def names(entries: tuple[Entry, ...]) -> list[str]:
    return [f"{entry.kind}/{entry.key}" for entry in entries]


def fill(cache: Cache, *things: str, size: int = 4096) -> None:
    for place, thing in enumerate(things, 1):
        kind, key = thing.split("/")
        content = "x" * size * place
        with cache.use(kind, key, write(content), deadline=soon()):
            pass


def test_what_is_there_comes_largest_first_with_its_size_on_disk(cache: Cache) -> None:
    fill(cache, "kernel/a", "host/b", "guest/c", size=100_000)
    sparse = cache.folder("kernel", "a") / "sparse"
    with sparse.open("wb") as file:
        file.truncate(1 << 30)
    (cache.root / "run" / "4711").mkdir(parents=True)
    (cache.root / "apt" / "bookworm-amd64").mkdir(parents=True)
    (cache.root / "host" / "k.building").mkdir()
    found = cache.entries()
    assert names(found) == ["guest/c", "host/b", "kernel/a"]
    assert found[0].bytes >= 300_000
    assert found[2].bytes < 1 << 20  # a sparse gigabyte takes no room
    assert all(entry.path == cache.folder(entry.kind, entry.key) and 0 <= entry.used < 20 for entry in found)


def test_use_counts_as_being_wanted(cache: Cache) -> None:
    fill(cache, "host/old")
    os.utime(cache.folder("host", "old"), (0, 0))
    assert cache.entries()[0].used > 3600
    with cache.use("host", "old", nothing_to_build, deadline=soon()):
        pass
    assert cache.entries()[0].used < 20


def is_free(cache: Cache, kind: str, key: str) -> bool:
    """Whether nobody uses it."""
    try:
        with cache.alone(kind, key, deadline=Deadline(0)):
            return True
    except DeadlineError:
        return False


def remover(cache: Cache, monkeypatch: pytest.MonkeyPatch, *, times: int) -> list[str]:
    """Another run that removes host/k1 in the moment in which a lock changes from alone to shared, so many times."""
    flock, done = fcntl.flock, list[str]()

    def in_between(file: IO[str], mode: int) -> None:
        # flock(2): the change is not atomic; the lock is given up first, and then taken anew.
        if mode & fcntl.LOCK_SH and cache.folder("host", "k1").is_dir() and len(done) < times:
            flock(file, fcntl.LOCK_UN)
            with (cache.root / "host/k1.lock").open("a") as other:
                flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(cache.folder("host", "k1"))
            done.append("removed")
        flock(file, mode)

    monkeypatch.setattr(fcntl, "flock", in_between)
    return done


def test_what_is_removed_in_the_moment_after_it_was_built_is_built_again(
    cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = remover(cache, monkeypatch, times=2)
    built: list[str] = []

    def build(folder: Path) -> None:
        built.append("built")
        (folder / "file").write_text("whole")

    with cache.use("host", "k1", build, deadline=soon()) as folder:
        assert (folder / "file").read_text() == "whole"
        assert not is_free(cache, "host", "k1")
    assert (len(done), len(built)) == (2, 3)


def test_what_is_always_removed_is_not_built_for_ever(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    remover(cache, monkeypatch, times=100)
    now = iter(range(100))
    deadline = Deadline(12, clock=lambda: float(next(now)))
    final = re.escape(str(cache.folder("host", "k1")))
    message = f"^the making of {final}: not done within 12 s$"
    with pytest.raises(DeadlineError, match=message), cache.use("host", "k1", write("x"), deadline=deadline):
        pass


@pytest.mark.usefixtures("fast")
def test_alone_is_alone(cache: Cache) -> None:
    lock = re.escape(str(cache.folder("apt", "bookworm")))
    with (
        cache.alone("apt", "bookworm", deadline=soon()) as folder,
        pytest.raises(DeadlineError, match=f"^the end of another run's work on {lock}.lock: not seen within 0.1 s$"),
        cache.alone("apt", "bookworm", deadline=Deadline(0.1)),
    ):
        pass
    assert folder == cache.folder("apt", "bookworm")
    with cache.alone("apt", "bookworm", deadline=Deadline(1)):
        pass


def test_a_fingerprint_tells_apart_what_differs_and_nothing_else() -> None:
    assert fingerprint("host 2", {"b": 1, "a": (1, 2)}) == fingerprint("host 2", {"a": [1, 2], "b": 1})
    assert fingerprint("ab", "c") != fingerprint("a", "bc")
    assert fingerprint("x") != fingerprint(("x",))
    assert fingerprint("host", {"/etc/fstab": ""}) == "9ca5c417ed52588bd652"  # what is cached must stay found


def test_the_locks_of_a_process_that_dies_are_free(cache: Cache, tmp_path: Path) -> None:
    with worker(cache, tmp_path / "builds", 0) as run:
        assert (run.hear(), run.hear()) == ("building", "all of it")
        assert not is_free(cache, "host", "k1")
        run.process.kill()
        run.process.wait()
    assert is_free(cache, "host", "k1")


def test_sizes_are_of_blocks(cache: Cache) -> None:
    fill(cache, "host/a", size=10_000)
    assert module._size(cache.folder("host", "a")) == cache.entries()[0].bytes
