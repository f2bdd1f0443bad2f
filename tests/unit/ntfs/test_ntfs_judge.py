"""The judge on documents made here: every finding, and what the volume's state makes of it."""

from __future__ import annotations

import dataclasses
import errno
import json
from pathlib import Path
from typing import Any

import pytest

from lab.checks.ntfs import check_volume
from lab.errors import CacheError, LabError
from lab.ntfs.judging.kernel_log import crash_in, hang_in
from lab.ntfs.judging.reading import differences, judge
from lab.ntfs.manifest import Entry, Feature, Kind, Manifest, Times, digest
from lab.ntfs.volumes import State
from lab.verdict import Finding, Outcome

SHA, BLOCKS = digest((b"hello",), 5)
TRUTH = Manifest((Entry("a.txt", Kind.FILE, 5, SHA, BLOCKS, streams=(), times=Times(1, 2, None, 4)),))
SEEN = {"path": "a.txt", "kind": "file", "size": 5, "sha256": SHA, "blocks": list(BLOCKS), "holes": []}
MOUNTED = {"ok": True, "type": "ntfs3", "options": "ro,relatime", "super_options": "ro,iocharset=utf8", "source": "x"}


def document(**changed: Any) -> dict[str, Any]:
    base = {
        "schema": "lab.ntfs.probe/1",
        "operation": "mount-and-read",
        "driver": "ntfs3",
        "kind": "kernel",
        "type_asked": "ntfs3",
        "options_asked": "ro,iocharset=utf8",
        "streams_as": "none",
        "kernel": "6.12.1",
        "ended": "complete",
        "last_step": ["read", "a.txt"],
        "mount": MOUNTED,
        "entries": [{**SEEN, "times": {"created": 1, "modified": 2, "changed": 3, "accessed": 4}}],
        "errors": [],
        "kernel_log": [],
    }
    return {**base, **changed}


def refused(cause: str = "refused", text: str = "Invalid argument", number: int = errno.EINVAL) -> dict[str, Any]:
    return {"ok": False, "cause": cause, "errno": number, "text": text, "operation": "mount(2)"}


def test_a_driver_that_shows_all_is_correct_and_its_kernel_is_its_version() -> None:
    verdict = judge(TRUTH, State.CLEAN, document())
    assert (verdict.outcome, verdict.finding, verdict.reason) == (Outcome.PASS, Finding.CORRECT, "")
    assert verdict.facts == {
        "driver_version": "6.12.1",
        "kernel_version": "6.12.1",
        "options_asked": "ro,iocharset=utf8",
        "options_in_force": "ro,relatime;ro,iocharset=utf8",
    }


@pytest.mark.parametrize(
    ("state", "options", "outcome"),
    [
        (State.CLEAN, "ro", Outcome.UNSUPPORTED),
        (State.CLEAN, "rw", Outcome.UNSUPPORTED),
        (State.DIRTY, "ro", Outcome.UNSUPPORTED),
        (State.DIRTY, "rw", Outcome.PASS),
        (State.HIBERNATED, "rw", Outcome.PASS),
        (State.DAMAGED, "ro", Outcome.PASS),
        (State.WRITE_PROTECTED, "rw", Outcome.PASS),
        (State.WRITE_PROTECTED, "ro", Outcome.UNSUPPORTED),
    ],
)
def test_a_refusal_is_right_where_the_volume_asks_for_it(state: State, options: str, outcome: Outcome) -> None:
    verdict = judge(TRUTH, state, document(mount=refused(), options_asked=options, entries=[]))
    assert (verdict.outcome, verdict.finding) == (outcome, Finding.REFUSED)
    assert verdict.reason == f"refused ({options}, {state.value} volume): Invalid argument"


@pytest.mark.parametrize(("state", "outcome"), [(State.CLEAN, Outcome.UNSUPPORTED), (State.DIRTY, Outcome.PASS)])
def test_a_read_only_mount_instead_of_a_read_write_one(state: State, outcome: Outcome) -> None:
    verdict = judge(TRUTH, state, document(options_asked="rw"))
    assert (verdict.outcome, verdict.finding) == (outcome, Finding.READ_ONLY)
    assert verdict.reason == f"read-only: asked for rw, got ro ({state.value} volume)"


