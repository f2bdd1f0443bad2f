"""What comes of a cell, and what pytest, JUnit, Allure and the record say of it."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from importlib.resources import files
from pathlib import Path

import jsonschema
import pytest

from lab.verdict import Outcome
from tests.unit.plugin.project import Project

NAMES = ["boot-4.17-web-pv", "boot-4.17-web-pvh", "boot-4.20-web-pv", "boot-4.20-web-pvh"]
MOVES = ["cold-4.17-to-4.20-web-pv", "live-4.17-to-4.20-web-pv"]

EVERY_OUTCOME = """{
    "boot-4.17-web-pv": Act(facts={"kernel_version": "6.1.0-41"}),
    "boot-4.17-web-pvh": Act(prepare=UnsupportedError("no PVH on this host", reason="pvh-unsupported")),
    "boot-4.20-web-pv": failing("same-boot", "7d0c", "1111"),
    "boot-4.20-web-pvh": Act(prepare=HostError("xen-4.20: no answer", hint="is there memory?")),
    "cold-*": Act(judge=AssertionError("the guest's clock went backwards")),
    "live-*": Act(judge=KeyError("oops")),
}"""


def test_every_outcome_becomes_that_of_pytest(project: Project) -> None:
    project.script(EVERY_OUTCOME)
    result = project.pytester.runpytest("scenarios", "-v")
    result.assert_outcomes(passed=1, skipped=1, failed=2, errors=2)
    result.stdout.fnmatch_lines(
        [
            "scenarios/small.lab.yaml::boot-4.17-web-pvh SKIPPED (*...)*",
            "*ERROR at setup of cell boot-4.20-web-pvh*",
            "xen-4.20: no answer",
            "  hint: is there memory?",
            "  evidence: reports/*/evidence/small.boot-4.20-web-pvh-*",
            "*ERROR at setup of cell live-4.17-to-4.20-web-pv*",
            "a bug in the lab: KeyError: 'oops'",
            "*boot-4.20-web-pv*",
            "fail: same-boot: fail (expected 7d0c, observed 1111)",
            "  evidence: reports/*/evidence/small.boot-4.20-web-pv-*",
        ]
    )
    result.stdout.no_fnmatch_line("*Traceback*")
    result.stdout.no_fnmatch_line("*raise *")
    assert result.ret == pytest.ExitCode.TESTS_FAILED


def test_the_record_holds_every_outcome_with_its_reason(project: Project) -> None:
    project.script(EVERY_OUTCOME)
    project.pytester.runpytest("scenarios")
    found = {cell.name: (cell.outcome.value, cell.reason, cell.expected) for cell in project.matrix().cells}
    assert found == {
        "boot-4.17-web-pv": ("pass", "", True),
        "boot-4.17-web-pvh": ("unsupported", "pvh-unsupported: no PVH on this host", True),
        "boot-4.20-web-pv": ("fail", "same-boot: fail (expected 7d0c, observed 1111)", False),
        "boot-4.20-web-pvh": ("error", "xen-4.20: no answer; hint: is there memory?", False),
        "cold-4.17-to-4.20-web-pv": ("fail", "the guest's clock went backwards", False),
        "live-4.17-to-4.20-web-pv": ("error", "a bug in the lab: KeyError: 'oops'", False),
    }
    assert project.cell("boot-4.17-web-pv").axes["kernel_version"] == "6.1.0-41"
    folder = project.path / "reports/latest"
    evidence = project.cell("live-4.17-to-4.20-web-pv").evidence
    assert [name.rpartition("/")[2] for name in evidence] == ["console.log", "traceback.txt", "xl-dmesg.log"]
    assert "KeyError: 'oops'" in (folder / evidence[1]).read_text()
    assert {path.name for path in folder.iterdir()} == {
        *("run.jsonl", "matrix.json", "matrix.md", "matrix.html", "junit.xml", "allure-results", "evidence")
    }
    assert {host.name for host in project.matrix().run.hosts} == {"xen-4.17", "xen-4.20"}
    assert project.matrix().run.accelerator == "tcg"

    schema = json.loads(files("lab.matrix").joinpath("matrix.schema.json").read_text())
    jsonschema.validate(json.loads((folder / "matrix.json").read_text()), schema)
    assert _junit(folder / "junit.xml") == {
        "boot-4.17-web-pv": [],
        "boot-4.17-web-pvh": ["skipped"],
        "boot-4.20-web-pv": ["failure"],
        "boot-4.20-web-pvh": ["error"],
        "cold-4.17-to-4.20-web-pv": ["failure"],
        "live-4.17-to-4.20-web-pv": ["error"],
    }


def _junit(path: Path) -> dict[str, list[str]]:
    """Test case -> the elements that say what came of it."""
    return {
        case.attrib["name"]: [child.tag for child in case if child.tag != "properties"]
        for case in ET.parse(path).iter("testcase")  # noqa: S314 - our own file
    }


def test_allure_tells_failed_from_broken(project: Project) -> None:
    project.script(EVERY_OUTCOME)
    project.pytester.runpytest_subprocess("scenarios")  # Allure's listeners are global to a process
    results = [json.loads(path.read_text()) for path in (project.path / "reports/latest").glob("allure*/*-result.json")]
    assert {result["name"]: result["status"] for result in results} == {
        "boot-4.17-web-pv": "passed",
        "boot-4.17-web-pvh": "skipped",
        "boot-4.20-web-pv": "failed",
        "boot-4.20-web-pvh": "broken",
        "cold-4.17-to-4.20-web-pv": "failed",
        "live-4.17-to-4.20-web-pv": "broken",
    }
    failed = next(result for result in results if result["name"] == "boot-4.20-web-pv")
    labels = {label["name"]: label["value"] for label in failed["labels"]}
    assert (labels["epic"], labels["feature"]) == ("small", "boot")
    assert {"name": "host", "value": "'4.20'"} in failed["parameters"]
    assert [attachment["name"] for attachment in failed["attachments"]] == ["console.log", "xl-dmesg.log"]


def test_the_users_own_places_for_reports_are_kept(project: Project) -> None:
    project.pytester.runpytest_subprocess("scenarios", "--junitxml", "mine.xml", "--alluredir", "mine")
    assert (project.path / "mine.xml").exists()
    assert list((project.path / "mine").glob("*-result.json"))
    assert not (project.path / "reports/latest/junit.xml").exists()
    assert not (project.path / "reports/latest/allure-results").exists()


EXPECT = """\
scenario: small
hosts: {lab: {xen: "4.20"}}
guests: {web: {release: bookworm, userland: i386, type: [pv, pvh]}}
expect:
  - {when: {type: pvh}, outcome: fail, because: "libxl bug 7"}
