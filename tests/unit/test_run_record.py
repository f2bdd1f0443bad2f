from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from lab.errors import UnknownNameError, UsageError
from lab.events import Stream
from lab.matrix.model import HostFacts, Matrix, MatrixCell
from lab.run_record import RecordError, RunRecord, is_being_written, read_matrix, read_record, resolve_run
from lab.verdict import Check, Outcome

STARTED = datetime(2026, 11, 22, 14, 30, 15, tzinfo=UTC)


def _create(reports: Path, run_id: str | None = None) -> RunRecord:
    return RunRecord.create(
        reports, command="lab run scenarios/quick.lab.yaml", revision="abc", run_id=run_id, started=STARTED
    )


def _cell(name: str = "one", outcome: Outcome = Outcome.PASS, reason: str = "", attempts: int = 1) -> MatrixCell:
    return MatrixCell(
        id=f"scenarios/quick.lab.yaml::{name}",
        scenario="quick",
        kind="ntfs",
        axes={"driver": "ntfs3"},
        outcome=outcome,
        reason=reason,
        seconds=2.0,
        attempts=attempts,
        checks=(Check("content", outcome, "a", "b"),),
        evidence=(f"evidence/{name}/{outcome.value}.log",),
    )


def _read_one(record: RunRecord) -> MatrixCell:
    (cell,) = read_matrix(record.folder).cells
    return cell


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    record = _create(tmp_path)
    host = HostFacts("xen-4.14", "embedded", "4.14.6", "7.0.0", "5.10", "hvm")
    cells = (_cell("one"), _cell("two", Outcome.FAIL, "content: differs"))
    record.planned(cells)
    record.accelerator("kvm", probe="booted in 2 s")
    record.accelerator("tcg", why="no kvm for xen-4.14")
    record.host(HostFacts("xen-4.14", "embedded", "?", "?", "?", ""))
    record.host(host)
    for cell in cells:
        record.cell_started(cell.id, worker="gw0")
        record.verdict(cell)
    record.finish(12.3456)
    matrix = read_matrix(record.folder)
    assert matrix.cells == cells
    assert matrix.run.id == "20261122-143015-quick" == record.id
    assert matrix.run.started == "2026-11-22T14:30:15+00:00"
    assert (matrix.run.seconds, matrix.run.accelerator, matrix.run.hosts) == (12.346, "tcg", (host,))
    assert (matrix.run.command, matrix.run.revision) == ("lab run scenarios/quick.lab.yaml", "abc")
    assert Matrix.from_json(matrix.to_json()) == matrix


@pytest.mark.parametrize(
    ("command", "label"),
    [
        ("lab run scenarios/quick.lab.yaml", "quick"),
        ("lab run", "run"),
        ("pytest tests -k live", "run"),
        ("lab ntfs compare disk.img", "compare"),
        ("lab --debug ntfs compare a.lab.yaml.img", "compare"),
        ("lab run -k 'ntfs compare'", "run"),
    ],
)
def test_a_run_is_named_by_what_it_is_of(tmp_path: Path, command: str, label: str) -> None:
    with RunRecord.create(tmp_path, command=command, revision="", started=STARTED) as record:
        assert record.id == f"20261122-143015-{label}"


def test_runs_of_the_same_second_get_folders_of_their_own(tmp_path: Path) -> None:
    records = [_create(tmp_path) for _ in range(3)]
    assert [record.id for record in records] == [
        "20261122-143015-quick",
        "20261122-143015-quick-2",
        "20261122-143015-quick-3",
    ]