def test_reading_a_dirty_volume_right_is_correct() -> None:
    verdict = judge(TRUTH, State.DIRTY, document())
    assert (verdict.outcome, verdict.finding) == (Outcome.PASS, Finding.CORRECT)


def test_a_kernel_without_the_driver_is_no_finding_about_it() -> None:
    mount = refused("no-driver", "No such device", errno.ENODEV)
    loading = [{"path": "ntfs3", "operation": "modprobe", "errno": None, "text": "Module ntfs3 not found"}]
    verdict = judge(TRUTH, State.CLEAN, document(mount=mount, entries=[], errors=loading))
    assert (verdict.outcome, verdict.finding) == (Outcome.UNSUPPORTED, None)
    expected = "driver-not-in-kernel: ntfs3 is not in 6.12.1 (No such device; modprobe ntfs3: Module ntfs3 not found)"
    assert verdict.reason == expected


def test_a_missing_device_is_trouble_of_the_lab() -> None:
    verdict = judge(TRUTH, State.CLEAN, document(mount=refused("no-device", "No such file"), entries=[]))
    assert (verdict.outcome, verdict.reason) == (Outcome.ERROR, "probe: the device is not there: No such file")


def test_another_driver_in_force_is_noticed() -> None:
    verdict = judge(TRUTH, State.CLEAN, document(mount={**MOUNTED, "type": "fuseblk"}))
    assert (verdict.outcome, verdict.reason) == (Outcome.FAIL, "degraded: type-in-force: fuseblk")


def test_a_read_write_mount_instead_of_a_read_only_one_is_noticed() -> None:
    mount = {**MOUNTED, "options": "rw", "super_options": "rw"}
    verdict = judge(TRUTH, State.CLEAN, document(mount=mount))
    assert (verdict.outcome, verdict.reason) == (Outcome.FAIL, "degraded: read-only-in-force: rw")


OOPS = "BUG: unable to handle page fault for address: ffff88800000dead"


@pytest.mark.parametrize("where", ["log", "kernel_log"])
def test_an_oops_is_a_crash_wherever_it_was_caught(where: str) -> None:
    seen = document(kernel_log=[OOPS] if where == "kernel_log" else [])
    verdict = judge(TRUTH, State.CLEAN, seen, log=[OOPS] if where == "log" else [])
    assert (verdict.outcome, verdict.finding, verdict.reason) == (Outcome.FAIL, Finding.CRASH, f"crash: {OOPS}")


def test_a_reader_that_the_kernel_killed_is_a_crash() -> None:
    verdict = judge(TRUTH, State.CLEAN, document(ended="died"))
    assert verdict.finding is Finding.CRASH
    assert verdict.reason == "crash: the kernel killed the reader during read a.txt"


SPENT = "Out of memory: Killed process 173 (python3) total-vm:204728kB, anon-rss:184000kB"


def test_a_guest_without_memory_is_trouble_of_the_lab() -> None:
    verdict = judge(TRUTH, State.CLEAN, document(ended="died", kernel_log=[SPENT]))
    assert (verdict.outcome, verdict.finding) == (Outcome.ERROR, None)
    assert verdict.reason == (
        "probe: the guest ran out of memory: Out of memory: Killed process 173 (python3);"
        " give it more, as in guest: {memory: 1G}"
    )
    assert judge(TRUTH, State.CLEAN, document(ended="died", kernel_log=[SPENT, OOPS])).finding is Finding.CRASH


def test_a_program_that_took_all_memory_has_crashed() -> None:
    killed = SPENT.replace("python3", "ntfs-3g")
    seen = document(driver="ntfs-3g", kind="fuse", daemon_status=-9, kernel_log=[killed])
    assert judge(TRUTH, State.CLEAN, seen).finding is Finding.CRASH