"""


def test_an_expected_failure_is_skipped(project: Project) -> None:
    project.write("scenarios/small.lab.yaml", EXPECT)
    project.script("""{"*-pvh": failing("boots", "yes", "no")}""")
    result = project.pytester.runpytest("scenarios", "-rs")
    result.assert_outcomes(passed=1, skipped=1)
    result.stdout.fnmatch_lines(
        ["SKIPPED * fail (known): boots: fail (expected yes, observed no); expected: libxl bug 7"]
    )
    cell = project.cell("boot-4.20-web-pvh")
    assert (cell.outcome, cell.expected) == (Outcome.FAIL, True)
    assert result.ret == pytest.ExitCode.OK


def test_an_unexpected_pass_fails(project: Project) -> None:
    project.write("scenarios/small.lab.yaml", EXPECT)
    result = project.pytester.runpytest("scenarios")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        ["pass (unexpected): expected fail: libxl bug 7 [[]scenarios/small.lab.yaml:5:5[]]", "*1 unexpected pass*"]
    )
    cell = project.cell("boot-4.20-web-pvh")
    assert (cell.outcome, cell.expected) == (Outcome.PASS, False)


KNOWN = """\
known:
  - cell: scenarios/small.lab.yaml::boot-4.20-*
    link: https://bugs.example.org/1
    expires: {expires}
    because: libxl forgets it
