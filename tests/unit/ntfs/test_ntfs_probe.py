"""The probe for real on this machine: ntfs-3g by FUSE, and what happens when nothing answers."""

from __future__ import annotations

import argparse
import ast
import errno
import itertools
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lab.deadline import Deadline
from lab.ntfs import probe
from lab.ntfs.drivers import drivers
from lab.ntfs.judging.reading import judge
from lab.ntfs.manifest import Feature, Manifest, digest
from lab.ntfs.observation import Observation
from lab.ntfs.readers import verify
from lab.ntfs.volumes import State, Volume, mounted
from lab.verdict import Finding, Outcome

Observe = Callable[..., Mapping[str, Any]]

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")


def test_it_is_python_3_9_and_standard_library_only() -> None:
    tree = ast.parse(Path(probe.__file__).read_text(encoding="utf-8"), feature_version=(3, 9))
    imported = {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    imported |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.split(".")[0] for name in imported} <= sys.stdlib_module_names
    assert not any(isinstance(node, ast.Match) for node in ast.walk(tree))


@pytest.mark.parametrize("name", ["clean", "cluster-512", "cluster-128k", "record-4096", "sector-4096", "fragmented"])
def test_what_the_bitmap_leaves_is_what_ntfs_3g_counts(built: Mapping[str, Volume], tmp_path: Path, name: str) -> None:
    volume = built[name].path
    with mounted(volume, tmp_path, options=("ro",), deadline=Deadline(30)) as at:
        space = os.statvfs(at)
    assert probe.unused_on_disk(str(volume)) == space.f_bfree * space.f_frsize


