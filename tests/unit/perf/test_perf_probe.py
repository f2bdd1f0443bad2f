"""The program in the guest, tried on this machine: ntfs-3g by FUSE, and a fio that is a script."""

from __future__ import annotations

import argparse
import ast
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from lab.deadline import Deadline
from lab.ntfs import perf_probe, probe
from lab.ntfs.drivers import drivers
from lab.ntfs.manifest import digest
from lab.ntfs.perf import MEASURES, Sizes, Taken, taken, truth_of
from lab.ntfs.perf.taken import SCHEMA
from lab.ntfs.perf.truth import FOLDER, line_of
from lab.ntfs.volumes import Directory, File, Recipe, Volume, build, can_mount
from lab.ntfs.volumes.content import random
from lab.verdict import Outcome
from tests.unit.perf.benches import measure

SIZES = Sizes(large=1 << 20, small=8, names=20)
PLAIN = Recipe(
    "perf-test",
    "what is measured, small",
    (
        File("large.bin", random("large", SIZES.large)),
        Directory("small"),
        *(File(f"small/f.{number}", random(f"{number}", SIZES.each)) for number in range(SIZES.small)),
    ),
    size=16 << 20,
)

FIO = r"""#!{python}
# A fio that knows what the probe asks of it.
import json, os, sys
words = dict(word[2:].partition("=")[::2] for word in sys.argv[1:])
if "version" in words:
    print("fio-0.0"); sys.exit()
root, reads = words["directory"], words["rw"] == "read"
if "filename" in words:
    names, size = [words["filename"]], int(words["size"])
else:
    names = [f"f.{{n}}" for n in range(int(words["nrfiles"]))]
    size = int(words["filesize"])
print("lab : Saving output of prerun in lab.prerun.txt" if reads else "fio: some note")
for name in names:
    path = os.path.join(root, name)
    if reads:
        with open(path, "rb") as file:
            assert len(file.read()) == size, path
    else:
        with open(path, "wb") as file:
            file.write(({content})[:size])
job = {{"runtime": {runtime}, "io_bytes": size * len(names)}}
print(json.dumps({{"fio version": "fio-0.0", "jobs": [{{"error": {error}, "read": job, "write": job}}]}}))
sys.exit({status})
"""
RIGHT = "(name.encode() * size)"


def put_fio(folder: Path, *, content: str = RIGHT, runtime: int = 250, error: int = 0, status: int = 0) -> None:
    program = folder / "fio"
    program.write_text(
        FIO.format(python=sys.executable, content=content, runtime=runtime, error=error, status=status),
        encoding="ascii",
    )
    program.chmod(0o755)


@pytest.fixture
def bin_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder before all others on the path, with a fio in it; and nothing of this machine's caches is dropped."""
    folder = tmp_path / "bin"
    folder.mkdir()
    put_fio(folder)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setattr(perf_probe, "DROP_FILE", str(tmp_path / "drop_caches"))
    monkeypatch.setattr(perf_probe, "SCRATCH", str(tmp_path))
    monkeypatch.setattr(perf_probe, "REFERENCE", str(tmp_path))
    monkeypatch.setattr(os, "sync", lambda: None)
    return folder


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Volume:
    if why := can_mount():
        pytest.skip(why)
    if why := next((f"{name} is not installed" for name in ("mkntfs", "ntfs-3g") if not shutil.which(name)), ""):
        pytest.skip(why)
    return build(PLAIN, tmp_path_factory.mktemp("volumes"), Deadline(120))


def observe(volume: Volume, folder: Path, name: str, *, seconds: float = 60.0) -> Mapping[str, Any]:
    """The probe's document on a copy of a volume."""
    copy = folder / "copy.img"
    shutil.copyfile(volume.path, copy)
    what, driver = measure(name), drivers["ntfs-3g"]
    words = [what.name, *driver.probe_arguments(at=str(folder / "mnt"), write=what.writes), "--device", str(copy)]
    words += ["--again", "ro", "--seconds", str(seconds), "--work", json.dumps(what.work(SIZES))]
    found: Mapping[str, Any] = json.loads(perf_probe.perform(perf_probe.parse(words)))
    return found


def reference() -> Mapping[str, Any]:
    works = {name: measure(name).work(SIZES) for name in ("write-sequential", "write-small")}
    found: Mapping[str, Any] = json.loads(
        perf_probe.perform(perf_probe.parse(["reference", "--work", json.dumps(works)]))
    )
    return found


def judged(volume: Volume, document: Mapping[str, Any], known: Mapping[str, Any]) -> Taken:
    what = measure(document["measure"])
    return taken(what, document, truth_of(what, SIZES, volume.manifest, known))