@pytest.mark.parametrize(
    "tried",
    ["Trying to write to read-only block-device loop0", "I/O error, dev loop0, sector 29640 op 0x1:(WRITE)"],
)
def test_an_attempt_to_write_where_it_was_to_read_is_damage(tried: str) -> None:
    verdict = judge(TRUTH, State.CLEAN, document(kernel_log=[tried]))
    assert (verdict.outcome, verdict.finding) == (Outcome.FAIL, Finding.DAMAGED)
    assert verdict.reason == f"damaged: nothing-written: {tried}"
    # It is graver than that a broken volume is read otherwise, and than that nobody knows what it holds.
    torn = judge(TRUTH, State.DAMAGED, document(kernel_log=[tried], entries=[]))
    assert torn.finding is Finding.DAMAGED
    assert torn.reason.startswith("damaged: ")
    unknown = dataclasses.replace(TRUTH, unsure=frozenset({""}))
    assert judge(unknown, State.UNKNOWN, document(kernel_log=[tried])).finding is Finding.DAMAGED
    reading = "I/O error, dev loop0, sector 29640 op 0x0:(READ) flags 0x0 phys_seg 1 prio class 2"
    assert judge(TRUTH, State.CLEAN, document(kernel_log=[reading])).outcome is Outcome.PASS


def test_a_listing_without_an_end_is_a_hang_and_says_what_came() -> None:
    verdict = judge(TRUTH, State.CLEAN, document(ended="endless", endless="its 29 names came 103001 times more"))
    assert (verdict.outcome, verdict.finding) == (Outcome.FAIL, Finding.HANG)
    assert verdict.reason.endswith("'read a.txt'; its 29 names came 103001 times more")


def test_a_deadline_is_a_hang_and_names_the_step() -> None:
    verdict = judge(TRUTH, State.CLEAN, document(ended="deadline"))
    assert verdict.finding is Finding.HANG
    assert verdict.reason == "hang: no answer from the driver during: 'read a.txt'"


def test_a_driver_that_answers_all_along_is_not_hung_but_slow() -> None:
    slow = judge(TRUTH, State.CLEAN, document(ended="deadline", silent=0.2, seconds=300.0))
    assert (slow.outcome, slow.finding) == (Outcome.ERROR, None)
    assert slow.reason.startswith("probe: its time ran out during 'read a.txt', and the driver answered all along: ")
    for silent, seconds in ((15.0, 300.0), (0.3, 0.5)):
        hung = judge(TRUTH, State.CLEAN, document(ended="deadline", silent=silent, seconds=seconds))
        assert hung.finding is Finding.HANG
    line = "INFO: task cat:212 blocked for more than 120 seconds."
    blocked = judge(TRUTH, State.CLEAN, document(ended="deadline", silent=0.2, seconds=300.0), log=[line])
    assert blocked.finding is Finding.HANG


def test_a_blocked_task_is_a_hang() -> None:
    line = "INFO: task cat:212 blocked for more than 120 seconds."
    assert judge(TRUTH, State.CLEAN, document(), log=[line]).finding is Finding.HANG


def test_a_warning_of_the_kernel_breaks_its_check() -> None:
    line = "WARNING: CPU: 0 PID: 7 at fs/ntfs3/run.c:1 run_unpack"
    verdict = judge(TRUTH, State.CLEAN, document(kernel_log=[line]))
    assert (verdict.outcome, verdict.reason) == (Outcome.FAIL, f"degraded: kernel-log: {line}")


@pytest.mark.parametrize(
    ("number", "text", "outcome"),
    [
        (errno.EOPNOTSUPP, "Operation not supported", Outcome.UNSUPPORTED),
        (errno.EIO, "Input/output error", Outcome.FAIL),
    ],
)
def test_a_file_that_cannot_be_read_is_loud_not_wrong(number: int, text: str, outcome: Outcome) -> None:
    entry = {"path": "a.txt", "kind": "file", "size": 5, "times": {}}
    error = {"path": "a.txt", "operation": "read", "errno": number, "text": text}
    verdict = judge(TRUTH, State.CLEAN, document(entries=[entry], errors=[error]))
    assert (verdict.outcome, verdict.finding) == (outcome, Finding.DEGRADED)
    assert verdict.reason == f"degraded: read-errors: 'a.txt': read: {text}"