def test_threads_that_start_at_once_get_folders_of_their_own(tmp_path: Path) -> None:
    found: list[str] = []
    threads = [threading.Thread(target=lambda: found.append(_create(tmp_path).id)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 8
    assert (tmp_path / "latest").readlink().name in found


def test_latest_is_relative_and_repointed(tmp_path: Path) -> None:
    _create(tmp_path, "first")
    _create(tmp_path, "second")
    assert (tmp_path / "latest").readlink() == Path("second")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first", "latest", "second"]


def test_a_name_that_is_taken_is_refused(tmp_path: Path) -> None:
    _create(tmp_path, "mine")
    with pytest.raises(UsageError, match=f"^{re.escape(str(tmp_path))}/mine: there is such a run already$"):
        _create(tmp_path, "mine")


@pytest.mark.parametrize("name", ["../x", "", ".", "..", "a/b", "latest", "a b"])
def test_a_name_that_is_no_folder_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError) as caught:
        _create(tmp_path, name)
    assert caught.value.message == f"run id {name!r}: not a folder name of letters, digits, '.', '_', '+' and '-'"


def test_a_planned_cell_without_a_verdict_is_an_error(tmp_path: Path) -> None:
    record = _create(tmp_path)
    record.planned([_cell("one"), _cell("two"), _cell("three")])
    record.verdict(_cell("one"))
    record.cell_started(_cell("two").id)
    cells = read_matrix(record.folder).cells
    assert [(cell.name, cell.outcome, cell.reason) for cell in cells] == [
        ("one", Outcome.PASS, ""),
        ("two", Outcome.ERROR, "no verdict: the run ended during this cell"),
        ("three", Outcome.ERROR, "no verdict: the run ended before this cell"),
    ]
    assert cells[2].axes == {"driver": "ntfs3"}
    assert not cells[2].judged


def test_a_verdict_survives_kill_9(tmp_path: Path) -> None:
    script = (
        "import os, signal, sys; from pathlib import Path; from lab.run_record import RunRecord;"
        "r = RunRecord.create(Path(sys.argv[1]), command='lab run', revision='');"
        "r.append('planned', cells=[dict(id='a::b', scenario='s', kind='boot', axes={})]);"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    ended = subprocess.run((sys.executable, "-c", script, str(tmp_path)), check=False, timeout=60)
    assert ended.returncode == -9
    (cell,) = read_matrix(resolve_run(tmp_path, None)).cells
    assert cell.reason == "no verdict: the run ended before this cell"


def test_a_retried_error_that_passes_is_flaky(tmp_path: Path) -> None:
    record = _create(tmp_path)
    record.verdict(_cell(outcome=Outcome.ERROR, reason="ssh: reset"))
    record.verdict(_cell(outcome=Outcome.PASS))
    cell = _read_one(record)
    assert (cell.outcome, cell.attempts, cell.seconds, cell.flaky) == (Outcome.PASS, 2, 4.0, True)
    assert cell.reason == "flaky: attempt 1 was an error: ssh: reset"
    assert cell.evidence == ("evidence/one/error.log", "evidence/one/pass.log")


def test_a_retried_error_that_fails_is_a_failure(tmp_path: Path) -> None:
    record = _create(tmp_path)
    record.verdict(_cell(outcome=Outcome.ERROR, reason="ssh: reset"))
    record.verdict(_cell(outcome=Outcome.FAIL, reason="bytes differ", attempts=2))
    cell = _read_one(record)
    assert (cell.outcome, cell.attempts) == (Outcome.FAIL, 2)
    assert cell.reason == "flaky: attempt 1 was an error: ssh: reset; then: bytes differ"


def test_a_failure_is_not_washed_away_by_a_later_pass(tmp_path: Path) -> None:
    record = _create(tmp_path)
    record.verdict(_cell(outcome=Outcome.FAIL, reason="bytes differ"))
    record.verdict(_cell(outcome=Outcome.PASS))
    cell = _read_one(record)
    assert (cell.outcome, cell.reason, cell.attempts) == (Outcome.FAIL, "bytes differ", 2)


def test_errors_alone_keep_the_first_cause(tmp_path: Path) -> None:
    record = _create(tmp_path)
    record.verdict(_cell(outcome=Outcome.ERROR, reason="ssh: reset"))
    record.verdict(_cell(outcome=Outcome.ERROR, reason="host is marked broken"))
    cell = _read_one(record)
    assert (cell.outcome, cell.reason, cell.attempts, cell.flaky) == (Outcome.ERROR, "ssh: reset", 2, False)


def test_a_torn_last_line_is_passed_over_and_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    record = _create(tmp_path)
    record.verdict(_cell())
    file = record.folder / "run.jsonl"
    with file.open("ab") as tail:
        tail.write(b'{"at": "2026-11-22T14:31:00+00:00", "event": "verd')
    with caplog.at_level(logging.WARNING, "lab.run_record"):
        assert _read_one(record).outcome is Outcome.PASS
    assert [entry.getMessage() for entry in caplog.records] == [
        f'{file}: the last line is torn and passed over: b\'{{"at": "2026-11-22T14:31:00+00:00", "eve\''
    ]


def test_what_is_appended_after_a_torn_line_is_readable(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    record = _create(tmp_path)
    with (record.folder / "run.jsonl").open("ab") as tail:
        tail.write(b'{"torn')
    RunRecord(record.folder).verdict(_cell())
    assert _read_one(record).outcome is Outcome.PASS
    assert "line 2 is torn and passed over: b'{\"torn'" in caplog.text


def test_an_event_that_lacks_a_field_is_reported_and_the_rest_is_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    record = _create(tmp_path)
    record.append("verdict", cell={"id": "x"})
    record.verdict(_cell())
    assert _read_one(record).outcome is Outcome.PASS
    assert "an event 'verdict' is passed over: KeyError('outcome')" in caplog.text


def test_hostile_text_comes_back_as_it_was(tmp_path: Path) -> None:
    record = _create(tmp_path)
    name = "\ud83d<script>\u202e\u2028\n\x00é"
    record.verdict(_cell(name, reason=name))
    raw = (record.folder / "run.jsonl").read_bytes()
    assert raw.count(b"\n") == 2
    assert _read_one(record).reason == name


def test_events_become_lines(tmp_path: Path) -> None:
    record, stream = _create(tmp_path), Stream()
    stream.subscribe(record.hear)
    with stream.step("boot", host=Path("xen")):
        stream.emit("retry", attempt=2)
    lines = [json.loads(line) for line in (record.folder / "run.jsonl").read_text().splitlines()]
    assert [line["event"] for line in lines] == ["run", "start", "retry", "stop"]
    assert lines[1]["host"] == "xen"
    assert read_matrix(record.folder).cells == ()


def test_lines_of_several_writers_stay_whole(tmp_path: Path) -> None:
    record = _create(tmp_path)
    writers = [RunRecord(record.folder) for _ in range(4)]

    def write(writer: RunRecord) -> None:
        for number in range(50):
            writer.append("tick", number=number, pad="x" * 5000)

    threads = [threading.Thread(target=write, args=(writer,)) for writer in writers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = (record.folder / "run.jsonl").read_text().splitlines()
    assert [json.loads(line)["event"] for line in lines[1:]] == ["tick"] * 200


def test_evidence_folders_are_safe_stable_and_never_shared(tmp_path: Path) -> None:
    record = _create(tmp_path)
    ids = [
        "scenarios/quick.lab.yaml::live",
        "other/quick.lab.yaml::live",
        "a::b/c",
        "a::b-c",
        "::",
        "x::../../etc/passwd",
        "x::" + "long" * 100 + "1",
        "x::" + "long" * 100 + "2",
        "x::\udcff<b>",
    ]
    folders = [record.evidence_folder(cell_id) for cell_id in ids]
    assert len({folder.name for folder in folders}) == len(ids)
    assert all(folder.is_dir() and folder.parent == record.folder / "evidence" for folder in folders)
    assert all(re.fullmatch(r"[A-Za-z0-9._-]{1,100}", folder.name) for folder in folders)
    assert re.fullmatch(r"quick\.live-[0-9a-f]{8}", folders[0].name)
    assert record.evidence_folder(ids[0]) == folders[0]
    assert record.evidence_folder(ids[0], attempt=2).name == f"{folders[0].name}.attempt-2"


def test_a_full_disk_is_the_labs_trouble(tmp_path: Path) -> None:
    record = _create(tmp_path)
    (record.folder / "run.jsonl").unlink()
    (record.folder / "run.jsonl").symlink_to("/dev/full")
    full = RunRecord.__new__(RunRecord)
    full.folder, full._lock, full._torn = record.folder, threading.Lock(), False
    full._file = os.open("/dev/full", os.O_WRONLY)
    with pytest.raises(RecordError) as caught:
        full.verdict(_cell())
    full.close()
    assert str(caught.value) == (
        f"{record.folder}/run.jsonl: cannot be written: No space left on device\n"
        "  hint: free some space there, or name another folder with --reports"
    )
    assert caught.value.exit_code == 3


def test_a_reports_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RecordError) as caught:
        _create(tmp_path / "file" / "reports")
    assert caught.value.message == f"{tmp_path}/file/reports: cannot be written: Not a directory"


def test_reading_what_is_no_record(tmp_path: Path) -> None:
    with pytest.raises(RecordError) as missing:
        read_matrix(tmp_path / "gone")
    assert missing.value.message == f"{tmp_path}/gone: no such folder"
    with pytest.raises(RecordError) as empty:
        read_matrix(tmp_path)
    assert empty.value.message == f"{tmp_path}: it has no run.jsonl, so it is not a record of a run"
    (tmp_path / "run.jsonl").write_text("{}\n")
    with pytest.raises(RecordError) as other:
        read_matrix(tmp_path)
    assert other.value.message == f"{tmp_path}/run.jsonl: not a record of a run: no line says which run it is"


def test_a_run_that_never_finished_took_until_its_last_line(tmp_path: Path) -> None:
    record = _create(tmp_path)
    line = {"at": "2026-11-22T14:31:00.000+00:00", "event": "tick"}
    with (record.folder / "run.jsonl").open("a") as tail:
        tail.write(json.dumps(line) + "\n")
    assert read_matrix(record.folder).run.seconds == 45.0


def test_runs_are_found_by_name_by_path_and_as_latest(tmp_path: Path) -> None:
    first, second = _create(tmp_path, "first"), _create(tmp_path, "second")
    assert resolve_run(tmp_path, "first") == first.folder
    assert resolve_run(tmp_path, str(first.folder)) == first.folder
    assert resolve_run(tmp_path, None) == resolve_run(tmp_path, "latest") == second.folder
    (tmp_path / "latest").unlink()
    assert resolve_run(tmp_path, None) == second.folder


def test_a_run_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=f"^{re.escape(str(tmp_path))}: no run is recorded there"):
        resolve_run(tmp_path, None)
    _create(tmp_path, "20261122-143015-quick")
    with pytest.raises(UnknownNameError) as caught:
        resolve_run(tmp_path, "20261122-143016-quick")
    assert str(caught.value) == (
        "no run '20261122-143016-quick'; known: 20261122-143015-quick\n  hint: did you mean '20261122-143015-quick'?"
    )


def test_a_record_says_what_was_planned_and_which_run_it_continues(tmp_path: Path) -> None:
    record = _create(tmp_path)
    record.planned([_cell("one"), _cell("two")], {_cell("one").id: "0f0f"})
    record.continues("first", files=["b.lab.yaml", "a.lab.yaml"], carried=1, notes=["a note"])
    found = read_record(record.folder)
    assert {cell_id.rpartition("::")[2]: plan.fingerprint for cell_id, plan in found.plans.items()} == {
        "one": "0f0f",
        "two": "",
    }
    assert found.plans[_cell("one").id].axes == {"driver": "ntfs3"}
    assert found.files == ("b.lab.yaml", "a.lab.yaml")
    assert found.matrix == read_matrix(record.folder)


def test_a_host_of_another_run_is_there_beside_that_of_this_one_unless_they_are_alike(tmp_path: Path) -> None:
    record = _create(tmp_path)
    old, new = (HostFacts("xen-4.14", "embedded", xen, "7.0.0", "5.10.0-32-amd64", "") for xen in ("4.14.5", "4.14.6"))
    other = HostFacts("xen-4.20", "embedded", "4.20.0", "11.3.0", "6.12.57-amd64", "")
    for host in (old, new, other):
        record.host(host, **{"from": "first"})
    record.host(new)
    assert read_matrix(record.folder).run.hosts == (old, other, new)


def test_a_record_is_being_written_as_long_as_a_process_has_it_open(tmp_path: Path) -> None:
    record = _create(tmp_path)
    worker = RunRecord(record.folder)
    assert is_being_written(record.folder)
    record.finish(1.0)
    assert is_being_written(record.folder)
    worker.close()
    assert not is_being_written(record.folder)
    assert not is_being_written(tmp_path / "gone")