def test_it_is_python_3_9_and_standard_library_only() -> None:
    tree = ast.parse(Path(perf_probe.__file__).read_text(encoding="utf-8"), feature_version=(3, 9))
    imported = {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    imported |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.split(".")[0] for name in imported} - {"lab", "probe"} <= sys.stdlib_module_names
    assert not any(isinstance(node, ast.Match) for node in ast.walk(tree))


def test_what_both_sides_must_agree_on_is_the_same() -> None:
    assert set(perf_probe.DO) == {each.name for each in MEASURES}
    assert {each.name for each in MEASURES if each.writes} == perf_probe.WRITING
    assert (perf_probe.SCHEMA, perf_probe.FOLDER) == (SCHEMA, FOLDER)


def test_both_sides_sum_up_a_walk_alike(plain: Volume, tmp_path: Path, bin_folder: Path) -> None:
    assert bin_folder
    document = observe(plain, tmp_path, "walk")
    seen = document["taken"]["seen"]
    lines = sorted(line_of(entry) for entry in plain.manifest.entries)
    assert (seen["names"], seen["digest"]) == (len(lines), perf_probe.digest_of(lines))


@pytest.mark.parametrize("name", [each.name for each in MEASURES])
def test_a_driver_that_does_it_right_has_a_figure(name: str, plain: Volume, tmp_path: Path, bin_folder: Path) -> None:
    assert bin_folder
    document = observe(plain, tmp_path, name)
    found = judged(plain, document, reference())
    assert (found.outcome, found.reason) == (Outcome.PASS, "")
    assert found.value is not None
    assert found.value > 0
    assert found.facts["driver_version"].startswith("ntfs-3g ")
    assert found.facts["type"] in {"fuse", "fuseblk"}
    # The caches were dropped before it, and for what was written before it was read back.
    assert (tmp_path / "drop_caches").read_text() == "3"
    assert probe.mount_in_force(str(tmp_path / "mnt")) is None


def test_the_time_that_fio_took_is_what_counts_and_the_sync_is_part_of_writing(
    plain: Volume, tmp_path: Path, bin_folder: Path
) -> None:
    assert bin_folder
    read = observe(plain, tmp_path, "read-sequential")["taken"]
    assert (read["seconds"], read["amount"]) == (0.25, SIZES.large)
    write = observe(plain, tmp_path, "write-sequential")["taken"]
    assert write["seconds"] == pytest.approx(0.25 + write["sync_seconds"])


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("bytes(size)", "'large.bin': other bytes from byte 0 on"),
        ("(name.encode() * size)[: size - 1]", "'large.bin': 1048575 bytes, and not 1048576"),
        ("(name.encode() * size)[:8192] + bytes(size)", "'large.bin': other bytes from byte 8192 on"),
    ],
)
def test_what_was_written_is_read_back_and_held_against_the_reference(
    plain: Volume, tmp_path: Path, bin_folder: Path, content: str, reason: str
) -> None:
    known = reference()
    put_fio(bin_folder, content=content)
    found = judged(plain, observe(plain, tmp_path, "write-sequential"), known)
    assert (found.outcome, found.reason) == (
        Outcome.FAIL,
        f"wrong-data: read back after another mount: {reason}",
    )


def test_a_volume_that_holds_other_bytes_than_its_recipe_says_has_no_reading_figure(
    plain: Volume, tmp_path: Path, bin_folder: Path
) -> None:
    assert bin_folder
    spoiled = tmp_path / "spoiled.img"
    raw = plain.path.read_bytes()
    block = random("large", SIZES.large).extents[0].bytes()[65536 : 65536 + 4096]
    assert raw.count(block) == 1
    spoiled.write_bytes(raw.replace(block, bytes(4096)))
    found = judged(plain, observe(Volume(spoiled, PLAIN, plain.manifest), tmp_path, "read-sequential"), reference())
    assert (found.outcome, found.reason) == (Outcome.FAIL, "wrong-data: 'large.bin': other bytes from byte 65536 on")


def test_fio_that_fails_says_why_and_the_volume_is_unmounted(plain: Volume, tmp_path: Path, bin_folder: Path) -> None:
    put_fio(bin_folder, error=5, status=1)
    document = observe(plain, tmp_path, "write-small")
    assert (document["ended"], document["failed"]) == ("complete", "fio: some note")
    assert judged(plain, document, reference_of_nothing()).reason == "failed: fio: some note"
    assert probe.mount_in_force(str(tmp_path / "mnt")) is None


def reference_of_nothing() -> Mapping[str, Any]:
    return {"reference": {"write-small": {"files": {}}}}