def test_a_driver_that_has_lost_count_may_trim_what_the_bitmap_leaves(
    built: Mapping[str, Volume], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = SimpleNamespace(f_bfree=3, f_frsize=4096)
    monkeypatch.setattr(os, "statvfs", lambda _root: lost)
    monkeypatch.setattr(probe, "mount_in_force", lambda _at: {"source": str(built["clean"].path)})
    assert probe.free_bytes(b"/mnt") == probe.unused_on_disk(str(built["clean"].path)) > 3 * 4096
    # Where the disk does not tell, the driver's word is all there is.
    (tmp_path / "none").write_bytes(bytes(1 << 16))
    monkeypatch.setattr(probe, "mount_in_force", lambda _at: {"source": str(tmp_path / "none")})
    assert probe.free_bytes(b"/mnt") == 3 * 4096


@pytest.mark.parametrize("name", ["clean", "compressed", "dirty", "sparse", "unicode-names", "streams"])
def test_what_ntfs_3g_shows_is_judged_correct(built: Mapping[str, Volume], observe: Observe, name: str) -> None:
    volume = built[name]
    document = observe(volume.path, "ntfs-3g", "--fingerprint")
    assert document["ended"] == "complete"
    verdict = judge(volume.manifest, volume.recipe.state, document)
    assert (verdict.outcome, verdict.finding, verdict.reason) == (Outcome.PASS, Finding.CORRECT, "")
    assert {"mounted", "type-in-force", "names", "sizes", "bytes", "links", "streams", "times", "volume-unchanged"} <= {
        check.name for check in verdict.checks
    }
    assert verdict.facts["driver_version"].startswith("ntfs-3g ")
    assert verdict.facts["options_asked"] == "ro,streams_interface=xattr"
    assert "ro" in verdict.facts["options_in_force"]


def test_lowntfs_3g_says_that_some_names_are_too_long(built: Mapping[str, Volume], observe: Observe) -> None:
    volume = built["unicode-names"]
    verdict = judge(volume.manifest, volume.recipe.state, observe(volume.path, "lowntfs-3g"))
    if verdict.finding is Finding.CORRECT:
        pytest.skip("this lowntfs-3g takes names longer than NAME_MAX")
    assert (verdict.outcome, verdict.finding) == (Outcome.UNSUPPORTED, Finding.DEGRADED)
    assert verdict.reason.startswith("degraded: read-errors: 'names/")


def test_a_mount_can_be_all_that_is_tried(built: Mapping[str, Volume], tmp_path: Path) -> None:
    words = ["mount", "--driver", "ntfs-3g", "--device", str(built["clean"].path), "--at", str(tmp_path / "mnt")]
    document = probe.run(probe.parse(words))
    assert document["mount"]["ok"]
    assert document["entries"] == []
    verdict = judge(built["clean"].manifest, State.CLEAN, document)
    assert (verdict.outcome, verdict.finding) == (Outcome.PASS, Finding.CORRECT)


@needs_root
def test_a_kernel_without_the_driver_is_told_from_one_that_refuses(tmp_path: Path) -> None:
    words = ["mount", "--driver", "nosuchfs", "--device", "/dev/null", "--at", str(tmp_path / "mnt")]
    mount = probe.run(probe.parse(words))["mount"]
    assert (mount["ok"], mount["cause"], mount["errno"]) == (False, "no-driver", errno.ENODEV)


def test_a_program_that_is_not_installed_is_no_driver(tmp_path: Path) -> None:
    words = ["mount", "--driver", "nosuch-ntfs-3g", "--device", "/dev/null", "--at", str(tmp_path / "mnt")]
    mount = probe.run(probe.parse(words))["mount"]
    assert (mount["cause"], mount["errno"]) == ("no-driver", errno.ENOENT)


def test_what_is_no_ntfs_is_refused_with_the_programs_own_words(built: Mapping[str, Volume], tmp_path: Path) -> None:
    assert built
    image = tmp_path / "zeros"
    image.write_bytes(bytes(1 << 20))
    words = ["mount", "--driver", "ntfs-3g", "--device", str(image), "--at", str(tmp_path / "mnt")]
    mount = probe.run(probe.parse(words))["mount"]
    assert (mount["cause"], mount["status"]) == ("refused", 12)
    assert mount["text"].startswith("NTFS signature is missing.")


def test_a_driver_that_never_answers_is_a_hang_in_time(tmp_path: Path) -> None:
    stuck = tmp_path / "stuck-ntfs-3g"
    stuck.write_text('#!/bin/sh\n[ "$1" = --version ] && exit 0\nexec sleep 1000\n', encoding="ascii")
    stuck.chmod(0o755)
    words = ["mount-and-read", "--driver", "stuck", "--kind", "fuse", "--program", str(stuck), "--device", "/dev/null"]
    start = time.monotonic()
    document = probe.run(probe.parse([*words, "--at", str(tmp_path / "mnt"), "--seconds", "0.5"]))
    assert time.monotonic() - start < 10
    assert (document["ended"], document["last_step"][0]) == ("deadline", "mount")
    verdict = judge(Manifest(()), State.CLEAN, document)
    assert (verdict.outcome, verdict.finding) == (Outcome.FAIL, Finding.HANG)
    assert verdict.reason.startswith("hang: no answer from the driver during: 'mount ")


@pytest.mark.parametrize("answers", [True, False])
def test_how_long_it_was_silent_is_told_when_time_is_over(answers: bool) -> None:  # noqa: FBT001 - what differs
    """One that speaks up to the end, and one that does so only in the beginning."""
    reading, writing = os.pipe()
    stop = threading.Event()

    def speak() -> None:
        os.write(writing, b'{"fact": {"n": 1}}\n')
        while answers and not stop.wait(0.02):
            os.write(writing, b'{"fact": {"n": 2}}\n')

    speaker = threading.Thread(target=speak)
    speaker.start()
    document: dict[str, Any] = {}
    probe.follow(reading, document, time.monotonic() + 1.0)
    stop.set()
    speaker.join()
    os.close(writing)
    os.close(reading)
    assert (document["ended"], document["silent"] < 0.5) == ("deadline", answers)


def test_what_was_mounted_before_is_left_alone(built: Mapping[str, Volume], tmp_path: Path) -> None:
    at = tmp_path / "mnt"
    at.mkdir()
    device = str(built["streams"].path)
    with mounted(built["clean"].path, at, options=("ro",), deadline=Deadline(30)):
        document = probe.run(probe.parse(["mount", "--driver", "ntfs-3g", "--device", device, "--at", str(at)]))
        assert (at / "hello.txt").exists()
    trouble = f"RuntimeError: something is mounted at {at} already"
    assert (document["ended"], document["trouble"]) == ("trouble", trouble)
    verdict = judge(Manifest(()), State.CLEAN, document)
    assert (verdict.outcome, verdict.finding, verdict.reason) == (Outcome.ERROR, None, f"probe: {trouble}")


def test_the_document_can_go_to_a_file(tmp_path: Path) -> None:
    output = tmp_path / "document.json"
    words = ["mount", "--driver", "nosuch-ntfs-3g", "--device", "/dev/null", "--at", str(tmp_path / "mnt")]
    assert probe.main([*words, "--output", str(output)]) == 0
    assert json.loads(output.read_text(encoding="ascii"))["schema"] == "lab.ntfs.probe/1"


@pytest.fixture
def served() -> Iterator[Callable[[object], dict[str, Any]]]:
    """Asks a probe that serves on loopback: a line out, all that comes back in."""
    words = (sys.executable, probe.__file__, "serve", "--address", "127.0.0.1", "--port", "0")
    port = int(subprocess.run(words, capture_output=True, check=True, timeout=20).stdout)

    def ask(request: object) -> dict[str, Any]:
        with socket.create_connection(("127.0.0.1", port), timeout=20) as line:
            line.sendall(json.dumps(request).encode() + b"\n")
            answer: dict[str, Any] = json.loads(line.makefile("rb").read())
            return answer

    yield ask
    started = b"\0".join(word.encode() for word in words)
    servers = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it has ended meanwhile
            if path.read_bytes().startswith(started):
                servers.append(int(path.parent.name))
    assert servers
    for server in servers:  # the one that listens, and perhaps a fork of it that has answered and is about to end
        with suppress(ProcessLookupError):
            os.kill(server, signal.SIGTERM)


def test_a_server_does_what_the_command_line_does(
    served: Callable[[object], dict[str, Any]], built: Mapping[str, Volume], observe: Observe, tmp_path: Path
) -> None:
    volume = built["streams"]
    words = [*drivers["ntfs-3g"].probe_arguments(at=str(tmp_path / "there")), "--device", str(volume.path)]
    for _ in range(2):
        found = served({"words": ["mount-and-read", *words]})
        assert (found["ended"], found["entries"]) == ("complete", observe(volume.path, "ntfs-3g")["entries"])


def test_a_server_says_what_it_cannot_do_and_goes_on(served: Callable[[object], dict[str, Any]]) -> None:
    assert "the following arguments are required: --driver" in served({"words": ["mount"]})["refused"]
    words = ["mount", "--driver", "ntfs3", "--part", "/nowhere:0:512"]
    assert served({"words": words})["refused"] == "FileNotFoundError: [Errno 2] No such file or directory: '/nowhere'"
    assert served({"words": []}) == {}


def _has_loop_devices() -> bool:
    return os.geteuid() == 0 and Path("/dev/loop-control").exists() and Path("/sys/module/loop").exists()


@pytest.mark.skipif(not _has_loop_devices(), reason="needs root and loop devices")
def test_a_part_of_a_disk_is_a_read_only_loop_device_while_it_is_wanted(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.write_bytes(bytes(4096) + b"NTFS" * 2048 + bytes(4096))
    with probe.loop_device(f"{disk}:4096:8192", 4096) as device:
        assert Path(device).read_bytes() == b"NTFS" * 2048
        queue = Path("/sys/block", Path(device).name)
        assert (queue / "queue/logical_block_size").read_text().strip() == "4096"
        assert (queue / "ro").read_text().strip() == "1"
    assert not (queue / "loop").exists()


def test_names_that_are_no_utf_8_are_kept_apart() -> None:
    half = "\ud800".encode("utf-8", "surrogatepass")
    assert [probe.text(name) for name in (b"a", half, b"\xff")] == ["a", "\ud800", "\udcff"]


def test_mountinfo_is_unescaped_and_the_last_mount_wins(tmp_path: Path) -> None:
    lines = (
        "28 27 0:25 / /mnt/a\\040b ro,relatime shared:1 - ext4 /dev/x rw\n"
        "29 27 0:26 / /mnt/a\\040b rw,nosuid - fuseblk /dev/y\\040z rw,user_id=0\n"
    )
    file = tmp_path / "mountinfo"
    file.write_text(lines, encoding="ascii")
    found = probe.mount_in_force("/mnt/a b", str(file))
    assert found == {"type": "fuseblk", "options": "rw,nosuid", "super_options": "rw,user_id=0", "source": "/dev/y z"}
    assert probe.mount_in_force("/mnt/other", str(file)) is None


def test_holes_are_those_of_the_file_system(tmp_path: Path) -> None:
    path = tmp_path / "holes"
    with path.open("wb") as file:
        file.write(b"x" * 65536)
        file.truncate(4 << 20)
    with path.open("rb") as file:
        found = probe.holes(file.fileno(), 4 << 20)
    assert found in ([[65536, (4 << 20) - 65536]], [])


def test_creation_times_come_from_statx(tmp_path: Path) -> None:
    born = probe.stamps(os.fsencode(tmp_path), tmp_path.lstat()).get("created")
    assert born is None or abs(born[0] - time.time()) < 3600


@pytest.mark.parametrize("statx", [True, False])
def test_a_time_is_told_as_seconds_and_what_is_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, statx: bool
) -> None:
    if not statx:  # a C library from before it
        monkeypatch.setattr(probe, "LIBC", SimpleNamespace())
    os.utime(tmp_path, ns=(-1, -1_500_000_000))
    found = probe.stamps(os.fsencode(tmp_path), tmp_path.lstat())
    assert (found["accessed"], found["modified"]) == ([-1, 999_999_999], [-2, 500_000_000])
    assert ("created" in found) <= statx
    # What is finer than 100 ns is cut off; where stat is all there is, it is told once.
    assert probe.times(os.fsencode(tmp_path), tmp_path.lstat())["times"]["accessed"] == probe.EPOCH - 1
    assert "stat" not in probe.times(os.fsencode(tmp_path), tmp_path.lstat())


def test_nanoseconds_that_make_no_time_of_day_are_told_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def statx(_folder: int, _path: bytes, _flags: int, _mask: int, buffer: Any) -> int:
        stamps = [struct.pack("<qI4x", 0, number) for number in (4_294_967_196, 0, 5, 6)]
        buffer.raw = struct.pack("<I60x", 0x7FF) + b"".join(stamps)
        return 0

    monkeypatch.setattr(probe, "LIBC", SimpleNamespace(statx=statx))
    stat = {"accessed": [0, 4_294_967_196], "changed": [0, 5], "modified": [0, 6]}
    assert probe.times(os.fsencode(tmp_path), tmp_path.lstat())["stat"] == stat


def test_what_ntfs_3g_tells_of_times_before_1970_is_not_what_stat_says(
    built: Mapping[str, Volume], observe: Observe
) -> None:
    """Its ntfs2timespec sets the nanoseconds to 0 where they would be negative."""
    volume = built["times"]
    document = observe(volume.path)
    entries = {entry["path"]: entry for entry in document["entries"]}
    old, new = "1969-12-31 23.59.59.9999999.txt", "2024-02-29 12.00.00.1234567.txt"
    truth = volume.manifest.by_path
    assert [entries[path]["times"]["created"] for path in (old, new)] == [truth[p].times.created for p in (old, new)]
    assert "created" not in entries[new]["stat"]  # FUSE does not know it
    assert entries[old]["times"]["changed"] == truth[old].times.changed == probe.EPOCH + 1
    assert entries[new]["stat"]["modified"][1] == 123_456_800
    verdict = judge(volume.manifest, State.CLEAN, document)
    assert (verdict.outcome, verdict.finding) == (Outcome.FAIL, Finding.WRONG_DATA)
    assert " by stat(2)" in verdict.reason
    # A record that was made before the probe told both is judged by what it has.
    older = {**document, "entries": [{k: v for k, v in e.items() if k != "stat"} for e in document["entries"]]}
    assert judge(volume.manifest, State.CLEAN, older).finding is Finding.CORRECT
    # As a reader, ntfs-3g is asked for what is stored.
    assert verify("ntfs-3g", volume.manifest, Observation.parse(document).manifest).wrong == ()


def test_the_kernel_log_is_read_record_by_record(tmp_path: Path) -> None:
    assert probe.read_kernel_log(None) == []
    file = tmp_path / "kmsg"
    file.write_bytes(b"6,1,2,-;ntfs3: hello\n SUBSYSTEM=x\n")
    fd = os.open(file, os.O_RDONLY)
    try:
        assert probe.read_kernel_log(fd) == ["ntfs3: hello"]
    finally:
        os.close(fd)


def test_a_module_that_is_not_loaded_is_told_so() -> None:
    assert probe.module_facts("nosuchmodule") == {"name": "nosuchmodule", "loaded": False}


def test_errors_of_a_walk_are_told_with_path_operation_and_errno(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    probe.walk(os.fsencode(tmp_path / "none"), probe.Report(writing), "none")
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        said = [json.loads(line) for line in pipe]
    assert said[-1] == {
        "error": {"path": "", "operation": "list", "errno": errno.ENOENT, "text": "No such file or directory"}
    }


def test_defaults_follow_from_the_drivers_name() -> None:
    def parsed(driver: str) -> argparse.Namespace:
        return probe.parse(["mount", "--driver", driver, "--device", "x"])

    assert (parsed("ntfs3").kind, parsed("ntfs3").type, parsed("ntfs3").options) == ("kernel", "ntfs3", "ro")
    assert (parsed("lowntfs-3g").kind, parsed("lowntfs-3g").program) == ("fuse", "lowntfs-3g")


def test_what_files_have_besides_is_shown_when_asked_for(built: Mapping[str, Volume], observe: Observe) -> None:
    for name, sees in (
        ("extended-attributes", {Feature.EAS}),
        ("symlinks-relative", {Feature.REPARSE_DATA}),
        ("security", {Feature.SECURITY}),
        ("object-ids", {Feature.OBJECT_IDS}),
        ("names-short", {Feature.SHORT_NAMES}),
    ):
        bare = Observation.parse(observe(built[name].path)).manifest
        assert not bare.sees & sees
        seen = Observation.parse(observe(built[name].path, "ntfs-3g", "--metadata")).manifest
        assert seen.sees >= sees
        assert verify("ntfs-3g", built[name].manifest, seen).wrong == ()


def test_a_wrong_extended_attribute_and_a_wrong_alias_are_found(
    built: Mapping[str, Volume], observe: Observe, change: Callable[[Volume, Callable[[Path], None]], Path]
) -> None:
    def spoil(root: Path) -> None:
        times = os.getxattr(root / "one.txt", "system.ntfs_times")
        os.setxattr(root / "one.txt", "system.ntfs_ea", os.getxattr(root / "one.txt", "system.ntfs_ea")[:-4] + b"XXXX")
        os.setxattr(root / "one.txt", "system.ntfs_times", times[:24])

    volume = built["extended-attributes"]
    verdict = judge(volume.manifest, State.CLEAN, observe(change(volume, spoil), "ntfs-3g", "--metadata"))
    assert verdict.finding is Finding.WRONG_DATA
    assert {check.name for check in verdict.checks if check.outcome is Outcome.FAIL} == {"metadata"}
    assert verdict.reason.startswith("wrong-data: 'one.txt': ea: expected NOTE of 7 bytes, ")


def test_a_stream_too_long_to_be_handed_on_is_still_there(built: Mapping[str, Volume], observe: Observe) -> None:
    volume = built["named-streams"]
    seen = Observation.parse(observe(volume.path)).manifest.by_path["large.bin"]
    assert [(one.name, one.size) for one in seen.streams or ()] == [("large", None), ("tiny", 1)]


def test_a_directory_that_contains_itself_is_gone_into_once(built: Mapping[str, Volume], observe: Observe) -> None:
    volume = built["damaged-own-parent"]
    document = observe(volume.path)
    errors = [(error["path"], error["operation"], error["errno"]) for error in document["errors"]]
    assert errors == [("broken/inner", "list", errno.ELOOP)]
    assert document["errors"][0]["text"] == "the directory contains itself"
    verdict = judge(volume.manifest, State.DAMAGED, document)
    assert (verdict.outcome, verdict.finding) == (Outcome.UNSUPPORTED, Finding.DEGRADED)


def test_extended_attributes_end_where_they_end() -> None:
    one = b"\x10\0\0\0\0\x01\x02\0A\0xy\0\0\0\0"
    told = [{"name": "A", "size": 2, "sha256": probe.sha256(b"xy")}]
    assert probe.extended_attributes(one) == told
    assert probe.extended_attributes(b"\0" + one[1:] + one) == told
    assert probe.extended_attributes(one[:7]) == []
    assert probe.object_id(bytes(range(16)) + bytes(48)) == bytes(range(16)).hex()


@pytest.mark.parametrize("size", [0, 1, 4096, 10_000, 3 << 20])
def test_blocks_are_those_of_the_manifest_and_never_there_as_a_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    content = bytes(range(251)) * (size // 251 + 1)
    path = tmp_path / "file"
    path.write_bytes(content[:size])
    whole = digest((content[:size],), size)
    for chunk in (1 << 20, 4096, 1000):
        monkeypatch.setattr(probe, "CHUNK", chunk)
        seen = probe.read_file(str(path).encode(), size)
        assert (seen["sha256"], tuple(seen["blocks"]), seen["bytes_read"]) == (*whole, size)
        assert digest((content[at : min(at + chunk, size)] for at in range(0, size, chunk)), size) == whole


def test_a_file_without_an_end_is_not_read(tmp_path: Path) -> None:
    assert probe.read_file(str(tmp_path / "nobody looks").encode(), (1 << 63) - 1) == {}


def test_a_listing_that_comes_round_fills_no_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [SimpleNamespace(name=name) for name in (b"b", b"a")] * 5000
    monkeypatch.setattr(os, "scandir", lambda _: nullcontext(iter(names)))
    _, found = probe.listing(os.fsencode(tmp_path), frozenset())
    assert (len(found), set(found)) == (2 + 100, {b"a", b"b"})
    names[2:] = []
    assert probe.listing(os.fsencode(tmp_path), frozenset())[1] == [b"a", b"b"]


def test_a_listing_without_an_end_is_one_long_before_the_time_is_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    round_and_round = itertools.cycle([SimpleNamespace(name=name) for name in (b"b", b"a")])
    monkeypatch.setattr(os, "scandir", lambda _: nullcontext(round_and_round))
    with pytest.raises(probe.Endless, match="its 2 names came 100201 times more"):
        probe.listing(os.fsencode(tmp_path), frozenset())


def test_a_listing_without_an_end_reaches_the_document(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "observe", _goes_round)
    document = probe.run(
        probe.parse(["mount-and-read", "--driver", "ntfs", "--device", "/dev/none", "--seconds", "60"])
    )
    assert (document["ended"], document["endless"]) == ("endless", "its 29 names came 103001 times more")
    assert document["last_step"] == ["list", "broken"]


def _goes_round(_: object, report: probe.Report) -> None:
    report.step("list", b"broken")
    raise probe.Endless("its 29 names came 103001 times more")