def test_a_directory_that_cannot_be_listed_is_loud_not_a_loss_of_names() -> None:
    truth = Manifest((Entry("d", Kind.DIRECTORY), Entry("d/a", Kind.FILE)))
    error = {"path": "d", "operation": "list", "errno": errno.EIO, "text": "Input/output error"}
    seen = document(entries=[{"path": "d", "kind": "directory", "times": {}}], errors=[error])
    assert judge(truth, State.CLEAN, seen).finding is Finding.DEGRADED


def test_a_root_that_cannot_be_listed_is_loud_too() -> None:
    error = {"path": "", "operation": "list", "errno": errno.EIO, "text": "Input/output error"}
    verdict = judge(TRUTH, State.CLEAN, document(entries=[], errors=[error]))
    assert (verdict.finding, verdict.reason) == (
        Finding.DEGRADED,
        "degraded: read-errors: '': list: Input/output error",
    )


def test_what_a_driver_says_it_does_not_support_is_poorer_and_not_wrong() -> None:
    entry = {"path": "a.txt", "kind": "symlink", "target": "unsupported reparse tag 0x80000017"}
    verdict = judge(TRUTH, State.CLEAN, document(entries=[entry]))
    assert (verdict.outcome, verdict.finding) == (Outcome.UNSUPPORTED, Finding.DEGRADED)
    assert verdict.reason == "degraded: reparse-points: 'a.txt': unsupported reparse tag 0x80000017"
    older = judge(TRUTH, State.CLEAN, document(entries=[{**entry, "target": "unsupported reparse point"}]))
    assert older.finding is Finding.DEGRADED
    other = judge(TRUTH, State.CLEAN, document(entries=[{**entry, "target": "b.txt"}]))
    assert (other.outcome, other.finding) == (Outcome.FAIL, Finding.WRONG_DATA)


def test_what_is_behind_something_unsupported_is_not_missing() -> None:
    folder = Manifest((Entry("d", Kind.DIRECTORY), Entry("d/x", Kind.FILE, size=1)), TRUTH.sees)
    said = {"path": "d", "kind": "symlink", "target": "unsupported reparse tag 0x9000001a"}
    assert judge(folder, State.CLEAN, document(entries=[said])).finding is Finding.DEGRADED
    assert judge(folder, State.CLEAN, document(entries=[{**said, "path": "e"}])).finding is Finding.WRONG_DATA


def unreadable(path: str) -> dict[str, Any]:
    return {"path": path, "operation": "readlink", "errno": errno.ENOENT, "text": "No such file or directory"}


def test_a_link_that_cannot_be_read_is_loud_not_wrong() -> None:
    """So does lowntfs-3g 2017 show what its newer versions call unsupported."""
    entry = {"path": "a.txt", "kind": "symlink", "target": None}
    verdict = judge(TRUTH, State.CLEAN, document(entries=[entry], errors=[unreadable("a.txt")]))
    assert (verdict.outcome, verdict.finding) == (Outcome.FAIL, Finding.DEGRADED)
    assert verdict.reason == "degraded: read-errors: 'a.txt': readlink: No such file or directory"
    for errors in ([], [unreadable("b.txt")], [{**unreadable("a.txt"), "operation": "xattr user.x"}]):
        assert judge(TRUTH, State.CLEAN, document(entries=[entry], errors=errors)).finding is Finding.WRONG_DATA


def test_what_is_behind_a_link_that_cannot_be_read_is_not_missing() -> None:
    folder = Manifest((Entry("d", Kind.DIRECTORY), Entry("d/x", Kind.FILE, size=1)), TRUTH.sees)
    shown = {"path": "d", "kind": "symlink", "target": None}
    seen = document(entries=[shown], errors=[unreadable("d")])
    assert judge(folder, State.CLEAN, seen).finding is Finding.DEGRADED
    beside = Manifest((*folder.entries, Entry("dx", Kind.FILE)), TRUTH.sees)
    assert judge(beside, State.CLEAN, seen).finding is Finding.WRONG_DATA


