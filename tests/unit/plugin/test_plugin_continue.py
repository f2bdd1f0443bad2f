"""A run that goes on where another was broken off: what is carried, what is run, what is refused."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from collections.abc import Callable, Mapping
from importlib.resources import files
from pathlib import Path

import jsonschema
import pytest

from lab import cli
from lab.matrix.model import FROM, Matrix
from lab.run_record import RunRecord
from lab.verdict import Outcome
from lab.wait import pause
from tests.unit.plugin.project import LAB, SMALL, Project

Lab = Callable[..., pytest.RunResult]
FILE = "scenarios/small.lab.yaml"
BOOTS = ["boot-4.17-web-pv", "boot-4.17-web-pvh", "boot-4.20-web-pv", "boot-4.20-web-pvh"]
COLD, LIVE = "cold-4.17-to-4.20-web-pv", "live-4.17-to-4.20-web-pv"
LOGGED = "def pytest_unconfigure():\n    Path('log.txt').write_text(str(STAGE.log))"
WORKERS = pytest.mark.parametrize("workers", [(), ("-n", "2")])


def _run(project: Project, *words: str) -> tuple[pytest.RunResult, str]:
    """A session, and the name of the run that it made."""
    run = project.pytester.runpytest_subprocess if "-n" in words else project.pytester.runpytest
    result = run("--lab-retries", "0", *words)
    return result, (project.path / "reports/latest").resolve().name


def _started(project: Project) -> list[str]:
    return sorted(str(event["id"]).partition("::")[2] for event in project.events("started"))


def _origins(project: Project) -> Mapping[str, str]:
    return {cell.name: cell.origin for cell in project.matrix().cells}


@WORKERS
def test_what_is_decided_is_carried_and_the_rest_is_run(project: Project, workers: tuple[str, ...]) -> None:
    project.script(
        """{
    "boot-4.17-web-pv": [Act(judge=GuestError("ssh died")), Act(facts={"kernel_version": "6.1.0-41"})],
    "boot-4.17-web-pvh": Act(prepare=UnsupportedError("no PVH", reason="pvh-unsupported")),
    "boot-4.20-web-pv": failing("same-boot", "7d0c", "1111"),
    "boot-4.20-web-pvh": Act(prepare=HostError("xen-4.20: no answer")),
    "cold-*": Act(Verdict(Outcome.SKIPPED, "no time")),
}"""
    )
    _, first = _run(project, "scenarios", "-k", "not live", "--lab-retries", "1")
    before = {cell.name: cell for cell in project.matrix().cells}
    project.script("{}")
    result, second = _run(project, "scenarios", "--lab-continue", first, *workers)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert _started(project) == [BOOTS[3], COLD, LIVE]
    matrix = project.matrix()
    assert [cell.name for cell in matrix.cells] == [*BOOTS, COLD, LIVE]
    assert _origins(project) == {**dict.fromkeys(BOOTS[:3], first), BOOTS[3]: "", COLD: "", LIVE: ""}
    for name in BOOTS[:3]:
        old, new = before[name].to_json(), project.cell(name).to_json()
        assert new == old | {"axes": {**before[name].axes, FROM: first}}
    assert project.cell(BOOTS[0]).flaky
    assert project.cell(BOOTS[0]).axes["kernel_version"] == "6.1.0-41"
    assert {cell.outcome for cell in matrix.cells[3:]} == {Outcome.PASS}
    assert (matrix.run.id, matrix.run.accelerator) == (second, "tcg")
    assert sorted(host.name for host in matrix.run.hosts) == ["xen-4.17", "xen-4.20"]
    said = [event["carried"] for event in project.events("continues")]
    assert (said, len(project.events("planned")), len(project.events("finished"))) == ([3], 1, 1)
    result.stdout.fnmatch_lines([f"3 of 6 cells are of run {first}"])


def test_the_evidence_of_carried_cells_is_there_when_the_old_run_is_not(project: Project) -> None:
    project.script("""{"*-pvh": failing("a", "b", "c")}""")
    _, first = _run(project, "scenarios", "-k", "boot")
    old = project.path / "reports" / first
    links = [(path.relative_to(old), path.stat().st_ino, path.read_text()) for path in old.glob("evidence/*/*")]
    _run(project, "scenarios", "-k", "live", "--lab-continue", first)
    folder = project.path / "reports/latest"
    assert [(folder / path).stat().st_ino for path, _, _ in links] == [inode for _, inode, _ in links]
    subprocess.run(("rm", "-rf", old), check=True)
    assert [(folder / path).read_text() for path, _, _ in links] == [text for _, _, text in links]
    for cell in project.matrix().cells:
        assert cell.evidence
        assert all((folder / path).is_file() for path in cell.evidence)


def test_three_selections_make_one_whole_matrix(project: Project) -> None:
    moves, boots = SMALL.split("---\n")[::-1]
    project.write("scenarios/late.lab.yaml", boots)
    project.write(FILE, f"{moves}---\n{boots}")
    runs: list[str] = []
    for expression in ("cold or pvh", "live", "not (cold or pvh or live)"):
        more = ("--lab-continue", runs[-1]) if runs else ("scenarios",)
        result, name = _run(project, "-k", expression, *more)
        assert result.ret == pytest.ExitCode.OK
        runs.append(name)
    # The whole files again, in their own order, as if it had been one run.
    whole = [
        *(
            (f"{stem}.lab.yaml", name)
            for stem, names in (("late", BOOTS), ("small", [COLD, LIVE, *BOOTS]))
            for name in names
        )
    ]
    assert [(Path(cell.id.partition("::")[0]).name, cell.name) for cell in project.matrix().cells] == whole
    assert {cell.outcome for cell in project.matrix().cells} == {Outcome.PASS}
    counts = [sum(cell.origin == run for cell in project.matrix().cells) for run in (*runs[:2], "")]
    assert counts == [5, 1, 4]
    assert project.events("continues")[0]["run"] == runs[1]


def test_a_file_of_which_nothing_was_run_is_not_forgotten(project: Project) -> None:
    project.write("scenarios/late.lab.yaml", SMALL.partition("---\n")[0])
    project.script("""{"*": Act(prepare=HostError("gone"))}""")
    _, first = _run(project, "scenarios")
    project.script("{}")
    _, second = _run(project, "-k", "live", "--lab-continue", first)
    assert list(_origins(project)) == [LIVE]
    _run(project, "--lab-continue", second)
    assert [cell.origin for cell in project.matrix().cells] == [""] * 9 + [second]


@WORKERS
def test_a_run_of_which_all_is_decided_runs_nothing_and_is_whole(project: Project, workers: tuple[str, ...]) -> None:
    project.script("""{"live-*": failing("a", "b", "c")}""", more=LOGGED)
    _, first = _run(project, "scenarios")
    result, second = _run(project, "scenarios", "--lab-continue", first, *workers)
    assert second != first
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert (project.events("started"), project.events("start")) == ([], [])
    assert set(_origins(project).values()) == {first}
    if workers:
        return
    assert (project.path / "log.txt").read_text() == "[]"
    result, _ = _run(project, "scenarios", "-k", "boot", "--lab-continue", first)
    assert result.ret == pytest.ExitCode.TESTS_FAILED, "the carried failure counts though nobody selected it"
    assert len(project.matrix().cells) == 6


@WORKERS
def test_a_selection_that_matches_nothing_makes_no_record(project: Project, workers: tuple[str, ...]) -> None:
    _, first = _run(project, "scenarios", "-k", "boot")
    result, latest = _run(project, "scenarios", "-k", "nothing", "--lab-continue", first, *workers)
    assert result.ret == pytest.ExitCode.NO_TESTS_COLLECTED
    assert latest == first


def test_cells_that_ask_for_something_else_now_are_run_again(project: Project) -> None:
    _, first = _run(project, "scenarios")
    project.write(
        FILE, SMALL.replace("type: [pv, pvh]", "type: [pv, pvh], memory: 512M").replace("[cold, live]", "live")
    )
    result, second = _run(project, "scenarios", "-k", "pvh or live", "--lab-continue", first)
    assert _started(project) == [BOOTS[1], BOOTS[3]]
    assert _origins(project) == {BOOTS[1]: "", BOOTS[3]: "", LIVE: first}
    notes = [
        f"2 cells ({BOOTS[1]}, {BOOTS[3]}) run again: changed since run {first}",
        f"2 cells ({BOOTS[0]}, {BOOTS[2]}) left out: changed since run {first}, and not selected now",
        f"1 cell ({COLD}) left out: in no scenario file any more",
    ]
    assert project.events("continues")[0]["notes"] == notes
    result.stdout.fnmatch_lines([f"note: {note}".replace("[", "[[]") for note in notes])
    result, _ = _run(project, "scenarios", "--lab-continue", second, "--lab-iterations", "3")
    assert _started(project) == [BOOTS[0], BOOTS[2], LIVE]
    assert project.events("continues")[0]["notes"] == [f"1 cell ({LIVE}) run again: changed since run {second}"]


def test_limits_count_and_places_and_titles_do_not(project: Project) -> None:
    _, first = _run(project, "scenarios")
    text = "# a comment\n" + SMALL.replace("scenario: small", "scenario: as small as before")
    project.write(FILE, f"{text}limits: {{network_gap: 9s}}\n")
    _run(project, "scenarios", "--lab-continue", first)
    assert _started(project) == [COLD, LIVE]
    assert [cell.scenario for cell in project.matrix().cells] == ["as small as before"] * 4 + ["moves"] * 2


def _without_fingerprints(folder: Path) -> None:
    """The record as a lab before this one would have written it."""
    record = folder / "run.jsonl"
    record.write_text(re.sub(r', "fingerprint": "\w+"', "", record.read_text()))


def test_a_record_without_fingerprints_is_known_by_axes(project: Project) -> None:
    _, first = _run(project, "scenarios", "--lab-iterations", "3")
    _without_fingerprints(project.path / "reports" / first)
    project.write(FILE, SMALL.replace("userland: i386, type", "userland: amd64, type"))
    _run(project, "scenarios", "--lab-continue", first)
    assert _started(project) == [*BOOTS, LIVE]
    assert project.events("continues")[0]["notes"][1:] == [  # type: ignore[index] # a list of texts
        f"run {first} does not say what its cells asked for, so they are known by their axes alone"
    ]


KNOWN = "known:\n- {{cell: '*::boot-*', link: 'https://bugs.example.org/1', expires: {}, because: b}}\n"


def test_what_is_accepted_is_what_is_so_today(project: Project) -> None:
    project.script("""{"boot-*": failing("a", "b", "c")}""")
    _, first = _run(project, "scenarios")
    project.write("scenarios/known.yaml", KNOWN.format("2999-01-31"))
    result, second = _run(project, "scenarios", "--lab-continue", first)
    assert result.ret == pytest.ExitCode.OK
    reason = "a: fail (expected b, observed c)"
    accepted = "accepted until 2999-01-31: https://bugs.example.org/1"
    assert {(cell.reason, cell.expected) for cell in project.matrix().cells[:4]} == {(f"{reason}; {accepted}", True)}
    project.write("scenarios/known.yaml", KNOWN.format("2001-01-31"))
    result, _ = _run(project, "scenarios", "--lab-continue", second)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    over = "accepted only until 2001-01-31: https://bugs.example.org/1"
    assert {cell.reason for cell in project.matrix().cells[:4]} == {f"{reason}; {accepted}; {over}"}


KVM = "STAGE.accelerator = 'kvm'"


@WORKERS
def test_results_of_two_accelerators_are_not_mixed(project: Project, workers: tuple[str, ...]) -> None:
    _, first = _run(project, "scenarios", "-k", "boot and 4.17")
    project.script("{}", more=KVM)
    result, second = _run(project, "scenarios", "--lab-continue", first, *workers)
    assert result.ret == 2
    why = (
        f"run {first} was made under tcg, and hosts run under kvm now; one matrix does not mix the two, for what holds"
        " under the one need not hold under the other"
    )
    assert f"error: {why}\n  hint: LAB_ACCELERATOR=tcg goes on as it began; without --continue a run of its own" in (
        result.stdout.str()
    )
    result.stdout.no_fnmatch_line("*┏*")
    assert project.matrix().run.accelerator == "tcg"
    tried = [cell for cell in project.matrix().cells if not cell.origin and cell.judged]
    assert {(cell.outcome, cell.reason.partition("\n")[0]) for cell in tried} == {(Outcome.ERROR, f"error: {why}")}
    # Nothing is lost: where the accelerator is right again, either run goes on.
    project.script("{}")
    result, _ = _run(project, "scenarios", "--lab-continue", second)
    assert result.ret == pytest.ExitCode.OK
    assert list(_origins(project).values()) == [first, first, "", "", "", ""]


def test_another_accelerator_may_run_what_the_first_never_decided(project: Project) -> None:
    project.script("""{"*": Act(prepare=HostError("gone"))}""")
    _, first = _run(project, "scenarios")
    project.script("{}", more=KVM)
    result, _ = _run(project, "--lab-continue", first)
    assert result.ret == pytest.ExitCode.OK
    assert project.matrix().run.accelerator == "kvm"


def test_hosts_of_both_runs_are_there_once(project: Project) -> None:
    _, first = _run(project, "scenarios", "-k", "boot and 4.17 and pvh")
    facts = "'xen-4.17', 'embedded', '4.17.9', '11.3.0', '6.12.57-amd64', ''"
    newer = f"from lab.matrix.model import HostFacts\nSTAGE._hosts['xen-4.17'] = HostFacts({facts})"
    project.script("{}", more=newer)
    _, second = _run(project, "scenarios", "-k", "boot and 4.17", "--lab-continue", first)
    assert [(host.name, host.xen) for host in project.matrix().run.hosts] == [
        ("xen-4.17", "4.17"),
        ("xen-4.17", "4.17.9"),
    ]
    _run(project, "scenarios", "--lab-continue", second)
    assert [(host.name, host.xen) for host in project.matrix().run.hosts] == [
        ("xen-4.17", "4.17"),
        ("xen-4.17", "4.17.9"),
        ("xen-4.20", "4.20"),
    ]


def test_evidence_that_is_gone_and_another_revision_are_said(project: Project) -> None:
    _, first = _run(project, "scenarios", "-k", "boot")
    old = project.path / "reports" / first
    subprocess.run(("rm", "-rf", *old.glob("evidence/small.boot-4.17-web-pv-*")), check=True)
    record = old / "run.jsonl"
    record.write_text(re.sub('"revision": "[^"]*"', '"revision": "0f0f0f0"', record.read_text()))
    result, _ = _run(project, "scenarios", "-k", "live", "--lab-continue", first)
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(
        [
            f"note: 1 cell ({BOOTS[0]}) carried without evidence, which is gone from run {first}",
            f"note: run {first} is of revision 0f0f0f0, this one of crossroads-lab *",
        ]
    )


def test_named_cells_are_run_and_the_rest_is_carried(project: Project) -> None:
    _, first = _run(project, "scenarios", "-k", "boot")
    result, _ = _run(project, f"{FILE}::{COLD}", f"{FILE}::{BOOTS[0]}", "--lab-continue", first)
    assert _started(project) == [COLD]
    assert list(_origins(project)) == [*BOOTS, COLD]
    said = f"run {first} goes on: of the selected cells 1 have verdicts, and are carried"
    result.stdout.fnmatch_lines(["collected 2 items / 1 deselected / 1 selected", said])


def test_collecting_alone_makes_no_record(project: Project) -> None:
    _, first = _run(project, "scenarios", "-k", "boot")
    result, latest = _run(project, "--collect-only", "-q", "--lab-continue", first)
    assert [line for line in result.outlines if "::" in line] == [f"{FILE}::{COLD}", f"{FILE}::{LIVE}"]
    assert latest == first


# ---- the command ----


def test_the_command_goes_on_with_progress_that_counts_what_is_run(project: Project, lab: Lab) -> None:
    project.script("""{"*-pvh": failing("a", "b", "c")}""")
    _, first = _run(project, "scenarios", "-k", "boot")
    result = lab("run", "--continue", "latest", "-n", "2")
    assert result.ret == 1, "a carried failure is one of the new matrix"
    assert result.errlines[0] == f"carried 4 from run {first}"
    assert [line[:10] for line in result.errlines[1:]] == ["[1/2] pass", "[2/2] pass"]
    result.stdout.fnmatch_lines(
        [f"4 of 6 cells are of run {first}", f"✘ fail  {BOOTS[1]}  * s  from run {first}", "6 cells: 4 pass, 2 fail"]
    )
    folder = project.path / "reports/latest"
    assert f"- 4 of 6 cells are of run {first}\n" in (folder / "matrix.md").read_text()
    assert f"`{BOOTS[1]}` (from run {first}): a: fail" in (folder / "matrix.md").read_text()
    page = (folder / "matrix.html").read_text()
    assert f'<p class="fine">4 of 6 cells are of run {first}</p>' in page
    assert page.count(f"<small>from run <bdi>{first}</bdi></small>") == 2


def test_its_matrix_is_one_for_every_reader(project: Project, lab: Lab) -> None:
    project.script("""{"live-*": Act(facts={"preflight": "go"})}""")
    _, whole = _run(project, "scenarios")
    _run(project, "scenarios", "-k", "live")
    assert _run(project, "scenarios", "--lab-continue", "latest")[0].ret == pytest.ExitCode.OK
    document = json.loads((project.path / "reports/latest/matrix.json").read_text())
    jsonschema.validate(document, json.loads(files("lab.matrix").joinpath("matrix.schema.json").read_text()))
    assert set(document["cells"][0]) == set(document["cells"][-1]), "not a field more than others have"
    assert Matrix.from_json(document).cells[-1].origin
    assert lab("gate", "--baseline", whole).outlines == ["yes"]
    assert lab("diff", whole, "latest").outlines == ["6 cells: 6 same"]
    scored = lab("preflight", "--score", "latest", "--json")
    assert (scored.ret, json.loads(scored.stdout.str())["table"]["go"]["pass"]) == (0, 1)


def test_an_interrupted_run_says_how_to_go_on_and_does(project: Project, lab: Lab) -> None:
    project.script(f"""{{"{BOOTS[2]}": Act(seconds=60)}}""")
    with subprocess.Popen((LAB, "run"), cwd=project.path, stderr=subprocess.PIPE, text=True) as session:
        record = project.path / "reports/latest/run.jsonl"
        for _ in range(600):
            if record.exists() and f'"started", "id": "{FILE}::{BOOTS[2]}"' in record.read_text():
                break
            pause(0.05)
        name = record.parent.resolve().name
        early = lab("run", "--continue", "latest")
        session.send_signal(signal.SIGINT)
        _, said = session.communicate(timeout=60)
    assert (early.ret, early.errlines) == (
        2,
        [f"error: run {name}: it is still being written", "  hint: wait until it has ended, or end it first"],
    )
    hint = said.splitlines()[-1]
    assert hint == f"  hint: the same command with `--continue reports/{name}` runs the rest"
    project.script("{}")
    result = lab("run", *hint.split("`")[1].split())
    assert result.ret == 0
    assert _started(project) == sorted([*BOOTS[2:], COLD, LIVE])
    assert [line for line in result.errlines if "carried" in line] == [f"carried 2 from run {name}"]
    result.stdout.fnmatch_lines(["6 cells: 6 pass"])


def test_a_killed_run_can_be_continued(project: Project, lab: Lab) -> None:
    project.script(f"""{{"{BOOTS[2]}": Act(seconds=60)}}""")
    with subprocess.Popen((LAB, "run"), cwd=project.path, stderr=subprocess.DEVNULL) as session:
        record = project.path / "reports/latest/run.jsonl"
        for _ in range(600):
            if record.exists() and f'"started", "id": "{FILE}::{BOOTS[2]}"' in record.read_text():
                break
            pause(0.05)
        session.kill()
    project.script("{}")
    assert lab("run", "--continue", "latest", "-k", "boot").ret == 0
    assert [bool(origin) for origin in _origins(project).values()] == [True, True, False, False]


def _no_scenario(project: Project) -> str:
    with RunRecord.create(project.path / "reports", command="lab prove", revision="", run_id="proofs") as record:
        record.planned([])
    return record.id


def _no_record(project: Project) -> str:
    project.write("reports/odd/run.jsonl", "{}\n")
    return "odd"


def _file_gone(project: Project) -> str:
    (project.path / FILE).rename(project.path / "elsewhere.lab.yaml")
    return "mine"


REFUSED: Mapping[str, tuple[Callable[[Project], str], list[str]]] = {
    "no run": (lambda _: "mien", ["error: no run 'mien'; known: mine", "  hint: did you mean 'mine'?"]),
    "empty": (lambda _: "", ["error: no run ''; known: mine"]),
    "a file": (
        lambda _: "reports/mine/matrix.json",
        ["error: reports/mine/matrix.json: a file, not a run", "  hint: name its folder: reports/mine"],
    ),
    "no cell of a scenario": (
        _no_scenario,
        [
            "error: run proofs: none of its cells is of a scenario file",
            "  hint: what can be continued are runs of `lab run` and of pytest; one of `lab ntfs compare` by itself",
        ],
    ),
    "no record": (
        _no_record,
        ["error: {root}/reports/odd/run.jsonl: not a record of a run: no line says which run it is"],
    ),
    "a file gone": (
        _file_gone,
        [
            "error: run mine: no longer there: scenarios/small.lab.yaml",
            "  hint: they were looked for in {root}; name the scenario files to go on with",
        ],
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_continued_ends_with_2_and_leaves_no_record(
    project: Project, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    _, first = _run(project, "scenarios", "-k", "cold")
    mine = project.path / "reports/mine"
    (project.path / "reports" / first).rename(mine)
    record = mine / "run.jsonl"
    record.write_text(record.read_text().replace(first, "mine"))
    make, said = REFUSED[name]
    unfinished = make(project)
    there = sorted(path.name for path in (project.path / "reports").iterdir())
    capsys.readouterr()
    assert cli.main(["run", "--continue", unfinished]) == 2
    assert capsys.readouterr().err.splitlines() == [line.format(root=project.path) for line in said]
    assert sorted(path.name for path in (project.path / "reports").iterdir()) == there


def test_without_any_run_there_is_nothing_to_continue(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run", "--continue", "latest"]) == 2
    said = f"error: {project.path}/reports: no run is recorded there\n  hint: `lab run` makes one\n"
    assert capsys.readouterr().err == said


@WORKERS
def test_plain_pytest_refuses_in_the_same_words(project: Project, workers: tuple[str, ...]) -> None:
    _, first = _run(project, "scenarios", "-k", "cold")
    plain = project.pytester.runpytest_subprocess("--lab-continue=nix", *workers)
    assert plain.ret == 2
    assert plain.errlines == [f"Exit: error: no run 'nix'; known: {first}"]


def test_files_that_are_gone_do_not_matter_where_the_user_names_others(project: Project, lab: Lab) -> None:
    project.write("scenarios/late.lab.yaml", SMALL.partition("---\n")[0])
    _, first = _run(project, "scenarios")
    (project.path / "scenarios/late.lab.yaml").unlink()
    result = lab("run", "--continue", "latest", "scenarios")
    assert result.ret == 0
    assert len(project.matrix().cells) == 6
    names = ", ".join(BOOTS)
    result.stdout.fnmatch_lines([f"note: 4 cells ({names}) left out: in no scenario file any more"])
    assert f"carried 6 from run {first}" in result.errlines


def test_a_mistake_in_a_file_that_is_only_carried_is_one(project: Project, lab: Lab) -> None:
    project.write("scenarios/late.lab.yaml", SMALL.partition("---\n")[0])
    _run(project, "scenarios", "-k", "boot")
    project.write("scenarios/late.lab.yaml", "scenario: late\nbogus: 1\n")
    result = lab("run", "--continue", "latest", FILE)
    assert result.ret == 2
    assert "scenarios/late.lab.yaml:2:1: unknown key 'bogus'" in result.stderr.str()
    assert len(list((project.path / "reports").glob("2*"))) == 1


def test_it_goes_on_from_below_the_root_too(project: Project) -> None:
    _, first = _run(project, "scenarios", "-k", "boot")
    below = project.path / "scenarios"
    words = (LAB, "run", "--continue", f"../reports/{first}", "--reports", "../reports")
    done = subprocess.run(words, cwd=below, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert list(_origins(project).values()) == [first] * 4 + [""] * 2
