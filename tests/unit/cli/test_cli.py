"""The command line: exit codes, messages, and the same cells as pytest's."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from lab import cli
from lab.errors import HostError, ScenarioError, UsageError
from lab.wait import pause
from tests.unit.plugin.project import LAB, Project

Lab = Callable[..., pytest.RunResult]
SMALL = "scenarios/small.lab.yaml"
IDS = [
    f"{SMALL}::{name}"
    for name in (
        "boot-4.17-web-pv",
        "boot-4.17-web-pvh",
        "boot-4.20-web-pv",
        "boot-4.20-web-pvh",
        "cold-4.17-to-4.20-web-pv",
        "live-4.17-to-4.20-web-pv",
    )
]


def test_list_run_and_pytest_name_the_same_cells(project: Project, lab: Lab) -> None:
    listed = lab("list", "--json")
    assert listed.ret == 0
    document = json.loads(listed.stdout.str())
    assert [cell["id"] for cell in document["cells"]] == IDS
    assert document["scenarios"][0]["axes"]["host"] == ["4.17", "4.20"]
    collected = project.pytester.runpytest("scenarios", "--collect-only", "-q")
    assert [line for line in collected.outlines if "::" in line] == IDS
    assert lab("run", "scenarios").ret == 0
    assert [cell.id for cell in project.matrix().cells] == IDS
    inside = subprocess.run(
        (LAB, "list", "--json", "."), cwd=project.path / "scenarios", capture_output=True, check=True
    )
    assert [cell["id"] for cell in json.loads(inside.stdout)["cells"]] == IDS


def test_list_shows_axes_counts_and_what_pairwise_leaves_out(project: Project, lab: Lab) -> None:
    text = (project.path / SMALL).read_text().replace("scenario: small", "scenario: small\npairwise: true")
    project.write(SMALL, text.replace("type: [pv, pvh]", "type: [pv, pvh], memory: [256M, 512M]"))
    result = lab("list", "scenarios", "--brief")
    assert result.outlines[:3] == [
        f"{SMALL}:1: small",
        "  boot, 4 cells; pairwise leaves out 4",
        "  host      4.17, 4.20",
    ]
    assert result.outlines[8:10] == ["  pairs left untested: none", f"{SMALL}:6: moves"]
    assert result.outlines[-1] == "2 scenarios, 6 cells; pairwise leaves out 4 combinations"


def test_list_names_the_pairs_that_pairwise_cannot_test(project: Project, lab: Lab) -> None:
    many = ", ".join(f"{number}M" for number in range(128, 150))
    text = (project.path / SMALL).read_text().replace("scenario: small", "scenario: small\npairwise: true")
    text = text.replace("type: [pv, pvh]", f"type: [pv, pvh], memory: [{many}]")
    text = text.replace("pairwise: true", f"pairwise: true\nexclude: {{type: pvh, memory: [{many}]}}")
    project.write(SMALL, text.replace(f"[{many}]}}\n", f"[{many.replace('128M, ', '')}]}}\n", 1))
    result = lab("list", "scenarios", "--brief")
    begin = result.outlines.index("  pairs left untested: 21")
    assert result.outlines[begin + 1 : begin + 3] == [
        "    type pvh with memory 129M (excluded)",
        "    type pvh with memory 130M (excluded)",
    ]
    assert result.outlines[begin + 20 : begin + 22] == [
        "    type pvh with memory 148M (excluded)",
        "    and 1 more",
    ]
    document = json.loads(lab("list", "scenarios", "--json").stdout.str())
    first, second = document["scenarios"]
    assert len(first["untested_pairs"]) == 21
    assert first["untested_pairs"][0] == {"axes": {"type": "pvh", "memory": "129M"}, "excluded": True}
    assert second["untested_pairs"] == []


OUTCOMES = {
    "{}": 0,
    """{"*-pvh": Act(prepare=UnsupportedError("no", reason="no-pvh"))}""": 0,
    """{"*-pvh": failing("a", "b", "c")}""": 1,
    """{"*-pvh": Act(prepare=HostError("xen-4.20: gone"))}""": 3,
    """{"*-pvh": Act(prepare=HostError("xen-4.20: gone")), "*-pv": failing("a", "b", "c")}""": 1,
}


@pytest.mark.parametrize(("script", "code"), OUTCOMES.items())
def test_the_exit_code_of_a_run(project: Project, lab: Lab, script: str, code: int) -> None:
    project.script(script)
    result = lab("run", "-k", "4.20 and boot", "--retries", "0")
    assert result.ret == code
    assert "Traceback" not in result.stdout.str() + result.stderr.str()
    result.stdout.fnmatch_lines(["small * boot *", "2 cells: *", "record: *", "report: *matrix.html"])
    result.stdout.no_fnmatch_line("*test session starts*")


def test_a_run_shows_progress_and_no_dots(project: Project, lab: Lab) -> None:
    project.script("""{"*-pvh": failing("a", "b", "c")}""")
    result = lab("run", "scenarios")
    assert [line.partition("  (")[0].rpartition("  ")[0] for line in result.errlines if line.startswith("[")] == [
        "[1/6] pass  boot-4.17-web-pv",
        "[2/6] fail  boot-4.17-web-pvh",
        "[3/6] pass  boot-4.20-web-pv",
        "[4/6] fail  boot-4.20-web-pvh",
        "[5/6] pass  cold-4.17-to-4.20-web-pv",
        "[6/6] pass  live-4.17-to-4.20-web-pv",
    ]
    assert "FAILURES" not in result.stdout.str()


def test_a_run_with_workers_and_options_of_pytest(project: Project, lab: Lab) -> None:
    result = lab("run", "scenarios", "-n", "2", "--", "--junitxml", "mine.xml")
    assert result.ret == 0
    assert sorted(cell.id for cell in project.matrix().cells) == sorted(IDS)
    assert (project.path / "mine.xml").exists()
    assert project.matrix().run.command == "lab run scenarios -n 2 -- --junitxml mine.xml"
    result.stderr.fnmatch_lines(["[[]6/6[]] pass *"])


def test_a_run_takes_a_number_of_moves(project: Project, lab: Lab) -> None:
    assert lab("run", "scenarios", "-k", "live", "--iterations", "30").ret == 0
    assert [(cell.name, cell.axes["iterations"]) for cell in project.matrix().cells] == [
        ("live-4.17-to-4.20-web-pv", "30")
    ]
    assert project.matrix().run.command == "lab run scenarios -k live --iterations 30"


@pytest.mark.parametrize("number", ["0", "1001"])
def test_a_run_refuses_a_number_of_moves_that_no_scenario_could_name(project: Project, lab: Lab, number: str) -> None:
    result = lab("run", "scenarios", "--iterations", number)
    assert result.ret == 2
    result.stderr.fnmatch_lines(["Error: Invalid value for '--iterations': *"])  # the rest is typer's own
    assert not (project.path / "reports").exists()


VOLUMES = """\
scenario: volumes
hosts: {lab: {xen: ["4.17", "4.20"]}}
kernels: [{release: trixie}]
drivers: [ntfs3]
volumes: [clean, dirty]
"""


@pytest.mark.parametrize("workers", [(), ("-n", "2")])
def test_a_run_takes_a_stage_for_its_ntfs_cells(project: Project, lab: Lab, workers: tuple[str, ...]) -> None:
    project.write("scenarios/volumes.lab.yaml", VOLUMES)
    assert lab("run", "scenarios", "-k", "clean or boot-4.20-web-pvh", "--stage", "microvm", *workers).ret == 0
    found = project.matrix()
    # Under the name of the first of the cells that are one there; the cell that is none of NTFS runs where it ran.
    assert sorted((cell.name, cell.axes["host"], cell.axes.get("stage")) for cell in found.cells) == [
        ("boot-4.20-web-pvh", "4.20", None),
        ("ntfs3-trixie-clean-read-4.17", "microvm", "microvm"),
    ]
    assert [host.name for host in found.run.hosts] == ["xen-4.20"]
    assert found.run.accelerator == "tcg"


def test_a_run_without_any_host_is_reported_like_others(project: Project, lab: Lab) -> None:
    bare = VOLUMES.replace('hosts: {lab: {xen: ["4.17", "4.20"]}}', "stage: microvm")
    project.write("scenarios/volumes.lab.yaml", bare)
    result = lab("run", "scenarios/volumes.lab.yaml")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["2 cells: 2 pass"])
    found = project.matrix()
    assert found.run.hosts == ()
    assert found.run.accelerator == "tcg"
    assert {(cell.axes["stage"], cell.axes["host"]) for cell in found.cells} == {("microvm", "microvm")}
    for form in ("terminal", "md", "html", "json"):
        assert lab("matrix", "--format", form).ret == 0
    record = project.path / "reports" / "latest"
    assert {path.name for path in record.iterdir()} >= {"matrix.json", "matrix.html", "matrix.md", "junit.xml"}


def test_a_scenario_without_a_host_does_not_run_on_xen(project: Project, lab: Lab) -> None:
    bare = VOLUMES.replace('hosts: {lab: {xen: ["4.17", "4.20"]}}', "stage: microvm")
    project.write("scenarios/volumes.lab.yaml", bare)
    result = lab("run", "scenarios/volumes.lab.yaml", "--stage", "xen")
    assert result.ret == 2
    said = "scenarios/volumes.lab.yaml:1:1: ntfs3-trixie-clean-read has no Xen host to run on"
    result.stderr.fnmatch_lines([said])
    assert not (project.path / "reports").exists()
    assert lab("run", "scenarios", "--stage", "qemu").ret == 2


MEASURING = """
import json
from lab.checks.downtime import Iteration, downtime

