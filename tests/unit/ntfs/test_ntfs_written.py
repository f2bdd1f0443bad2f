"""What ntfs-3g writes is judged right; and each fault planted in it is found, and named."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lab.ntfs.manifest import Feature
from lab.ntfs.ondisk.data_stream import with_valid_size
from lab.ntfs.ondisk.index import lookup
from lab.ntfs.ondisk.mft import Mft
from lab.ntfs.ondisk.volume_information import DIRTY, write_flags
from lab.ntfs.operations import operations, to_text
from lab.ntfs.readers import Readings
from lab.ntfs.volumes import State, Volume
from lab.verdict import Finding, Outcome
from tests.unit.ntfs.written import Done, broken, do, duplicate, look, named, operate, pristine_of

CLUSTER = 4096
UNTOUCHED = "sizes/0065537.bin"
"""Of the volume clean; no target of append."""


@pytest.fixture(scope="module")
def worked(built: Mapping[str, Volume], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Done]:
    """An operation done to a volume, once for all tests."""
    held: dict[tuple[str, str], Done] = {}

    def get(volume: str, operation: str) -> Done:
        key = (volume, operation)
        if key not in held:
            held[key] = do(built[volume], operation, tmp_path_factory.mktemp(operation))
        return held[key]

    return get


@pytest.fixture
def appended(worked: Callable[[str, str], Done]) -> Done:
    return worked("clean", "append")


Worked = Callable[[str, str], Done]


@pytest.mark.parametrize("name", ["append", "create", "delete"])
def test_what_ntfs_3g_writes_is_correct(worked: Worked, name: str) -> None:
    verdict = worked("clean", name).judged().verdict
    assert (verdict.outcome, verdict.finding, verdict.reason) == (Outcome.PASS, Finding.CORRECT, "")
    checks = {check.name: check for check in verdict.checks}
    assert {
        "mounted",
        "remounted",
        "untouched",
        "reader:libfsntfs",
        "reader:structures",
        "checker:ntfsfix",
        "volume-flags",
        "label",
    } <= checks.keys()
    assert [check for check in checks if check.startswith(f"step:{name}/")]


def test_everything_at_once_is_as_good_as_ntfs_3g_can(worked: Worked) -> None:
    done = worked("streams", "everything")
    verdict = done.judged().verdict
    assert (verdict.outcome, verdict.finding) == (Outcome.UNSUPPORTED, Finding.DEGRADED)
    poorer = {check.name for check in verdict.checks if check.outcome is Outcome.UNSUPPORTED}
    assert {name.split("/")[0] for name in poorer} <= {
        "step:fallocate",
        "step:punch",
        "step:trim",
        "step:label",
    }


# --- faults in the file, behind the driver's back ---------------------------------------------------------------


def where(image: Path, path: str) -> int:
    """Where a file's bytes begin in the volume file; it is in one run."""
    with Mft.open(image) as mft:
        start, _ = mft.first_run(lookup(mft, path, place=str(image)))
        return start * mft.boot.cluster