def test_without_fio_it_is_the_labs_trouble(
    plain: Volume, tmp_path: Path, bin_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (bin_folder / "fio").unlink()
    programs = {name: shutil.which(name) for name in ("ntfs-3g",)}
    (bin_folder / "ntfs-3g").symlink_to(str(programs["ntfs-3g"]))
    monkeypatch.setenv("PATH", str(bin_folder))
    document = observe(plain, tmp_path, "read-small")
    assert (document["ended"], document["trouble"]) == ("trouble", "RuntimeError: fio: No such file or directory")
    assert judged(plain, document, {}).outcome is Outcome.ERROR


def test_a_driver_that_never_answers_is_a_hang_in_time(tmp_path: Path, bin_folder: Path) -> None:
    stuck = bin_folder / "ntfs-3g"
    stuck.write_text('#!/bin/sh\n[ "$1" = --version ] && exit 0\nexec sleep 1000\n', encoding="ascii")
    stuck.chmod(0o755)
    image = tmp_path / "zeros"
    image.write_bytes(bytes(1 << 20))
    start = time.monotonic()
    document = observe(Volume(image, PLAIN, PLAIN.manifest()), tmp_path, "mount", seconds=1.0)
    assert time.monotonic() - start < 15
    assert (document["ended"], document["last_step"][0]) == ("deadline", "mount")


def test_what_a_driver_refuses_is_told_in_its_own_words(plain: Volume, tmp_path: Path, bin_folder: Path) -> None:
    assert bin_folder
    image = tmp_path / "zeros"
    image.write_bytes(bytes(1 << 20))
    document = observe(Volume(image, PLAIN, plain.manifest), tmp_path, "mount")
    assert (document["ended"], document["mount"]["ok"]) == ("complete", False)
    found = judged(plain, document, {})
    assert found.outcome is Outcome.UNSUPPORTED
    assert found.reason.startswith("refused: NTFS signature is missing.")


def test_one_block_after_the_other_is_summed_up_as_in_a_manifest(tmp_path: Path) -> None:
    raw = bytes(range(256)) * 4000 + b"rest"
    (tmp_path / "file").write_bytes(raw)
    size, blocks = perf_probe.file_facts(str(tmp_path / "file"))
    assert (size, tuple(blocks)) == (len(raw), digest((raw,), len(raw))[1])
    assert perf_probe.file_facts(str(tmp_path / "none")) == [None, "No such file or directory"]


def test_a_module_of_another_driver_is_unloaded_first(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[tuple[str, ...]] = []

    def rmmod(*words: str) -> str:
        called.append(words)
        return ""

    monkeypatch.setattr(probe, "module_facts", lambda name, _built=None: {"name": name, "taint": "OE"})
    monkeypatch.setattr(probe, "call", rmmod)
    monkeypatch.setattr(probe, "load", lambda names, _report: called.append(("load", *names)))
    said: list[object] = []
    report: Any = argparse.Namespace(step=lambda *_words: None, say=lambda **words: said.append(words))
    args = argparse.Namespace(driver="ntfs3", kind="kernel", type="ntfs3", insmod=[], rmmod=[], modules=["ntfs3"])
    perf_probe.settle(args, report)
    assert called == [("rmmod", "ntfs3"), ("load", "ntfs3")]


@pytest.fixture
def server() -> Iterator[int]:
    """The probe as a server, and its port."""
    words = (sys.executable, "-m", "lab.ntfs.perf_probe", "serve", "--port", "0", "--address", "127.0.0.1")
    said = subprocess.run(words, stdout=subprocess.PIPE, check=True, timeout=60)
    port = int(said.stdout)
    yield port
    servers = [int(path.parent.name) for path in Path("/proc").glob("[0-9]*/cmdline") if _is_server(path)]
    assert servers
    for pid in servers:  # the one that listens, and perhaps a fork of it that has answered and is about to end
        with suppress(ProcessLookupError):
            os.kill(pid, 9)


def _is_server(path: Path) -> bool:
    with suppress(OSError):
        words = path.read_bytes().split(b"\0")
        return b"lab.ntfs.perf_probe" in words and b"127.0.0.1" in words
    return False


def ask(port: int, *words: str) -> Mapping[str, Any]:
    with socket.create_connection(("127.0.0.1", port), timeout=30) as line, line.makefile("rb") as answer:
        line.sendall(json.dumps({"words": words}).encode() + b"\n")
        found: Mapping[str, Any] = json.loads(answer.read())
        return found


def test_a_server_answers_one_after_the_other_and_says_what_it_does_not_understand(server: int) -> None:
    assert ask(server) == {}
    assert "invalid choice: 'frobnicate'" in ask(server, "frobnicate")["refused"]
    assert ask(server) == {}