class Measuring(FakeStage):
    def judge(self, cell, prepared, evidence, deadline):
        if cell.kind == "migration" and cell.request.iterations > 1:
            found = downtime([Iteration(0.5, 0.75)] * cell.request.iterations, (), accelerator="tcg")
            (evidence / "downtime.json").write_text(json.dumps(found.to_json()))
        return FakeStage.judge(self, cell, prepared, evidence, deadline)

STAGE = Measuring(folder=Path(__file__).parent)
"""


def test_the_reports_of_a_run_show_downtimes_also_when_they_are_made_again(project: Project, lab: Lab) -> None:
    project.script("{}", more=MEASURING)
    assert lab("run", "scenarios", "-k", "migration", "--iterations", "3").ret == 0
    folder = project.path / "reports/latest"
    said = "- `live-4.17-to-4.20-web-pv`: withheld (n=3): 3 iterations of at least 30; not calibrated on a pause of "
    page, text = (folder / "matrix.html").read_text(), (folder / "matrix.md").read_text()
    assert text.count(said) == page.count('<figure class="downtime">') == 1
    assert page.count('r="3.5"') == 6
    assert lab("matrix", "--format", "html").stdout.str() == page.rstrip("\n")
    assert lab("matrix", "--format", "md").stdout.str() == text.rstrip("\n")
    assert lab("matrix", "reports/latest/matrix.json", "--format", "md").stdout.str() == text.rstrip("\n")
    for report in folder.glob("matrix.*"):
        report.unlink()
    assert lab("matrix").ret == 0
    assert (folder / "matrix.html").read_text() == page
    (folder / "matrix.html").unlink()
    next(folder.glob("evidence/*/downtime.json")).write_text("{")
    result = lab("matrix")
    assert result.ret == 0
    assert "Traceback" not in result.stderr.str()
    assert "downtime.json cannot be read: " in (folder / "matrix.html").read_text()


@pytest.mark.usefixtures("project")
def test_a_run_speaks_json(lab: Lab) -> None:
    result = lab("run", "scenarios", "--json")
    assert [cell["id"] for cell in json.loads(result.stdout.str())["cells"]] == IDS


def test_plain_tests_count_too(project: Project, lab: Lab) -> None:
    project.write("scenarios/test_plain.py", "def test_plain():\n    assert 1 == 2\n")
    result = lab("run")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*FAILURES*", "*assert 1 == 2*", "6 cells: 6 pass", "*1 failed*"])


def test_mistakes_end_with_2_and_their_places_alone(project: Project, lab: Lab) -> None:
    project.write("scenarios/wrong.lab.yaml", "scenario: a\nhosts: {lab: {xen: 4.10}}\nguests: {w: {}}\nbogus: 1\n")
    keys = "scenario, why, limits, exclude, expect, pairwise, hosts, guests, migrate, modules"
    for verb in ("run", "list"):
        result = lab(verb, "scenarios")
        assert result.ret == 2
        assert result.errlines == [
            'scenarios/wrong.lab.yaml:2:20: hosts.lab.xen: 4.10 without quotes is a number (4.1); write "4.10"',
            "scenarios/wrong.lab.yaml:3:10: guests.w: key 'release' is missing",
            f"scenarios/wrong.lab.yaml:4:1: unknown key 'bogus'; known here: {keys}",
        ]
        assert result.stdout.str().strip() == ""


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("run", "nix"), "ERROR: file or directory not found: nix"),
        (("run", "-k", "nothing"), "error: no cell and no test matches, so nothing was tried"),
        (("run", "--bogus"), "*No such option: --bogus*"),
        (("nix",), "*No such command 'nix'.*"),
        (("list", "nix"), "error: nix: no such file or folder"),
        (("matrix", "--rows", "hsot"), "error: no axis 'hsot'; known: *"),
        (("matrix", "nix"), "error: no run 'nix'; known: *"),
        (("matrix", "--rows", "host", "--json"), "error: --rows and --columns are for the terminal; *"),
    ],
)
def test_usage_errors_end_with_2(project: Project, lab: Lab, words: tuple[str, ...], message: str) -> None:
    if words[0] == "matrix":
        project.pytester.runpytest("scenarios", "-k", "cold")
    result = lab(*words)
    assert result.ret == 2
    result.stderr.fnmatch_lines([message])
    assert "Traceback" not in result.stderr.str()


def test_an_interrupted_run_ends_with_3_and_says_what_there_is(project: Project) -> None:
    project.script("""{"boot-4.20-web-pv": Act(seconds=60)}""")
    with subprocess.Popen((LAB, "run"), cwd=project.path, stderr=subprocess.PIPE, text=True) as session:
        record = project.path / "reports/latest/run.jsonl"
        for _ in range(600):
            if record.exists() and f'"started", "id": "{IDS[2]}"' in record.read_text():
                break
            pause(0.05)
        session.send_signal(signal.SIGINT)
        _, said = session.communicate(timeout=60)
    assert session.returncode == 3
    name = record.parent.resolve().name
    assert said.splitlines()[-2:] == [
        f"interrupted; 2 of 6 cells have verdicts; record at {record.parent.resolve()}",
        f"  hint: the same command with `--continue reports/{name}` runs the rest",
    ]
    assert "Traceback" not in said


def test_matrix_prints_every_format_and_writes_what_a_killed_run_could_not(project: Project, lab: Lab) -> None:
    project.pytester.runpytest("scenarios")
    folder = project.path / "reports/latest"
    for name in ("html", "md", "json"):
        (folder / f"matrix.{name}").unlink()
    result = lab("matrix", "--rows", "type", "--columns", "host")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["*type*4.17*4.20*", "6 cells: 6 pass"])
    for form, name in (("md", "matrix.md"), ("html", "matrix.html"), ("json", "matrix.json")):
        assert lab("matrix", "--format", form).stdout.str().rstrip("\n") == (folder / name).read_text().rstrip("\n")


def test_diff_and_gate(project: Project, lab: Lab) -> None:
    project.pytester.runpytest("scenarios")
    base = (project.path / "reports/latest").resolve().name
    project.script("""{"boot-4.20-web-pvh": failing("a", "b", "c")}""")
    project.pytester.runpytest("scenarios")
    changed = lab("diff", base)
    assert changed.ret == 0
    assert changed.outlines == [
        f"{IDS[3]}: regressed: pass -> fail: a: fail (expected b, observed c)",
        "6 cells: 1 regressed, 5 same",
    ]
    assert json.loads(lab("diff", base, "latest", "--json").stdout.str())["differences"][0]["change"] == "regressed"
    no = lab("gate", "--baseline", base)
    assert no.ret == 1
    assert no.outlines == ["no", f"  {IDS[3]}: regressed: pass -> fail: a: fail (expected b, observed c)"]
    known = "known:\n- {cell: '*-pvh', link: 'https://bugs.example.org/1', expires: 2999-01-31, because: b}\n"
    project.write("known.yaml", known)
    yes = lab("gate", "latest", "--baseline", base, "--known", "known.yaml")
    assert yes.ret == 0
    assert yes.outlines == ["yes", f"  note: {IDS[3]}: accepted until 2999-01-31 (https://bugs.example.org/1)"]
    assert json.loads(lab("gate", "--baseline", base, "--json").stdout.str())["yes"] is False
    assert lab("gate").ret == 2


@pytest.mark.parametrize(
    ("trouble", "code", "said"),
    [
        (HostError("xen-4.20: gone", hint="look"), 3, "error: xen-4.20: gone\n  hint: look\n"),
        (UsageError("what?"), 2, "error: what?\n"),
        (ScenarioError("a.lab.yaml:1:1: no"), 2, "a.lab.yaml:1:1: no\n"),
        (KeyError("x"), 3, "error: KeyError: 'x'\n  this is a bug in the lab; `lab --debug` shows where\n"),
        (KeyboardInterrupt(), 3, "interrupted\n"),
    ],
)
def test_main_turns_every_exception_into_words_and_a_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], trouble: BaseException, code: int, said: str
) -> None:
    def fail(_name: str | None, _reports: Path | None) -> None:
        raise trouble

    from lab.commands import matrix

    monkeypatch.setattr(matrix, "matrix_of", fail)
    assert cli.main(["matrix"]) == code
    assert capsys.readouterr().err == said
    if isinstance(trouble, Exception):
        with pytest.raises(type(trouble)):
            cli.main(["matrix", "--debug"])


def test_every_verb_has_help_with_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 0
    overview = capsys.readouterr().out
    for verb in ("list", "run", "matrix", "diff", "gate"):
        assert f"\n  {verb} " in overview
        assert cli.main([verb, "--help"]) == 0
        assert f"lab {verb}" in capsys.readouterr().out.partition("Example")[2]
    assert cli.main(["--version"]) == 0


def test_help_imports_no_verb() -> None:
    program = (
        "import sys; from lab.cli import main; main(['--help'])\n"
        "heavy = {name for name in sys.modules if name.startswith(('lab.commands.', 'pytest', 'rich', 'pydantic'))}\n"
        "heavy -= {'lab.commands.call'}\n"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    subprocess.run((sys.executable, "-c", program), check=True, capture_output=True)