def overwrite(path: Path, offset: int, raw: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(raw)


def test_a_zero_filled_file(appended: Done, tmp_path: Path) -> None:
    verdict = appended.planted(tmp_path, lambda image: overwrite(image, where(image, UNTOUCHED), bytes(65537)))
    assert (verdict.outcome, verdict.finding) == (Outcome.FAIL, Finding.DAMAGED)
    assert broken(verdict) == {"reader:libfsntfs", "reader:structures"}
    assert verdict.reason.startswith(f"damaged: reader:libfsntfs: '{UNTOUCHED}': bytes from byte 0: expected ")


def test_swapped_clusters(appended: Done, tmp_path: Path) -> None:
    def swap(image: Path) -> None:
        start = where(image, UNTOUCHED)
        whole = image.read_bytes()[start : start + 8 * CLUSTER]
        overwrite(image, start + CLUSTER, whole[5 * CLUSTER : 6 * CLUSTER])
        overwrite(image, start + 5 * CLUSTER, whole[CLUSTER : 2 * CLUSTER])

    verdict = appended.planted(tmp_path, swap)
    assert (verdict.finding, broken(verdict)) == (Finding.DAMAGED, {"reader:libfsntfs", "reader:structures"})
    assert f"'{UNTOUCHED}': bytes from byte {CLUSTER}: expected " in verdict.reason


def test_a_changed_byte_in_what_was_written(appended: Done, tmp_path: Path) -> None:
    target = "lab append/from 300.bin"
    verdict = appended.planted(tmp_path, lambda image: overwrite(image, where(image, target) + 5000, b"?"))
    assert (verdict.finding, broken(verdict)) == (Finding.WRONG_DATA, {"reader:libfsntfs", "reader:structures"})
    assert f"'{target}': bytes from byte 4096: expected " in verdict.reason
    assert "(after append/new)" in verdict.reason


def test_a_lost_directory_entry(appended: Done, tmp_path: Path) -> None:
    verdict = appended.through_a_mount(tmp_path, lambda root: (root / UNTOUCHED).unlink())
    assert verdict.finding is Finding.DAMAGED
    assert (
        f"reader:structures: '{UNTOUCHED}': missing: expected file of 65537 bytes, observed nothing" in verdict.reason
    )


def test_a_name_too_many(appended: Done, tmp_path: Path) -> None:
    verdict = appended.through_a_mount(tmp_path, lambda root: (root / "hollow" / "found.000").touch())
    assert verdict.finding is Finding.DAMAGED
    assert "'hollow/found.000': extra: expected nothing, observed file of 0 bytes" in verdict.reason


def test_stale_bytes_past_the_valid_length(worked: Worked, tmp_path: Path) -> None:
    path = "valid-262144.bin"

    def show(image: Path) -> None:
        with Mft.open(image, write=True) as mft:
            number = lookup(mft, path, place="")
            mft.write(number, with_valid_size(mft.read(number), 400_000, place=""))

    done = worked("valid-length", "create")
    assert done.judged().verdict.finding is Finding.CORRECT
    verdict = done.planted(tmp_path, show)
    assert (verdict.finding, broken(verdict)) == (Finding.DAMAGED, {"reader:libfsntfs", "reader:structures"})
    assert f"'{path}': bytes from byte 262144: expected " in verdict.reason


def test_a_wrong_time(appended: Done, tmp_path: Path) -> None:
    verdict = appended.through_a_mount(tmp_path, lambda root: os.utime(root / UNTOUCHED, ns=(10**18, 10**18 + 100)))
    assert (verdict.finding, broken(verdict)) == (Finding.DAMAGED, {"reader:libfsntfs"})
    assert f"'{UNTOUCHED}': modified: expected " in verdict.reason
    assert "observed 2001-09-09T01:46:40.0000001Z" in verdict.reason


def test_a_wrong_time_where_one_was_set(worked: Worked, tmp_path: Path) -> None:
    done = worked("streams", "times")
    verdict = done.through_a_mount(tmp_path, lambda root: os.utime(root / "lab times" / "3", ns=(0, 0)))
    assert (verdict.finding, broken(verdict)) == (Finding.WRONG_DATA, {"reader:libfsntfs"})
    assert "(after times/new)" in verdict.reason


def test_times_that_stat_tells_wrong_after_they_were_set(worked: Worked) -> None:
    """The attribute in which ntfs-3g tells them exactly is right."""
    done = worked("streams", "times")
    assert done.judged().verdict.finding is Finding.CORRECT
    verdict = done.judged(entries=entries(done, "lab times/3", stat={"modified": [1, 99]})).verdict
    assert (verdict.finding, broken(verdict)) == (Finding.WRONG_DATA, {"step:times/new"})
    assert verdict.reason.endswith("observed 1970-01-01T00:00:01.0000000Z by stat(2)")
    # Of what no step was about, readers outside know that no harm was done to it.
    done = worked("streams", "create")
    verdict = done.judged(entries=entries(done, "folder/b.txt", stat={"accessed": [0, -1]})).verdict
    assert (verdict.outcome, verdict.finding) == (Outcome.UNSUPPORTED, Finding.DEGRADED)
    assert "observed 1970-01-01T00:00:00.0000000Z and -1 ns by stat(2)" in named(verdict, "untouched").observed


@pytest.mark.parametrize("name", ["rename", "attributes"])
def test_a_time_that_was_misread_before_is_no_fault_of_what_was_done(worked: Worked, name: str) -> None:
    """By stat, ntfs-3g shows the year 1900 a second late, whatever is done to the file."""
    done = worked("times", name)
    verdict = done.judged().verdict
    assert (verdict.outcome, verdict.finding) == (Outcome.UNSUPPORTED, Finding.DEGRADED)
    assert " by stat(2)" in named(verdict, "untouched").observed
    assert broken(verdict) == set()
    # Where nobody outside sees times, it may well be the fault of what was done.
    inspection = look(done.image)
    blind = {
        one: replace(said, sees=said.sees - {Feature.TIMES}) for one, said in inspection.readings.manifests.items()
    }
    verdict = done.judged(inspection=replace(inspection, readings=Readings(blind))).verdict
    assert (verdict.finding, {check.partition("/")[0] for check in broken(verdict)}) == (
        Finding.WRONG_DATA,
        {f"step:{name}"},
    )


def test_a_dropped_stream(worked: Worked, tmp_path: Path) -> None:
    verdict = worked("streams", "create").through_a_mount(
        tmp_path, lambda root: os.removexattr(root / "folder" / "a.txt", "user.big")
    )
    assert verdict.finding is Finding.DAMAGED
    expected = "'folder/a.txt:big': missing: expected stream of 9000 bytes, observed nothing"
    assert expected in verdict.reason


def test_attributes_that_nobody_asked_for(appended: Done, tmp_path: Path) -> None:
    """The recipe does not say what they are: the readers' word from before the write does."""

    def hide(root: Path) -> None:
        path, times = root / UNTOUCHED, os.getxattr(root / UNTOUCHED, "system.ntfs_times")
        os.setxattr(path, "system.ntfs_attrib", struct.pack("<I", 0x26))
        os.setxattr(path, "system.ntfs_times", times[:24])

    verdict = appended.through_a_mount(tmp_path, hide)
    assert (verdict.finding, broken(verdict)) == (Finding.DAMAGED, {"reader:libfsntfs"})
    found = {check.observed for check in verdict.checks if check.outcome is Outcome.FAIL}
    assert "attributes: expected 0x0020, observed 0x0026" in str(found) or "changed: expected" in str(found)


def test_a_dirty_flag_that_is_never_cleared(appended: Done, tmp_path: Path) -> None:
    verdict = appended.planted(tmp_path, lambda image: write_flags(image, DIRTY))
    assert (verdict.outcome, verdict.finding) == (Outcome.FAIL, Finding.DAMAGED)
    assert str(named(verdict, "volume-flags")) == "volume-flags: fail (expected clean, observed dirty (0x0001))"


def test_a_dirty_flag_that_is_cleared_without_a_check(worked: Worked, tmp_path: Path) -> None:
    done = worked("dirty", "create")
    if done.document["mount"]["ok"] and done.document["steps"]:
        assert done.judged().verdict.finding is Finding.CORRECT
    verdict = done.planted(tmp_path, lambda image: write_flags(image, 0))
    assert str(named(verdict, "volume-flags")) == "volume-flags: fail (expected dirty, observed clean (0x0000))"


def test_another_label(appended: Done, tmp_path: Path) -> None:
    def relabel(image: Path) -> None:
        with Mft.open(image, write=True) as mft:
            record = mft.read(3)
            mft.write(3, record.replace("clean".encode("utf-16-le"), "dirty".encode("utf-16-le")))

    verdict = appended.planted(tmp_path, relabel)
    assert (verdict.finding, broken(verdict)) == (Finding.WRONG_DATA, {"label"})
    assert str(named(verdict, "label")) == "label: fail (expected 'clean', observed 'dirty')"


def test_a_checker_that_finds_something_new(appended: Done, tmp_path: Path) -> None:
    def tear_the_mirror(image: Path) -> None:
        with Mft.open(image) as mft:
            mirror = mft.boot.mirror_cluster * mft.boot.cluster
        overwrite(image, mirror + 0x100, b"torn")

    verdict = appended.planted(tmp_path, tear_the_mirror)
    assert verdict.finding is Finding.DAMAGED
    assert "checker:ntfsfix" in broken(verdict)


def test_a_volume_that_no_reader_can_read_any_more(appended: Done, tmp_path: Path) -> None:
    verdict = appended.planted(tmp_path, lambda image: overwrite(image, 0, bytes(512)))
    assert (verdict.outcome, verdict.finding) == (Outcome.FAIL, Finding.DAMAGED)
    assert {"reader:libfsntfs", "reader:structures", "volume-flags"} <= broken(verdict)
    assert "could read it before, and no more: " in named(verdict, "reader:structures").observed


# --- a driver that does not do what it says ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("operation", "part"),
    [
        ("append", "append/resident"),
        ("truncate", "truncate/new"),
        ("delete", "delete/resident"),
        ("times", "times/new"),
    ],
)
def test_a_step_that_lies(built: Mapping[str, Volume], tmp_path: Path, operation: str, part: str) -> None:
    steps = pristine_of(built["streams"]).steps(operations[operation])
    number = max(at for at, step in enumerate(steps) if step.part == part)
    verdict = do(built["streams"], operation, tmp_path, skip=number).judged().verdict
    assert (verdict.outcome, verdict.finding) == (Outcome.FAIL, Finding.WRONG_DATA)
    assert f"step:{part}" in broken(verdict)
    assert named(verdict, f"step:{part}").observed.startswith("says done, but '")