def test_an_error_of_a_link_tells_of_nothing_but_where_it_leads() -> None:
    truth = Manifest((Entry("l", Kind.SYMLINK, target="x", times=Times(modified=2)),), TRUTH.sees)
    shown = {"path": "l", "kind": "symlink", "target": None, "times": {"modified": 3}}
    verdict = judge(truth, State.CLEAN, document(entries=[shown], errors=[unreadable("l")]))
    assert (verdict.finding, "'l': modified: expected " in verdict.reason) == (Finding.WRONG_DATA, True)
    shown["times"] = {"modified": 2}
    assert judge(truth, State.CLEAN, document(entries=[shown], errors=[unreadable("l")])).finding is Finding.DEGRADED


START = -11_644_473_600
"""1601, where FILETIME begins, in seconds since 1970."""

RIGHT = {"modified": [START, 299], "changed": [START, 300], "accessed": [START, 400]}


def timed(stat: dict[str, list[int]], times: dict[str, int] | None = None) -> dict[str, Any]:
    """The document of a driver that tells its times twice."""
    (entry,) = document()["entries"]
    return document(entries=[{**entry, "times": times or entry["times"], "stat": stat}])


def test_a_time_that_stat_tells_wrong_is_wrong_whatever_an_attribute_says() -> None:
    assert judge(TRUTH, State.CLEAN, timed(RIGHT)).finding is Finding.CORRECT
    seen = timed({**RIGHT, "modified": [START + 1, 0]})
    verdict = judge(TRUTH, State.CLEAN, seen)
    assert (verdict.outcome, verdict.finding) == (Outcome.FAIL, Finding.WRONG_DATA)
    assert verdict.reason == (
        "wrong-data: 'a.txt': modified: expected 1601-01-01T00:00:00.0000002Z, "
        "observed 1601-01-01T00:00:01.0000000Z by stat(2)"
    )
    assert [check.name for check in verdict.checks if check.outcome is Outcome.FAIL] == ["times"]
    assert [one.what for one in differences(TRUTH, seen)] == ["modified"]


def test_a_time_that_is_wrong_everywhere_is_told_once() -> None:
    seen = timed({**RIGHT, "modified": [START, 500]}, {"created": 1, "modified": 5, "changed": 3, "accessed": 4})
    hidden = timed(RIGHT, {"created": 1, "modified": 5, "changed": 3, "accessed": 4})
    for told in (seen, hidden):
        assert judge(TRUTH, State.CLEAN, told).reason == (
            "wrong-data: 'a.txt': modified: expected 1601-01-01T00:00:00.0000002Z, "
            "observed 1601-01-01T00:00:00.0000005Z"
        )


@pytest.mark.parametrize("nanoseconds", [-100, 10**9, 4_294_967_196])
def test_a_time_of_day_that_does_not_exist_is_wrong_and_its_number_is_shown(nanoseconds: int) -> None:
    seen = timed({**RIGHT, "accessed": [0, nanoseconds]}, {"created": 1, "modified": 2, "accessed": 77})
    said = f"observed 1970-01-01T00:00:00.0000000Z and {nanoseconds} ns by stat(2)"
    verdict = judge(TRUTH, State.CLEAN, seen)
    assert verdict.reason == f"wrong-data: 'a.txt': accessed: expected 1601-01-01T00:00:00.0000004Z, {said}"
    # So it is where nobody knows better, for there is no such time.
    unknown = Manifest((dataclasses.replace(TRUTH.entries[0], times=Times()),))
    verdict = judge(unknown, State.CLEAN, seen)
    assert verdict.reason == f"wrong-data: 'a.txt': accessed: expected 0 to 999999999 ns, {said}"


def test_times_by_stat_are_compared_where_others_would_be() -> None:
    wrong = timed({**RIGHT, "modified": [0, -1]})
    unsure = dataclasses.replace(TRUTH, unsure=frozenset({"a.txt"}))
    nothing = dataclasses.replace(TRUTH, entries=())
    nobody = Manifest((dataclasses.replace(TRUTH.entries[0], kind=Kind.UNKNOWN),))
    blind = dataclasses.replace(TRUTH, sees=TRUTH.sees - {Feature.TIMES})
    other = Manifest((dataclasses.replace(TRUTH.entries[0], kind=Kind.DIRECTORY),))
    found = [[one.what for one in differences(truth, wrong)] for truth in (unsure, nothing, nobody, blind, other)]
    assert found == [[], ["extra"], [], [], ["kind"]]


