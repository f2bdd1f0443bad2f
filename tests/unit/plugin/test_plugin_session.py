"""Collecting, ordering, distributing, interrupting: what a session of pytest makes of cells."""

from __future__ import annotations

import re
import signal
import subprocess
import sys

import pytest

from lab.verdict import Outcome
from lab.wait import pause
from tests.unit.plugin.project import Project

SMALL = "scenarios/small.lab.yaml"
NAMES = [
    "boot-4.17-web-pv",
    "boot-4.17-web-pvh",
    "boot-4.20-web-pv",
    "boot-4.20-web-pvh",
    "cold-4.17-to-4.20-web-pv",
    "live-4.17-to-4.20-web-pv",
]
THREE_MISTAKES = """\
scenario: wrong
hosts: {lab: {xen: 4.10}}
guests: {web: {release: bookworm, userland: sparc}}
migrat: {how: live}
"""


def _ids(result: pytest.RunResult) -> list[str]:
    return [line for line in result.outlines if "::" in line]


def test_cells_are_items_with_their_own_ids(project: Project) -> None:
    result = project.pytester.runpytest("scenarios", "--collect-only", "-q")
    assert _ids(result) == [f"{SMALL}::{name}" for name in NAMES]
    assert not (project.path / "reports").exists()


def test_quick_cells_of_all_files_come_first_and_reports_keep_the_files_order(project: Project) -> None:
    text = (project.path / SMALL).read_text()
    boots, moves = text.split("---\n")
    project.write(SMALL, f"{moves}---\n{boots}")
    project.write("scenarios/late.lab.yaml", boots)
    project.write("scenarios/test_plain.py", "def test_plain(): pass\n")
    project.pytester.runpytest("scenarios")
    started = [str(event["id"]).partition("::")[2] for event in project.events("started")]
    assert started == [*NAMES[:4], *NAMES[:4], *NAMES[4:]]
    assert [cell.name for cell in project.matrix().cells] == [*NAMES[:4], *NAMES[4:], *NAMES[:4]]


def test_named_cells_run_in_the_order_given(project: Project) -> None:
    wanted = [f"{SMALL}::{NAMES[5]}", f"{SMALL}::{NAMES[0]}"]
    project.pytester.runpytest(*wanted)
    assert [event["id"] for event in project.events("started")] == wanted


@pytest.mark.parametrize(
    ("expression", "names"), [("pvh", [NAMES[1], NAMES[3]]), ("live or cold", NAMES[4:]), ("migration", NAMES[4:])]
)
def test_k_selects_by_name_axis_and_kind(project: Project, expression: str, names: list[str]) -> None:
    result = project.pytester.runpytest("scenarios", "-k", expression, "--collect-only", "-q")
    assert [line.partition("::")[2] for line in _ids(result)] == names


@pytest.mark.parametrize("workers", [(), ("-n", "2")])
def test_three_mistakes_are_three_places_and_exit_2(project: Project, workers: tuple[str, ...]) -> None:
    project.write("scenarios/wrong.lab.yaml", THREE_MISTAKES)
    result = project.pytester.runpytest_subprocess("scenarios", *workers)
    assert result.ret == 2
    text = result.stdout.str()
    for mistake in (
        'scenarios/wrong.lab.yaml:2:20: hosts.lab.xen: 4.10 without quotes is a number (4.1); write "4.10"',
        "scenarios/wrong.lab.yaml:3:45: guests.web.userland: 'sparc' is not one of amd64, i386",
        "scenarios/wrong.lab.yaml:4:1: unknown key 'migrat'; did you mean 'migrate'?",
    ):
        assert text.count(f"\n{mistake}\n") == 1
    assert "Traceback" not in text
    assert not (project.path / "reports").exists()


def test_an_unknown_driver_is_a_mistake(project: Project) -> None:
    project.write(
        SMALL,
        "scenario: n\nhosts: {lab: {xen: '4.20'}}\nkernels: [{release: trixie}]\n"
        "drivers: [ntfs33]\nvolumes: [clean]\noperations: [read]\n",
    )
    result = project.pytester.runpytest("scenarios")
    result.stdout.fnmatch_lines([f"{SMALL}:4:11: no driver 'ntfs33'; did you mean 'ntfs3'?"])


