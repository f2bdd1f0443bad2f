"""Faults planted in a copy of a volume: each is found, and named, by the judge."""

from __future__ import annotations

import os
import shutil
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from lab.ntfs.judging.reading import differences, judge
from lab.ntfs.volumes import File, State, Volume
from lab.verdict import Finding, Outcome, Verdict

Observe = Callable[..., Mapping[str, Any]]
Change = Callable[[Volume, Callable[[Path], None]], Path]

VICTIM = "sizes/1048576.bin"


@pytest.fixture
def verdict_on(built: Mapping[str, Volume], observe: Observe) -> Callable[[Path, str], Verdict]:
    def run(image: Path, name: str = "clean") -> Verdict:
        return judge(built[name].manifest, State.CLEAN, observe(image))

    return run


@pytest.fixture
def raw(built: Mapping[str, Volume], tmp_path: Path) -> tuple[Path, bytearray, int]:
    """A copy, its bytes, and where the victim's clusters begin (it is not fragmented on a fresh volume)."""
    volume = built["clean"]
    item = next(item for item in volume.recipe.items if item.path == VICTIM)
    assert isinstance(item, File)
    content = b"".join(item.content.chunks())
    whole = bytearray(volume.path.read_bytes())
    start = whole.find(content)
    assert start > 0
    return tmp_path / "planted.img", whole, start


def broken_checks(verdict: Verdict) -> set[str]:
    return {check.name for check in verdict.checks if check.outcome is Outcome.FAIL}


def assert_wrong_bytes(verdict: Verdict, first: int) -> None:
    assert (verdict.outcome, verdict.finding) == (Outcome.FAIL, Finding.WRONG_DATA)
    assert broken_checks(verdict) == {"bytes"}
    assert verdict.reason.startswith(f"wrong-data: '{VICTIM}': bytes from byte {first}: expected ")


def test_a_file_read_as_zeros(raw: tuple[Path, bytearray, int], verdict_on: Callable[[Path], Verdict]) -> None:
    path, whole, start = raw
    whole[start : start + (1 << 20)] = bytes(1 << 20)
    path.write_bytes(whole)
    assert_wrong_bytes(verdict_on(path), 0)


def test_two_swapped_clusters(raw: tuple[Path, bytearray, int], verdict_on: Callable[[Path], Verdict]) -> None:
    path, whole, start = raw
    one, two = (slice(start + at * 4096, start + (at + 1) * 4096) for at in (3, 9))
    whole[one], whole[two] = whole[two], whole[one]
    path.write_bytes(whole)
    assert_wrong_bytes(verdict_on(path), 3 * 4096)


def test_one_changed_byte(raw: tuple[Path, bytearray, int], verdict_on: Callable[[Path], Verdict]) -> None:
    path, whole, start = raw
    whole[start + 700_000] ^= 1
    path.write_bytes(whole)
    assert_wrong_bytes(verdict_on(path), 700_000 // 4096 * 4096)


def test_a_lost_name(built: Mapping[str, Volume], change: Change, verdict_on: Callable[[Path], Verdict]) -> None:
    def lose(root: Path) -> None:
        times = os.getxattr(root / "sizes", "system.ntfs_times")
        (root / VICTIM).unlink()
        os.setxattr(root / "sizes", "system.ntfs_times", times[:24])

    verdict = verdict_on(change(built["clean"], lose))
    assert (verdict.finding, broken_checks(verdict)) == (Finding.WRONG_DATA, {"names"})
    assert verdict.reason == f"wrong-data: '{VICTIM}': missing: expected file of 1048576 bytes, observed nothing"


def test_a_lost_directory(built: Mapping[str, Volume], change: Change, verdict_on: Callable[[Path], Verdict]) -> None:
    verdict = verdict_on(change(built["clean"], lambda root: shutil.rmtree(root / "many")))
    assert (verdict.finding, broken_checks(verdict)) == (Finding.WRONG_DATA, {"names"})
    assert verdict.reason.startswith("wrong-data: 'many': missing: expected directory, observed nothing (and 300 more)")


def test_a_changed_name(built: Mapping[str, Volume], change: Change, observe: Observe) -> None:
    def rename(root: Path) -> None:
        (root / "hello.txt").rename(root / "Hello.txt")

    image = change(built["clean"], rename)
    found = [(one.path, one.what) for one in differences(built["clean"].manifest, observe(image))]
    assert found == [("Hello.txt", "extra"), ("hello.txt", "missing")]


def test_a_truncated_file(built: Mapping[str, Volume], change: Change, verdict_on: Callable[[Path], Verdict]) -> None:
    verdict = verdict_on(change(built["clean"], lambda root: os.truncate(root / VICTIM, 1_000_000)))
    assert verdict.finding is Finding.WRONG_DATA
    assert broken_checks(verdict) == {"sizes", "times"}
    assert f"'{VICTIM}': size from byte" in verdict.reason


def test_a_wrong_time(built: Mapping[str, Volume], change: Change, verdict_on: Callable[[Path], Verdict]) -> None:
    def delay(root: Path) -> None:
        times = list(struct.unpack("<4Q", os.getxattr(root / VICTIM, "system.ntfs_times")))
        os.setxattr(root / VICTIM, "system.ntfs_times", struct.pack("<3Q", times[0], times[1] + 1, times[2]))

    verdict = verdict_on(change(built["clean"], delay))
    assert (verdict.finding, broken_checks(verdict)) == (Finding.WRONG_DATA, {"times"})
    assert f"'{VICTIM}': modified: expected " in verdict.reason


def test_a_dropped_stream(built: Mapping[str, Volume], change: Change, observe: Observe) -> None:
    def drop(root: Path) -> None:
        os.removexattr(root / "folder/a.txt", "user.big")

    verdict = judge(built["streams"].manifest, State.CLEAN, observe(change(built["streams"], drop)))
    assert (verdict.finding, broken_checks(verdict)) == (Finding.WRONG_DATA, {"streams"})
    assert verdict.reason == "wrong-data: 'folder/a.txt:big': missing: expected stream of 9000 bytes, observed nothing"


def test_a_driver_without_streams_is_poorer_and_not_wrong(built: Mapping[str, Volume], observe: Observe) -> None:
    verdict = judge(
        built["streams"].manifest, State.CLEAN, observe(built["streams"].path, "ntfs-3g", "--streams", "none")
    )
    assert (verdict.outcome, verdict.finding) == (Outcome.UNSUPPORTED, Finding.DEGRADED)
    assert verdict.reason == "degraded: streams: the driver does not show them"


def test_a_volume_that_was_written_although_read_only(built: Mapping[str, Volume], observe: Observe) -> None:
    document = {**observe(built["streams"].path, "ntfs-3g", "--fingerprint"), "device_after": "0" * 64}
    verdict = judge(built["streams"].manifest, State.CLEAN, document)
    assert (verdict.outcome, verdict.finding) == (Outcome.FAIL, Finding.DAMAGED)
    assert verdict.reason == f"damaged: volume-unchanged: {'0' * 64}"