def entries(done: Done, path: str, **changed: Any) -> list[dict[str, Any]]:
    """The driver's own account, with something else about one path."""
    found = [dict(entry) for entry in done.document["entries"]]
    for entry in found:
        if entry["path"] == path:
            entry.update(changed)
    return found


def test_a_file_that_the_driver_itself_shows_otherwise(appended: Done) -> None:
    path = "lab append/from 0.bin"
    verdict = appended.judged(entries=entries(appended, path, sha256="0" * 64, blocks=[0] * 10)).verdict
    assert (verdict.finding, broken(verdict)) == (Finding.WRONG_DATA, {"step:append/new"})


def test_what_the_driver_misreads_but_did_not_touch_is_no_harm_done(appended: Done) -> None:
    shown = entries(appended, UNTOUCHED, sha256="0" * 64)
    verdict = appended.judged(entries=shown).verdict
    assert (verdict.outcome, verdict.finding) == (Outcome.UNSUPPORTED, Finding.DEGRADED)
    assert named(verdict, "untouched").observed.endswith("readers outside see it as it was: compare the operation read")


def test_a_time_that_stood_still(appended: Done) -> None:
    path = "lab append/from 0.bin"
    times = {"created": 1, "modified": 2, "changed": 3, "accessed": 4}
    verdict = appended.judged(entries=entries(appended, path, times=times)).verdict
    assert (verdict.finding, broken(verdict)) == (Finding.WRONG_DATA, {"step:append/new"})
    assert "created: expected " in named(verdict, "step:append/new").observed