def test_two_workers_give_the_same_cells_and_one_record(project: Project) -> None:
    project.script(
        """{"boot-4.17-web-pv": [Act(judge=GuestError("ssh died")), Act()], "*-pvh": failing("a", "b", "c")}"""
    )
    result = project.pytester.runpytest_subprocess("scenarios", "-n", "2")
    result.assert_outcomes(passed=4, failed=2)
    assert len(list((project.path / "reports").glob("*/run.jsonl"))) == 2  # the record and `latest`
    assert {path.name for path in (project.path / "reports").iterdir()} == {
        "latest",
        (project.path / "reports/latest").resolve().name,
    }
    matrix = project.matrix()
    assert [cell.name for cell in matrix.cells] == NAMES
    assert project.cell("boot-4.17-web-pv").flaky
    assert len(project.events("planned")) == len(project.events("finished")) == 1
    assert len(list((project.path / "reports/latest").glob("allure-results/*-result.json"))) == 6
    assert (project.path / "reports/latest/junit.xml").read_text().count("<testcase") == 6


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_keeps_the_verdicts_and_undoes_everything(project: Project, number: signal.Signals) -> None:
    more = "def pytest_unconfigure():\n    Path('log.txt').write_text(str(STAGE.log))"
    project.script("""{"boot-4.20-web-pv": Act(seconds=60)}""", more=more)
    argv = (sys.executable, "-m", "pytest", "scenarios")
    with subprocess.Popen(argv, cwd=project.path, stdout=subprocess.PIPE, text=True) as session:
        record = project.path / "reports/latest/run.jsonl"
        for _ in range(600):
            if record.exists() and f'"started", "id": "{SMALL}::boot-4.20-web-pv"' in record.read_text():
                break
            pause(0.05)
        session.send_signal(number)
        output, _ = session.communicate(timeout=60)
    assert session.returncode == 2
    found = {cell.name: (cell.outcome, cell.reason) for cell in project.matrix().cells}
    assert found == {
        NAMES[0]: (Outcome.PASS, ""),
        NAMES[1]: (Outcome.PASS, ""),
        NAMES[2]: (Outcome.ERROR, "interrupted"),
        **dict.fromkeys(NAMES[3:], (Outcome.ERROR, "no verdict: the run ended before this cell")),
    }
    log = (project.path / "log.txt").read_text()
    assert log.endswith(f"'undo {NAMES[2]}', 'close']")
    assert "6 cells: 2 pass, 4 error" in output
    assert (record.parent / "matrix.html").exists()
    assert "<testcase" in (record.parent / "junit.xml").read_text()


STUCK = """
import signal, time

def test_stuck(lab_stage):
    open("stuck", "w").close()
    time.sleep(60)
"""


def test_sigterm_takes_down_the_stage_of_plain_tests_too(project: Project) -> None:
    project.script("{}", more="def pytest_unconfigure():\n    Path('log.txt').write_text(str(STAGE.log))")
    project.write("test_plain.py", STUCK)
    argv = (sys.executable, "-m", "pytest", "test_plain.py")
    with subprocess.Popen(argv, cwd=project.path, stdout=subprocess.PIPE, text=True) as session:
        for _ in range(600):
            if (project.path / "stuck").exists():
                break
            pause(0.05)
        session.send_signal(signal.SIGTERM)
        output, _ = session.communicate(timeout=60)
    assert session.returncode == pytest.ExitCode.INTERRUPTED
    assert "KeyboardInterrupt" in output
    assert (project.path / "log.txt").read_text() == "['open', 'close']"


def test_a_session_gives_sigterm_back_as_it_was(project: Project) -> None:
    project.write(
        "test_plain.py",
        "import signal\n\n"
        "def test_plain(lab_stage):\n"
        "    assert signal.getsignal(signal.SIGTERM).__name__ == 'interrupt'\n",
    )
    before = signal.getsignal(signal.SIGTERM)
    project.pytester.runpytest("test_plain.py").assert_outcomes(passed=1)
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_hang_ends_with_the_deadline(project: Project) -> None:
    project.write(SMALL, (project.path / SMALL).read_text().replace("---", "limits: {cell: 200ms}\n---"))
    project.script("""{"boot-4.17-web-pv": Act(hang="waiting")}""")
    project.pytester.runpytest("scenarios", "--lab-retries", "0").assert_outcomes(passed=5, errors=1)
    cell = project.cell("boot-4.17-web-pv")
    assert (cell.outcome, cell.reason) == (Outcome.ERROR, "the guest answers: not seen within 0.2 s")


def test_a_hang_without_a_deadline_ends_with_an_alarm(project: Project) -> None:
    project.write(SMALL, (project.path / SMALL).read_text().replace("---", "limits: {cell: 200ms}\n---"))
    more = "import lab.engine.alarm\nlab.engine.alarm.GRACE = 0.3"
    project.script("""{"boot-4.17-web-pv": Act(hang="deaf")}""", more=more)
    project.pytester.runpytest_subprocess("scenarios", "--lab-retries", "0").assert_outcomes(passed=5, errors=1)
    assert project.cell("boot-4.17-web-pv").reason == (
        f"{SMALL}::boot-4.17-web-pv: checks: still running 0.3 s after its limit of 0.2 s, and stopped by an alarm; "
        "hint: something waits without a deadline; that is a bug in the lab"
    )


def test_a_session_without_scenarios_makes_no_record_and_imports_nothing_of_weight(project: Project) -> None:
    project.write(
        "test_plain.py",
        "import sys\n"
        "def test_plain():\n"
        "    heavy = 'libvirt ruamel.yaml pydantic rich jinja2 lab.matrix lab.scenario lab.ntfs lab.report'.split()\n"
        "    assert not set(heavy) & set(sys.modules)\n",
    )
    (project.path / "conftest.py").unlink()
    result = project.pytester.runpytest_subprocess("test_plain.py")
    result.assert_outcomes(passed=1)
    assert not (project.path / "reports").exists()