"""


def test_an_accepted_failure_is_skipped_until_it_expires(project: Project) -> None:
    project.script("""{"boot-4.20-*": failing("boots", "yes", "no")}""")
    project.write("scenarios/known.yaml", KNOWN.format(expires="2999-01-31"))
    project.pytester.runpytest("scenarios", "-k", "4.20 and boot").assert_outcomes(skipped=2)
    cell = project.cell("boot-4.20-web-pv")
    assert cell.expected
    assert cell.reason == (
        "boots: fail (expected yes, observed no); accepted until 2999-01-31: https://bugs.example.org/1"
    )
    project.write("other.yaml", KNOWN.format(expires="2001-01-31"))
    result = project.pytester.runpytest("scenarios", "-k", "4.20 and boot", "--lab-known", "other.yaml")
    result.assert_outcomes(failed=2)
    assert not project.cell("boot-4.20-web-pv").expected
    assert project.cell("boot-4.20-web-pv").reason.endswith(
        "; accepted only until 2001-01-31: https://bugs.example.org/1"
    )


def test_an_accepted_failure_that_passes_is_reported(project: Project) -> None:
    project.write("scenarios/known.yaml", KNOWN.format(expires="2999-01-31"))
    result = project.pytester.runpytest("scenarios")
    result.assert_outcomes(passed=6)
    cells = "scenarios/small.lab.yaml::boot-4.20-*"
    note = f"scenarios/known.yaml:2:5: {cells} passes, though accepted as a failure (https://bugs.example.org/1)"
    result.stdout.fnmatch_lines([f"note: {note}"])


def test_a_mistake_in_known_yaml_ends_the_session(project: Project) -> None:
    project.write("scenarios/known.yaml", "known:\n  - {cell: x, link: y, expires: soon}\n")
    result = project.pytester.runpytest("scenarios")
    assert result.ret == 2
    result.stdout.fnmatch_lines(["*scenarios/known.yaml:2:5: needs because*"])
    assert not list(project.path.glob("reports/*/run.jsonl"))


def test_lab_trouble_is_retried_once_and_shown_as_flaky(project: Project) -> None:
    project.script("""{"boot-4.17-web-pv": [Act(judge=GuestError("web: ssh died")), Act()]}""")
    result = project.pytester.runpytest("scenarios")
    result.assert_outcomes(passed=6)
    cell = project.cell("boot-4.17-web-pv")
    assert (cell.outcome, cell.attempts, cell.flaky) == (Outcome.PASS, 2, True)
    assert cell.reason == "flaky: attempt 1 was an error: web: ssh died"
    assert [event["because"] for event in project.events("retry")] == ["web: ssh died"]
    assert len(project.events("verdict")) == 7
    result.stdout.fnmatch_lines(["6 cells: 6 pass, 1 flaky"])


def test_a_retry_prepares_afresh_and_the_session_stage_stays(project: Project) -> None:
    project.script(
        """{"*-pv": [Act(prepare=GuestError("web: gone")), Act()]}""",
        more="def pytest_unconfigure():\n    print(STAGE.log)",
    )
    result = project.pytester.runpytest("scenarios", "-k", "boot and 4.17 and not pvh", "-s")
    log = re.search(r"\['open'.*\]", result.stdout.str())
    assert log is not None
    name = "boot-4.17-web-pv"
    assert log[0] == str(
        ["open", f"prepare {name}", f"salvage {name}", f"prepare {name}", f"judge {name}", f"undo {name}", "close"]
    )


@pytest.mark.parametrize("options", [("--lab-retries", "0"), ("-o", "lab_retries=0")])
def test_the_number_of_retries_can_be_chosen(project: Project, options: tuple[str, str]) -> None:
    project.script("""{"boot-4.17-web-pv": [Act(judge=GuestError("web: ssh died")), Act()]}""")
    project.pytester.runpytest("scenarios", *options).assert_outcomes(passed=5, errors=1)
    assert project.cell("boot-4.17-web-pv").attempts == 1


@pytest.mark.parametrize(
    "act",
    [
        """failing("boots", "yes", "no")""",
        """Act(judge=KeyError("a bug"))""",
        """Act(prepare=MissingToolError("qemu-system-x86_64: no such program"))""",
    ],
)
def test_what_would_not_change_is_not_retried(project: Project, act: str) -> None:
    project.script(f"""{{"boot-4.17-web-pv": [{act}, Act()]}}""")
    project.pytester.runpytest("scenarios")
    assert project.cell("boot-4.17-web-pv").attempts == 1
    assert project.events("retry") == []


def test_a_pass_that_cannot_be_taken_down_is_an_error(project: Project) -> None:
    project.script("""{"boot-4.17-web-pv": Act(undo=HostError("web: undefine failed"))}""")
    result = project.pytester.runpytest("scenarios", "--lab-retries", "0")
    result.assert_outcomes(passed=6, errors=1)
    cell = project.cell("boot-4.17-web-pv")
    assert (cell.outcome, cell.reason) == (Outcome.ERROR, "pass; taking down failed: web: undefine failed")


def test_a_failure_that_cannot_be_taken_down_stays_a_failure(project: Project) -> None:
    project.script(
        """{"boot-4.17-web-pv": Act(failing("boots", "yes", "no").verdict, undo=HostError("web: undefine failed"))}"""
    )
    project.pytester.runpytest("scenarios").assert_outcomes(passed=5, failed=1, errors=1)
    cell = project.cell("boot-4.17-web-pv")
    assert cell.outcome is Outcome.FAIL
    assert cell.reason == "boots: fail (expected yes, observed no); taking down failed: web: undefine failed"


def test_a_stage_that_cannot_open_is_the_error_of_every_cell(project: Project) -> None:
    project.write(
        "conftest.py",
        "from lab.errors import MissingToolError\n"
        "def pytest_lab_open_stage(config, settings, keep):\n"
        '    raise MissingToolError("qemu: no such program", hint="run `lab doctor`")\n',
    )
    result = project.pytester.runpytest("scenarios")
    result.assert_outcomes(errors=6)
    assert {cell.reason for cell in project.matrix().cells} == {"qemu: no such program; hint: run `lab doctor`"}
    assert {cell.attempts for cell in project.matrix().cells} == {1}


def test_a_fixture_of_the_user_that_skips_is_a_skip(project: Project) -> None:
    more = "@pytest.fixture(autouse=True)\ndef no_time():\n    pytest.skip('no time')"
    project.script("{}", more=more)
    project.pytester.runpytest("scenarios").assert_outcomes(skipped=6)
    assert {(cell.outcome, cell.reason) for cell in project.matrix().cells} == {(Outcome.SKIPPED, "no time")}
