from __future__ import annotations

import io
import json
import re
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.errors import UsageError
from lab.matrix.model import FROM, Matrix, MatrixCell
from lab.report import document, html, markdown, terminal
from lab.report.sign import SIGNS, duration, header, href, plain, printable, stamp, words
from lab.report.write import write_reports
from lab.run_record import RecordError
from lab.verdict import Check, Outcome
from tests.unit.report.example import HOSTILE, RUN, example, many

CELL = MatrixCell("x::1", "s", "ntfs", {"driver": "ntfs3", "volume": "v"}, Outcome.PASS)
ANY = st.text(st.characters(), max_size=30)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0.0 s"), (4.12, "4.1 s"), (59.94, "59.9 s"), (59.96, "1 m 00 s"), (80, "1 m 20 s"), (7500, "2 h 05 m")],
)
def test_times_for_people(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_what_acts_is_spelled_out() -> None:
    assert plain("a\x1b[31mb\u202ec\u2028\ud800é✔") == r"a\x1b[31mb\u202ec\u2028\ud800é✔"
    assert plain("a\nb", keep="\n") == "a\nb"
    assert printable("é✔", "ascii") == r"\xe9\u2714"


@pytest.mark.parametrize(
    ("path", "link"),
    [
        ("evidence/a b/x.log", "./evidence/a%20b/x.log"),
        ("javascript:alert(1)", "./javascript%3Aalert%281%29"),
        ("../../etc/passwd", "./etc/passwd"),
        ("//host/x", "./host/x"),
        ('"><b>', "./%22%3E%3Cb%3E"),
        ("\udcff", "./%FF"),
    ],
)
def test_a_link_stays_in_the_folder(path: str, link: str) -> None:
    assert href(path) == link


def test_a_journey_has_an_arrow() -> None:
    assert header(("source", "target", "guest"), ("4.14", "4.20", "")) == "4.14 → 4.20 · none"
    assert header((), ()) == "all"


def test_every_outcome_has_a_glyph_of_its_own() -> None:
    assert len({sign.glyph for sign in SIGNS.values()}) == len({sign.ascii for sign in SIGNS.values()}) == len(Outcome)


def test_known_and_unexpected_are_said_in_words() -> None:
    assert words(replace(CELL, outcome=Outcome.FAIL, finding="wrong-data")) == "fail wrong-data (known)"
    assert words(replace(CELL, outcome=Outcome.FAIL, expected=False)) == "fail"
    assert words(replace(CELL, expected=False)) == "pass (unexpected)"


def test_emulation_is_stamped() -> None:
    assert stamp("tcg") == "emulated (tcg): functional evidence, not performance"
    assert stamp("") == "no host ran"


@settings(max_examples=60, deadline=None)
@given(ANY, ANY, st.sampled_from(Outcome), st.booleans(), st.integers(1, 3))
def test_json_comes_back(name: str, reason: str, outcome: Outcome, expected: bool, attempts: int) -> None:  # noqa: FBT001 - hypothesis hands it over
    cell = MatrixCell(
        f"x::{name}", name, "ntfs", {name: reason}, outcome, reason=reason, expected=expected, seconds=1.25,
        attempts=attempts, checks=(Check(name, outcome, reason, name),), evidence=(reason,),
    )  # fmt: skip
    matrix = Matrix(RUN, (cell,))
    assert document.parse(document.render(matrix)) == matrix


def test_a_file_that_is_no_matrix(tmp_path: Path) -> None:
    file = tmp_path / "base.json"
    with pytest.raises(UsageError) as missing:
        document.read(file)
    assert missing.value.message == f"{file}: cannot be read: No such file or directory"
    file.write_text("[]")
    with pytest.raises(UsageError) as other:
        document.read(file)
    assert other.value.message == f"{file}: not a matrix: a JSON list, not an object"


@settings(max_examples=60, deadline=None)
@given(ANY, ANY)
def test_no_text_breaks_out_of_a_markdown_table(volume: str, reason: str) -> None:
    cell = replace(CELL, axes={"driver": "ntfs3", "volume": volume}, outcome=Outcome.FAIL, reason=reason)
    other = replace(CELL, id="x::2", axes={"driver": "ntfs", "volume": volume})
    lines = markdown.render(Matrix(RUN, (cell, other))).split("\n")
    table = [line for line in lines if line.startswith("|")]
    assert len(table) == 3
    assert {len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)) for line in table} == {4}