@pytest.fixture
def special(worked: Worked) -> Done:
    return worked("streams", "attributes")


@pytest.mark.parametrize(
    ("path", "changed", "said"),
    [
        ("lab attributes/pipe", {"mode": 0o100600}, "kind: expected mode 0o10600, observed 0o100600"),
        ("lab attributes/block", {"device": 0}, "device: expected 0xca11, observed 0x0"),
    ],
)
def test_a_special_file_that_is_none_any_more(special: Done, path: str, changed: dict[str, Any], said: str) -> None:
    verdict = special.judged(entries=entries(special, path, **changed)).verdict
    assert verdict.finding is Finding.WRONG_DATA
    assert said in verdict.reason


def test_ntfs_3g_keeps_owners_modes_and_special_files(special: Done) -> None:
    verdict = special.judged().verdict
    assert (verdict.outcome, verdict.finding, verdict.reason) == (Outcome.PASS, Finding.CORRECT, "")
    assert special.document["options_asked"] == "rw,permissions,streams_interface=xattr"
    shown = {entry["path"]: entry for entry in special.document["entries"]}
    assert shown["lab attributes/owner"]["owner"] == [1000, 1001]
    assert shown["lab attributes/directory"]["mode"] == 0o40750
    assert shown["lab attributes/block"]["device"] == os.makedev(202, 17)


def test_chmod_that_is_forgotten_is_wrong(special: Done) -> None:
    forgotten = entries(special, "lab attributes/directory", mode=0o40777)
    for entry in forgotten:
        if entry["path"] == "lab attributes/owner":
            del entry["owner"]
    verdict = special.judged(entries=forgotten).verdict
    assert (verdict.outcome, verdict.finding) == (Outcome.FAIL, Finding.WRONG_DATA)
    assert {"step:attributes/mode", "step:attributes/owner"} <= broken(verdict)


def test_an_attribute_that_is_not_there_any_more(built: Mapping[str, Volume], tmp_path: Path) -> None:
    # Readers see streams there, and this is to stand for a driver that makes none: what it says itself is looked at.
    done = do(built["streams"], "xattr", tmp_path, streams="none")
    assert named(done.judged().verdict, "step:xattr/new").outcome is Outcome.PASS
    path = "lab xattr/new.txt"
    held = next(dict(entry["xattrs"]) for entry in done.document["entries"] if entry["path"] == path)
    assert {"user.lab small", "user.lab gone"} & set(held) == {"user.lab small"}
    for name, wrong in (("small", "observed nothing"), ("gone", "expected nothing")):
        changed = {**held, "user.lab gone": {"size": 1, "sha256": "0" * 64}}
        if name == "small":
            changed = {key: value for key, value in held.items() if key != "user.lab small"}
        verdict = done.judged(entries=entries(done, path, xattrs=changed)).verdict
        found = named(verdict, "step:xattr/new")
        assert (verdict.finding, found.outcome) == (Finding.WRONG_DATA, Outcome.FAIL)
        assert f"attribute 'user.lab {name}': " in found.observed
        assert wrong in found.observed