BEGUN = """
def pytest_lab_begin(cells):
    Path("begun.txt").write_text(str([(cell.name, cell.request.iterations, cell.limits.cell) for cell in cells[4:]]))
"""


@pytest.mark.parametrize("workers", [(), ("-n", "2")])
def test_moves_of_running_guests_are_made_as_often_as_the_user_says(project: Project, workers: tuple[str, ...]) -> None:
    project.script("{}", more=BEGUN)
    project.pytester.runpytest_subprocess("scenarios", "--lab-iterations", "30", *workers).assert_outcomes(passed=6)
    assert (project.path / "begun.txt").read_text() == str([(NAMES[4], 1, 600.0), (NAMES[5], 30, 18000.0)])
    said = {cell.name: cell.axes.get("iterations") for cell in project.matrix().cells}
    assert said == {**dict.fromkeys(NAMES), NAMES[5]: "30"}
    assert "--lab-iterations 30" in project.matrix().run.command


@pytest.mark.parametrize("text", ["0", "1001", "-1", "1.5", "many", "9" * 5000])
def test_a_number_of_moves_that_no_scenario_could_name_is_a_mistake(project: Project, text: str) -> None:
    result = project.pytester.runpytest("scenarios", f"--lab-iterations={text}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    said = f"*error: argument --lab-iterations: {text} is not a whole number from 1 to 1000"
    result.stderr.fnmatch_lines([said])
    assert not (project.path / "reports").exists()


def test_reports_go_where_the_user_says(project: Project) -> None:
    result = project.pytester.runpytest("scenarios", "--lab-reports", "elsewhere")
    assert (project.path / "elsewhere/latest/matrix.json").exists()
    folder = (project.path / "elsewhere/latest").resolve()
    result.stdout.fnmatch_lines([f"record: {folder}", f"report: {folder}/matrix.html"])


def test_a_place_that_cannot_be_written_ends_the_session_with_3(project: Project) -> None:
    project.write("taken", "a file")
    result = project.pytester.runpytest("scenarios", "--lab-reports", "taken")
    assert result.ret == 3
    result.stdout.fnmatch_lines(["*error: */taken: cannot be written: File exists*"])
    assert "Traceback" not in result.stdout.str() + result.stderr.str()


def test_x_stops_after_the_first_failure(project: Project) -> None:
    project.script("""{"boot-4.17-web-pv": failing("a", "b", "c")}""")
    project.pytester.runpytest("scenarios", "-x").assert_outcomes(failed=1)
    assert [cell.judged for cell in project.matrix().cells] == [True] + [False] * 5


PLAIN = """
import pytest
from lab.errors import UsageError

WEB = dict(release="bookworm", userland="i386", kernel={"release": "bookworm"}, type="pv")

@pytest.mark.lab_guest(host="4.20", **WEB)
def test_bound(guest_host):
    assert guest_host.check_output("uname -m") == "x86_64"

def test_factory(lab_guest, migrate, lab_hosts):
    assert lab_hosts("4.17").name == "xen-4.17"
    guest = lab_guest(host="4.17", **WEB)
    assert guest.request.kernel.name == "bookworm-amd64-cloud"
    migrate(guest, to="4.20", how="live")
    assert guest.host == "xen-4.20"
    with pytest.raises(UsageError, match="no way to move a guest 'lve'; known: cold, cold-shared, live, save-restore"):
        migrate(guest, to="4.20", how="lve")
    with pytest.raises(UsageError, match="no key of a guest 'memry'"):
        lab_guest(host="4.17", memry=256, **WEB)
    with pytest.raises(UsageError, match="guest: memory is '256M', which is no whole number"):
        lab_guest(host="4.17", memory="256M", **WEB)

def test_volume(ntfs_volume):
    volume = ntfs_volume("clean")
    assert volume.path.exists() and volume.manifest

def test_unbound(guest_host):
    pass
"""


def test_plain_tests_use_the_same_stage(project: Project) -> None:
    project.script("{}", answers={"uname -m": "x86_64"}, more="def pytest_unconfigure():\n    print(STAGE.log)")
    project.write("test_plain.py", PLAIN)
    result = project.pytester.runpytest("test_plain.py", "-s")
    result.assert_outcomes(passed=3, errors=1)
    result.stdout.fnmatch_lines(
        ["*UsageError: test_plain.py::test_unbound: guest_host needs a guest", "*hint: mark the test with *"]
    )
    log = re.search(r"\['open'.*\]", result.stdout.str())
    assert log is not None
    assert log[0] == str(
        [
            *("open", "guest guest on xen-4.20", "undo guest"),
            *("guest guest on xen-4.17", "move guest to xen-4.20 live", "undo guest", "close"),
        ]
    )
    assert not (project.path / "reports").exists()