def test_a_time_that_is_no_pair_of_numbers_is_trouble_of_the_lab() -> None:
    with pytest.raises(LabError, match=r"^the probe's document is broken: TypeError: "):
        judge(TRUTH, State.CLEAN, timed({"modified": [1]}))


def test_system_files_do_not_count() -> None:
    extra = {"path": "$MFT", "kind": "file", "times": {}}
    assert judge(TRUTH, State.CLEAN, document(entries=[*document()["entries"], extra])).finding is Finding.CORRECT


def test_silent_loss_weighs_more_than_an_error_beside_it() -> None:
    error = {"path": "b", "operation": "stat", "errno": errno.EIO, "text": "Input/output error"}
    verdict = judge(TRUTH, State.CLEAN, document(entries=[], errors=[error]))
    assert verdict.finding is Finding.WRONG_DATA


def test_a_document_that_is_not_the_probes_is_trouble_of_the_lab() -> None:
    with pytest.raises(LabError, match=r"^the probe's document has schema None, not 'lab.ntfs.probe/1'$"):
        judge(TRUTH, State.CLEAN, {})
    broken = document()
    del broken["errors"]
    with pytest.raises(LabError, match=r"^the probe's document is broken: KeyError: 'errors'$"):
        judge(TRUTH, State.CLEAN, broken)


@pytest.mark.parametrize(
    "line",
    [
        "Oops: 0000 [#1] PREEMPT SMP NOPTI",
        "Oops: Oops: 0000 [#1] SMP",
        "kernel BUG at fs/ntfs3/attrib.c:42!",
        "general protection fault, probably for non-canonical address 0xdead",
        "Kernel panic - not syncing: Fatal exception",
        "BUG: KASAN: slab-out-of-bounds in ni_read_frame",
        "invalid opcode: 0000 [#1] SMP",
        "UBSAN: shift-out-of-bounds in fs/ntfs3/super.c:746:16",
    ],
)
def test_every_kind_of_crash_is_known(line: str) -> None:
    assert crash_in(["quiet", f"[   12.3] {line}"]) == f"[   12.3] {line}"


@pytest.mark.parametrize(
    "line", ["ntfs3: Max link count 4000", "ntfs3(xvdb): volume is dirty", "KFENCE: initialized - using 2097152 bytes"]
)
def test_what_a_driver_says_in_peace_is_no_crash(line: str) -> None:
    assert crash_in([line]) == hang_in([line]) == ""


@pytest.mark.parametrize(
    "line",
    ["watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [mount:9]", "rcu: INFO: rcu_sched self-detected stall on CPU"],
)
def test_every_kind_of_hang_is_known(line: str) -> None:
    assert hang_in([line]) == line
    assert crash_in([line]) == ""


def test_the_evidence_lies_beside_the_verdict(tmp_path: Path) -> None:
    folder = tmp_path / "evidence" / "cell"
    seen = document(entries=[])
    verdict = check_volume(TRUTH, State.CLEAN, seen, folder=folder, run_folder=tmp_path)
    assert verdict.evidence == tuple(f"evidence/cell/{name}.json" for name in ("expected", "observed", "differences"))
    assert Manifest.from_json(json.loads((folder / "expected.json").read_text(encoding="ascii"))) == TRUTH
    assert json.loads((folder / "observed.json").read_text(encoding="ascii")) == seen
    assert json.loads((folder / "differences.json").read_text(encoding="ascii")) == [
        {
            "path": "a.txt",
            "stream": "",
            "what": "missing",
            "expected": "file of 5 bytes",
            "observed": "",
            "first_differing_byte": None,
        }
    ]


def test_evidence_that_cannot_be_written_is_trouble_of_the_lab(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CacheError) as refused_:
        check_volume(TRUTH, State.CLEAN, document(), folder=tmp_path / "file" / "cell", run_folder=tmp_path)
    assert refused_.value.message == f"{tmp_path}/file/cell: the evidence cannot be written: Not a directory"