@settings(max_examples=60, deadline=None)
@given(ANY, ANY)
def test_no_text_breaks_out_of_the_page(volume: str, reason: str) -> None:
    hostile = volume + HOSTILE + "</script><!--" + reason
    cell = replace(
        CELL, id=f"x::{hostile}", scenario=hostile, axes={hostile: hostile}, outcome=Outcome.FAIL, reason=hostile,
        checks=(Check(hostile, Outcome.FAIL, hostile, hostile),), evidence=(hostile,),
    )  # fmt: skip
    page = html.render(Matrix(replace(RUN, id=hostile, command=hostile, revision=hostile), (cell,)))
    assert page.count("<script") == 2
    assert page.count("</script") == 2
    assert "<img" not in page
    assert "<!--" not in page
    embedded = page.partition('type="application/json">')[2].partition("</script>")[0]
    assert json.loads(embedded)["scenarios"][0]["cells"]


def test_ten_thousand_cells_stay_below_three_megabytes() -> None:
    assert len(html.render(many(10_000)).encode()) <= 3_000_000


def test_a_budget_that_is_overrun_leaves_out_passed_checks_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    said = "To keep this file small it leaves out"
    assert said not in html.render(many(100))
    monkeypatch.setattr("lab.report.packed.BUDGET", 20_000)
    page = html.render(many(100))
    assert f"{said} the values of checks that passed" in page or f"{said} every check that passed" in page
    assert "oops at" in page


def test_the_page_names_no_address_to_load_from() -> None:
    page = html.render(example())
    assert not re.findall(
        r"""(?:src|href)=["']?(?!\./|#|data:)[^"' >]+""", page.partition("<script id=")[0].replace("&lt;img src=x", "")
    )
    assert "@import" not in page
    assert "url(" not in page


@pytest.mark.parametrize("theme", [0, 1])
@pytest.mark.parametrize(
    ("ink", "ground"),
    [
        ("ink", "ground"), ("ink", "paper"), ("ink", "sunk"), ("soft", "ground"), ("soft", "paper"), ("soft", "sunk"),
        ("accent", "paper"), ("pass-ink", "pass"), ("fail-ink", "fail"), ("fail-pale-ink", "fail-pale"),
        ("unsupported-ink", "unsupported"), ("error-ink", "error"), ("skipped-ink", "paper"), ("flaky", "pass"),
        ("pass-ink", "paper"), ("fail-pale-ink", "paper"), ("error-ink", "paper"), ("unsupported-ink", "paper"),
    ],
)  # fmt: skip
def test_text_is_readable_in_both_themes(ink: str, ground: str, theme: int) -> None:
    """WCAG 2 AA: a contrast of at least 4.5."""
    style = (files("lab.report") / "templates" / "matrix.css").read_text()
    pairs = {
        name: re.findall(r"#[0-9a-f]{6}\b", value)
        for name, value in re.findall(r"^  --([\w-]+): (.*);$", style, re.MULTILINE)
    }
    first, second = sorted(
        (_luminance(pairs[name][min(theme, len(pairs[name]) - 1)]) for name in (ink, ground)), reverse=True
    )
    assert (first + 0.05) / (second + 0.05) >= 4.5


def _luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_the_reports_are_written_whole(tmp_path: Path) -> None:
    written = write_reports(tmp_path, example())
    assert {name: path.name for name, path in written.items()} == {
        "json": "matrix.json", "md": "matrix.md", "html": "matrix.html",
    }  # fmt: skip
    assert sorted(path.name for path in tmp_path.iterdir()) == ["matrix.html", "matrix.json", "matrix.md"]
    assert document.read(written["json"]) == example()


def test_a_report_that_cannot_be_written_leaves_the_older_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_reports(tmp_path, example())
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(RecordError) as caught:
        write_reports(tmp_path, many(3))
    assert caught.value.message == f"{tmp_path}/matrix.json: cannot be written: No space left on device"
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_cell_of_another_run_says_so_in_every_report() -> None:
    run = "20261121-020000-*full*"
    cells = example().cells
    carried = tuple(replace(cell, axes={**cell.axes, FROM: run}) for cell in cells[:5])
    matrix = Matrix(RUN, (*carried, *cells[5:]))
    file = io.StringIO()
    terminal.show(matrix, file=file, width=120)
    shown = file.getvalue()
    assert f"functional evidence, not performance\n5 of {len(cells)} cells are of run {run}\n" in shown
    assert shown.count(f"  from run {run}\n") == 3, "two that are not a plain pass, and one that is flaky"
    text = markdown.render(matrix)
    escaped = run.replace("*", "\\*")
    assert f"\n- 5 of {len(cells)} cells are of run {escaped}\n" in text
    assert text.count(f"` (from run {escaped}): ") == 3
    page = html.render(matrix)
    assert f'<p class="fine">5 of {len(cells)} cells are of run {run}</p>' in page
    assert page.count(f"<small>from run <bdi>{run}</bdi></small>") == 3
    packed = json.loads(page.partition('type="application/json">')[2].partition("</script>")[0])
    assert packed["scenarios"][0]["axes"][-1] == FROM, "which the panel of a cell shows as a fact"
    assert packed["scenarios"][0]["rows"] == [0, 1]
    assert html.render(example()).count("are of run") == 0
