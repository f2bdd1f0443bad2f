"""Downtimes come from the evidence of a run into its reports, whatever state the evidence is in."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.checks.downtime import PAUSES, Calibration, Downtime, Iteration, downtime
from lab.matrix.model import Matrix, MatrixCell
from lab.report import html, markdown, terminal
from lab.report.downtime import NOTHING, Unreadable, downtimes, parse, spoken
from lab.report.write import write_reports
from lab.verdict import Outcome
from tests.unit.report.example import HOSTILE, RUN, example, many, measured

FOLDER = "evidence/m.live-1a2b"
CELL = MatrixCell("m.lab.yaml::live", "moves", "migration", {"how": "live"}, Outcome.PASS)
JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
TIMES = st.floats(0, 1e6)


def _example(name: str) -> Downtime:
    found = measured()[f"scenarios/quick.lab.yaml::{name}"]
    assert isinstance(found, Downtime)
    return found


LIVE, SAVED = _example("live-pv"), _example("save-restore-pv")


def _run(folder: Path, text: str | None, *, path: str = f"{FOLDER}/downtime.json") -> Matrix:
    """A run with one cell, whose evidence is this text."""
    place = folder / path
    place.parent.mkdir(parents=True, exist_ok=True)
    if text is not None:
        place.write_text(text, encoding="utf-8")
    return Matrix(RUN, (replace(CELL, evidence=(f"{FOLDER}/domain.xml", path)),))


def _document(change: Callable[[dict[str, Any]], Any] = lambda document: document) -> str:
    return json.dumps(change(LIVE.to_json()))


@given(
    st.lists(st.builds(Iteration, TIMES, TIMES), max_size=40),
    st.lists(st.builds(Calibration, st.sampled_from(PAUSES), TIMES, TIMES, TIMES, TIMES), max_size=3),
    st.text(max_size=8),
)
@settings(max_examples=60, deadline=None)
def test_what_was_written_comes_back(
    iterations: list[Iteration], calibrations: list[Calibration], accelerator: str
) -> None:
    wrote = downtime(iterations, calibrations, accelerator=accelerator)
    assert parse(json.dumps(wrote.to_json())) == wrote


def test_a_measurement_is_found_with_its_cell(tmp_path: Path) -> None:
    assert downtimes(tmp_path, _run(tmp_path, _document())) == {CELL.id: LIVE}


def test_of_several_attempts_the_last_that_measured_counts(tmp_path: Path) -> None:
    paths = [f"{FOLDER}{again}/downtime.json" for again in ("", ".attempt-2", ".attempt-3")]
    matrix = _run(tmp_path, _document(lambda old: old | {"accelerator": "kvm"}), path=paths[0])
    _run(tmp_path, _document(), path=paths[1])
    matrix = Matrix(RUN, (replace(matrix.cells[0], evidence=tuple(paths)),))
    assert downtimes(tmp_path, matrix) == {CELL.id: LIVE}


def test_evidence_that_is_gone_or_was_never_there_is_passed_over(tmp_path: Path) -> None:
    assert downtimes(tmp_path, _run(tmp_path, None)) == NOTHING
    assert downtimes(tmp_path, example()) == NOTHING
    assert html.render(example(), downtimes(tmp_path, example())) == html.render(example())


@pytest.mark.parametrize(
    "path", ["../downtime.json", "evidence/../../downtime.json", "/downtime.json", "downtime.json.bak"]
)
def test_no_file_outside_the_run_is_read(tmp_path: Path, path: str) -> None:
    (tmp_path / "downtime.json").write_text(_document())
    absolute = str(tmp_path / "downtime.json") if path.startswith("/") else path
    matrix = Matrix(RUN, (replace(CELL, evidence=(absolute,)),))
    (tmp_path / "run" / "evidence").mkdir(parents=True)
    assert downtimes(tmp_path / "run", matrix) == NOTHING


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "Expecting value: line 1 column 1 (char 0)"),
        (_document()[:100], "Unterminated string starting at: line 1 column 36 (char 35)"),
        ("[" * 100_000, "it holds no measurement"),
        ("[]", "it holds no measurement"),
        ("7", "it holds no measurement"),
        ("{}", "it lacks 'iterations'"),
        (_document(lambda old: {key: old[key] for key in old if key != "withheld"}), "it lacks 'withheld'"),
        (_document(lambda old: old | {"iterations": {}}), "iterations is no list"),
        (_document(lambda old: old | {"iterations": ["ab"]}), "it holds no measurement"),
        (_document(lambda old: old | {"iterations": [{"guest": 1.0}]}), "it lacks 'network'"),
        (
            _document(lambda old: old | {"iterations": [{"guest": 1, "network": float("nan")}]}),
            "network is nan, which is no time in seconds",
        ),
        (
            _document(lambda old: old | {"iterations": [{"guest": -1, "network": 1}]}),
            "guest is -1, which is no time in seconds",
        ),
        (
            _document(lambda old: old | {"iterations": [{"guest": True, "network": 1}]}),
            "guest is True, which is no time in seconds",
        ),
        (
            _document(lambda old: old | {"iterations": [{"guest": 10**400, "network": 1}]}),
            f"guest is {'1' + '0' * 39}, which is no time in seconds",
        ),
        (_document(lambda old: old | {"withheld": "no"}), "withheld is no list"),
        (_document(lambda old: old | {"withheld": [1]}), "1 is no text"),
        (_document(lambda old: old | {"accelerator": None}), "None is no text"),
        (" " * 1_000_001, "it has more than 1000000 bytes"),
    ],
)
def test_damage_is_said_in_words_and_breaks_no_report(tmp_path: Path, text: str, why: str) -> None:
    matrix = _run(tmp_path, text)
    assert downtimes(tmp_path, matrix) == {CELL.id: Unreadable(why)}
    written = write_reports(tmp_path, matrix)
    assert f"- `live`: downtime.json cannot be read: {why}" in written["md"].read_text().replace("\\", "")
    assert "downtime.json cannot be read: " in written["html"].read_text()


def test_bytes_that_are_no_text_and_files_that_cannot_be_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    matrix = _run(tmp_path, "{}")
    (tmp_path / FOLDER / "downtime.json").write_bytes(b"\xff")
    why = "'utf-8' codec can't decode byte 0xff in position 0: invalid start byte"
    assert downtimes(tmp_path, matrix) == {CELL.id: Unreadable(why)}

    def denied(*_: object, **__: object) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_text", denied)
    assert downtimes(tmp_path, matrix) == {CELL.id: Unreadable("Permission denied")}


@settings(max_examples=100, deadline=None)
@given(JSON | st.fixed_dictionaries(dict.fromkeys(("accelerator", "iterations", "calibrations", "withheld"), JSON)))
def test_any_json_is_a_measurement_or_a_value_error(document: object) -> None:
    with suppress(ValueError):
        assert spoken(parse(json.dumps(document)))


def test_the_reports_of_a_run_show_it(tmp_path: Path) -> None:
    matrix = _run(tmp_path, _document())
    before = (tmp_path / FOLDER / "downtime.json").read_bytes()
    written = write_reports(tmp_path, matrix)
    said = "1.43 s (min 1.10, p95 2.41, max 2.50, n=30), functional only: hosts under tcg"
    assert LIVE.headline == said
    assert f"## Downtime\n\n- `live`: {said}\n" in written["md"].read_text()
    page = written["html"].read_text()
    assert f"<b>{said}</b>" in page
    assert page.count('<svg class="strip"') == 1
    assert (tmp_path / FOLDER / "downtime.json").read_bytes() == before


def test_why_a_figure_is_withheld_is_said_and_what_was_seen_is_shown() -> None:
    page = html.render(example(), measured())
    figures = re.findall(r'<figure class="downtime">.*?</figure>', page, re.DOTALL)
    assert len(figures) == 3
    assert SAVED.withheld == (
        "2 iterations of at least 30",
        "the network meter read 3.500 s of a pause of 5 s (5.000..5.020)",
        "the meters disagree: p50 9.875 s in the guest, 13.500 s on its network",
    )
    by_words = {words: figure for figure in figures for words in ("kvm", "lacks") if words in figure}
    saved = by_words["kvm"]
    assert "<b>The figure is withheld</b> (n=2), because:" in saved
    assert re.findall(r"<li><bdi>(.*?)</bdi></li>", saved) == list(SAVED.withheld)
    assert "accelerated (kvm)" in saved
    assert saved.count("<circle") == 4
    assert "<td>9.50 s</td><td>9.50 s</td><td>10.25 s</td><td>10.25 s</td>" in saved
    assert by_words["lacks"].count("<svg") == 0
    assert "<b>downtime.json cannot be read: it lacks &#39;iterations&#39;</b>" in by_words["lacks"]


def test_markdown_has_a_line_for_each_cell_that_measured() -> None:
    text = markdown.render(example(), measured=measured())
    section = text.partition("## Downtime\n\n")[2].partition("\n\n")[0].split("\n")
    assert [line.partition(": ")[0] for line in section] == [
        "- `save-restore-pv`",
        "- `live-pv`",
        "- `save-restore-pvh`",
    ]
    assert section[0].startswith("- `save-restore-pv`: withheld (n=2): 2 iterations of at least 30; the network meter ")
    assert text.replace("## Downtime\n\n" + "\n".join(section) + "\n\n", "") == markdown.render(example())


def test_a_terminal_shows_it_too(tmp_path: Path) -> None:
    matrix = _run(tmp_path, json.dumps(LIVE.to_json()))
    file = io.StringIO()
    terminal.show(matrix, folder=tmp_path, file=file, width=200)
    assert f"\n\ndowntime of live: {LIVE.headline}\n\n1 cell: 1 pass\n" in file.getvalue()


def test_what_a_measurement_says_is_text() -> None:
    hostile = replace(LIVE, accelerator=HOSTILE, withheld=(HOSTILE + "\u202e\x1b[31m",))
    cell = replace(CELL, id=f"m.lab.yaml::{HOSTILE}")
    page = html.render(Matrix(RUN, (cell,)), {cell.id: hostile})
    assert page.count("<script") == 2
    assert "<img" not in page
    assert "\u202e" not in page
    assert "\x1b" not in page
    assert "\x1b" not in markdown.render(Matrix(RUN, (cell,)), measured={cell.id: hostile})


def test_figures_that_do_not_fit_are_left_out_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = many(400)
    every = {cell.id: LIVE for cell in matrix.cells}
    page = html.render(matrix, every)
    shown = page.count('<figure class="downtime">')
    assert 90 < shown < 400
    assert f"it leaves out the downtime of {400 - shown} cells; downtime.json in the evidence has it." in page
    assert len(page.encode()) < 1_200_000
    assert "leaves out the downtime" not in html.render(example(), measured())
    monkeypatch.setattr(html, "_FIGURES", 0)
    assert '<figure class="downtime">' not in html.render(example(), measured())


def test_a_page_of_ten_thousand_cells_keeps_its_size_with_figures() -> None:
    matrix = many(10_000)
    assert len(html.render(matrix, {cell.id: LIVE for cell in matrix.cells}).encode()) <= 3_000_000