def test_a_hole_where_bytes_lie(appended: Done) -> None:
    path = "lab append/from 0.bin"
    verdict = appended.judged(entries=entries(appended, path, holes=[[4096, 4096]])).verdict
    assert (verdict.finding, broken(verdict)) == (Finding.WRONG_DATA, {"step:append/new"})
    assert f"'{path}': hole from byte 4096: expected nothing, observed 4096+4096" in verdict.reason


def test_a_link_that_leads_elsewhere(worked: Worked) -> None:
    done = worked("streams", "link")
    assert done.judged().verdict.finding is Finding.CORRECT
    verdict = done.judged(entries=entries(done, "lab link/relative", target="nowhere")).verdict
    assert verdict.finding is Finding.WRONG_DATA
    assert "target: expected 'target.txt', observed 'nowhere'" in verdict.reason


def test_what_cannot_be_read_back(appended: Done) -> None:
    path = "lab append/from 0.bin"
    shown = entries(appended, path)
    for entry in shown:
        if entry["path"] == path:
            del entry["sha256"], entry["blocks"]
    errors = [{"path": path, "operation": "read", "errno": 5, "text": "Input/output error"}]
    verdict = appended.judged(entries=shown, errors=errors).verdict
    assert (verdict.finding, broken(verdict)) == (Finding.DAMAGED, {"step:append/new"})
    assert "cannot be read back: 'lab append/from 0.bin': read: Input/output error" in verdict.reason


# --- a driver that refuses, or is gone ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "text", "outcome"),
    [(95, "Operation not supported", Outcome.UNSUPPORTED), (5, "Input/output error", Outcome.FAIL)],
)
def test_a_step_that_is_refused(
    built: Mapping[str, Volume], tmp_path: Path, number: int, text: str, outcome: Outcome
) -> None:
    pristine = pristine_of(built["streams"])
    steps = tuple(step for step in pristine.steps(operations["append"]) if step.part != "append/resident")
    image = duplicate(built["streams"].path, tmp_path / "v.img")
    document = operate(image, to_text(steps), tmp_path / "mnt")
    done = Done(pristine, pristine.steps(operations["append"]), image, document)
    results: Iterator[dict[str, Any]] = iter(document["steps"])
    said = [{"errno": number, "text": text} if step.part == "append/resident" else next(results) for step in done.steps]
    verdict = done.judged(steps=said).verdict
    assert (verdict.outcome, verdict.finding) == (outcome, Finding.DEGRADED)
    assert named(verdict, "step:append/resident").observed.startswith("refused: append 'folder/")


@pytest.mark.parametrize(
    ("changed", "finding"),
    [
        ({"daemon_status": -11}, Finding.CRASH),
        ({"ended": "deadline", "last_step": ["append", "a"]}, Finding.HANG),
        ({"kernel_log": ["BUG: unable to handle page fault for address: ffff"]}, Finding.CRASH),
    ],
)
def test_a_driver_that_dies_of_it(appended: Done, changed: dict[str, Any], finding: Finding) -> None:
    verdict = appended.judged(**changed).verdict
    assert (verdict.outcome, verdict.finding) == (Outcome.FAIL, finding)


def test_a_volume_that_cannot_be_mounted_any_more(appended: Done) -> None:
    gone = {"ok": False, "cause": "refused", "errno": 5, "text": "Input/output error"}
    verdict = appended.judged(remount=gone, entries=[]).verdict
    assert verdict.finding is Finding.DAMAGED
    assert named(verdict, "remounted").observed == "not any more: Input/output error"


def test_a_program_that_fails_while_it_unmounts(appended: Done) -> None:
    document = {key: value for key, value in appended.document.items() if key != "remount"}
    done = Done(appended.pristine, appended.steps, appended.image, {**document, "daemon_status": 3, "entries": []})
    assert named(done.judged().verdict, "remounted").observed == "not any more: the program ended with status 3"


def test_a_hibernated_volume_that_is_mounted_for_writing_is_damaged(worked: Worked) -> None:
    done = worked("streams", "create")
    specimen = replace(done.pristine.specimen, state=State.HIBERNATED)
    asleep = replace(done, pristine=replace(done.pristine, specimen=specimen))
    verdict = asleep.judged().verdict
    assert (verdict.outcome, verdict.finding) == (Outcome.FAIL, Finding.DAMAGED)
    assert verdict.reason == "damaged: hibernated: other bytes"
