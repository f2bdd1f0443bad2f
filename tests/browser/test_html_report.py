"""The HTML report in a real browser."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from lab.matrix.model import Matrix
from lab.report import html
from lab.report.downtime import NOTHING, Measured, spoken
from tests.browser.chromium import Page, chromium, open_page
from tests.unit.report.example import HOSTILE, LONG, all_skipped, empty, example, many, measured

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(chromium() is None, reason="no Chromium here: Debian's package is chromium"),
]

FOCUS = "document.activeElement.getAttribute('aria-label')"
ROWS = "[...document.querySelectorAll('section[aria-label^=NTFS] tbody th')].map(th => th.textContent)"
SQUARES = "document.querySelectorAll('td .tile').length"


@pytest.fixture(scope="module")
def browser() -> Iterator[Page]:
    with open_page() as page:
        yield page


@pytest.fixture
def show(browser: Page, tmp_path: Path) -> Iterator[Page]:
    browser.emulate()
    browser.requests.clear()
    browser.complaints.clear()
    yield _shown(browser, tmp_path, example())
    assert browser.complaints == []


def _shown(browser: Page, folder: Path, matrix: Matrix, measured: Mapping[str, Measured] = NOTHING) -> Page:
    file = folder / "matrix.html"
    file.write_bytes(html.render(matrix, measured).encode("utf-8", "backslashreplace"))
    browser.open(file.as_uri())
    return browser


def test_the_page_asks_for_nothing_but_itself(show: Page, tmp_path: Path) -> None:
    show.run("document.querySelectorAll('td .tile').forEach(tile => tile.click())")
    show.emulate(dark=True, print_=True)
    show.run("new Promise(done => setTimeout(done, 200))")
    assert show.requests == [(tmp_path / "matrix.html").as_uri()]


def test_a_request_would_be_seen_and_is_forbidden(show: Page) -> None:
    show.run("document.body.append(Object.assign(new Image(), {src: 'http://127.0.0.1:9/x.png'}))")
    show.wait("true")
    show.run("new Promise(done => setTimeout(done, 200))")
    assert any("Content Security Policy" in complaint for complaint in show.complaints)
    show.complaints.clear()


def test_hostile_text_is_text(show: Page) -> None:
    assert show.run("document.images.length") == 0
    assert show.run("document.scripts.length") == 2
    assert HOSTILE in show.run(ROWS)
    assert LONG in show.run(ROWS)


def test_every_cell_has_its_square_with_glyph_and_word(show: Page) -> None:
    assert show.run(SQUARES) == 18
    words = show.run("[...document.querySelectorAll('td .tile')].map(tile => tile.textContent)")
    assert words[:6] == [
        "✔pass41.2 s",
        "✘fail44.9 s",
        "✔pass↻ flaky33.0 s",
        "!error12.0 s",
        "✔pass58.7 s",
        "∅unsupported9.1 s",
    ]
    assert (
        show.run("document.querySelector('td .nothing').title")
        == "not tried: the scenario or the selection leaves it out"
    )


def test_the_grid_has_roles_and_names(show: Page) -> None:
    assert show.run("document.querySelectorAll('[role=grid] [role=row] > [role=gridcell][aria-label]').length") == 25
    assert show.run("document.querySelectorAll('td[tabindex=\"0\"]').length") == 3
    assert show.run("[...document.querySelectorAll('[role=grid]')].every(grid => grid.getAttribute('aria-label'))")


def test_arrow_keys_move_enter_opens_and_escape_closes(show: Page) -> None:
    show.run("document.querySelector('section[aria-label^=NTFS] td').focus()")
    assert show.run(FOCUS) == "clean; ntfs3, trixie-6.12: pass"
    show.press("ArrowDown")
    show.press("ArrowRight")
    assert show.run(FOCUS) == "compressed; ntfs, forky-7.2: fail wrong-data (known)"
    show.press("Enter")
    assert show.run("document.getElementById('panel').hidden") is False
    assert show.run("document.activeElement.id") == "panel-title"
    panel = show.run("document.getElementById('panel').innerText")
    assert "sha256 0f0f of 'notes.txt'" in panel
    assert "known until 2027-01-31" in panel
    assert show.run("[...document.querySelectorAll('#panel mark')].map(mark => mark.textContent)") == ["0", "1"]
    assert show.run("document.querySelector('#panel a').getAttribute('href')").startswith("./evidence/")
    show.press("Escape")
    assert show.run("document.getElementById('panel').hidden") is True
    assert show.run(FOCUS) == "compressed; ntfs, forky-7.2: fail wrong-data (known)"
    show.press("Home")
    assert show.run(FOCUS) == "compressed; ntfs3, trixie-6.12: fail wrong-data"
    show.press("End")
    assert show.run(FOCUS) == "compressed; ntfs-3g, trixie-6.12: pass"


def test_arrows_go_from_table_to_table_and_the_open_panel_follows(show: Page) -> None:
    show.run("document.querySelector('td').click()")
    assert "cold-pv" in show.run("document.getElementById('panel').innerText")
    show.press("ArrowDown")
    assert show.run(FOCUS) == "web32; 4.14: pass (unexpected)"
    assert "modules-xen-4.14" in show.run("document.getElementById('panel').innerText")


def test_a_slash_focuses_the_filter_and_words_narrow_the_tables(show: Page) -> None:
    show.press("/")
    assert show.run("document.activeElement.id") == "text"
    show.type("NTFS3 wrong")
    show.wait("document.getElementById('status').textContent === '1 of 18 cells'")
    assert show.run(SQUARES) == 1
    assert show.run(ROWS) == ["compressed"]
    show.type(" nonsense")
    show.wait("!document.getElementById('none').hidden")
    show.press("Escape")
    show.wait("document.getElementById('status').textContent === '18 cells'")
    assert show.run(SQUARES) == 18


def test_outcomes_can_be_hidden(show: Page) -> None:
    chip = "[...document.querySelectorAll('#outcomes button')].find(button => button.textContent.includes('{}'))"
    show.run(chip.format("pass") + ".click()")
    assert show.run("document.getElementById('status').textContent") == "9 of 18 cells"
    assert show.run(chip.format("pass") + ".getAttribute('aria-pressed')") == "false"
    show.run(chip.format("flaky") + ".click()")
    assert show.run(SQUARES) == 8
    show.run("document.getElementById('clear').click()")
    assert show.run(SQUARES) == 18


def test_an_axis_narrows_to_its_value(show: Page) -> None:
    show.run("(s => {s.value = '=ntfs-3g'; s.dispatchEvent(new Event('change'))})"
             "(document.querySelector('#axes select[aria-label=\"Only driver\"]'))")  # fmt: skip
    assert show.run(SQUARES) == 3


def _choose(page: Page, label: str, value: str) -> None:
    page.run(
        f"(s => {{s.value = {value!r}; s.dispatchEvent(new Event('change'))}})([...document.querySelectorAll("
        "'section[aria-label^=NTFS] .layout label')]"
        f".find(label => label.textContent.startsWith({label!r})).querySelector('select'))"
    )


def test_rows_and_columns_are_the_readers_choice(show: Page) -> None:
    _choose(show, "Rows", "1")
    assert show.run(ROWS) == ["ntfs3", "ntfs", "ntfs-3g"]
    heads = "[...document.querySelectorAll('section[aria-label^=NTFS] thead th')].map(th => th.textContent)"
    assert show.run(heads) == ["driver", "trixie-6.12", "forky-7.2"]
    assert "✘ 2 fail" in show.run("document.querySelector('section[aria-label^=NTFS] td').textContent")
    show.run("document.querySelector('section[aria-label^=NTFS] td').click()")
    assert show.run("document.querySelectorAll('#panel .one').length") == 4


def test_rows_can_be_sorted(show: Page) -> None:
    _choose(show, "Sort", "worst")
    assert show.run(ROWS)[:2] == ["compressed", HOSTILE]
    _choose(show, "Sort", "name")
    assert show.run(ROWS)[-3] == "compressed"
    column = "document.querySelectorAll('section[aria-label^=NTFS] thead button')[0]"
    show.run(f"{column}.click()")
    assert show.run(ROWS)[0] == "compressed"
    assert show.run(f"{column}.closest('th').getAttribute('aria-sort')") == "ascending"
    show.run(f"{column}.click()")
    assert show.run(ROWS)[-1] in {"compressed", HOSTILE}


def test_light_and_dark(show: Page) -> None:
    colour = "getComputedStyle(document.body).backgroundColor"
    light = show.run(colour)
    show.emulate(dark=True)
    dark = show.run(colour)
    assert light != dark
    show.run("document.getElementById('theme').click()")
    assert show.run("document.getElementById('theme').textContent") == "Theme: light"
    assert show.run(colour) == light
    show.run("document.getElementById('theme').click()")
    show.emulate(dark=False)
    assert show.run(colour) == dark
    show.run("document.getElementById('theme').click()")


def test_a_link_to_a_cell_opens_it(show: Page, tmp_path: Path) -> None:
    show.run("document.querySelectorAll('td')[1].click()")
    fragment = show.run("location.hash")
    assert fragment == "#cell=scenarios%2Fquick.lab.yaml%3A%3Acold-pvh"
    show.open("about:blank")
    show.open((tmp_path / "matrix.html").as_uri() + fragment)
    assert "at most 5.0 s" in show.run("document.getElementById('panel').innerText")


def test_a_narrow_screen_scrolls_only_inside_the_tables(show: Page) -> None:
    show.emulate(width=390, height=800)
    assert show.run("document.documentElement.scrollWidth") == 390


def test_on_paper_everything_is_there_and_nothing_to_press(show: Page) -> None:
    show.emulate(print_=True)
    assert show.run("getComputedStyle(document.getElementById('tools')).display") == "none"
    assert show.run("getComputedStyle(document.querySelector('.frame')).overflow") == "visible"


FIGURE = "document.querySelector('#panel figure.downtime')"
OPEN = "[...document.querySelectorAll('td')].find(td => td.cells?.some(cell => cell.name === {!r})).click()"


@pytest.fixture
def figures(browser: Page, tmp_path: Path) -> Iterator[Page]:
    browser.emulate()
    browser.complaints.clear()
    browser.requests.clear()
    matrix, found = example(), measured()
    # As a stage tells it: beside the evidence there is a fact of the same name.
    cells = [replace(c, axes={**c.axes, "downtime": spoken(found[c.id])}) if c.id in found else c for c in matrix.cells]
    yield _shown(browser, tmp_path, replace(matrix, cells=tuple(cells)), found)
    assert browser.complaints == []
    assert browser.requests == [(tmp_path / "matrix.html").as_uri()]


def test_a_cell_shows_its_downtime_as_a_plot(figures: Page) -> None:
    assert figures.run("getComputedStyle(document.querySelector('.downtimes')).display") == "none"
    figures.run(OPEN.format("live-pv"))
    dots = figures.run(f"[...{FIGURE}.querySelectorAll('circle')].map(dot => dot.getBoundingClientRect().toJSON())")
    assert len(dots) == 60
    left, right = figures.run(f"(box => [box.left, box.right])({FIGURE}.querySelector('svg').getBoundingClientRect())")
    assert all(left <= dot["left"] < dot["right"] <= right and dot["width"] > 4 for dot in dots)
    assert figures.run(f"getComputedStyle({FIGURE}.querySelector('circle')).fill") == "rgb(67, 56, 202)"
    assert figures.run(f"{FIGURE}.querySelector('svg').getAttribute('aria-label')") == "downtime of live-pv"
    text = figures.run(f"{FIGURE}.innerText")
    assert "emulated (tcg): functional evidence, not performance" in text
    assert "1.43 s (min 1.10, p95 2.41, max 2.50, n=30), functional only: hosts under tcg" in text
    assert "network\t1.14 s\t1.49 s\t2.46 s\t2.56 s" in text
    assert "withheld" not in text
    assert figures.run("document.getElementById('panel').innerText").count("n=30") == 1


def test_a_figure_that_is_withheld_says_why_in_words(figures: Page) -> None:
    figures.run(OPEN.format("save-restore-pv"))
    assert figures.run(f"[...{FIGURE}.querySelectorAll('li')].map(item => item.textContent)") == [
        "2 iterations of at least 30",
        "the network meter read 3.500 s of a pause of 5 s (5.000..5.020)",
        "the meters disagree: p50 9.875 s in the guest, 13.500 s on its network",
    ]
    assert figures.run(f"{FIGURE}.querySelectorAll('circle').length") == 4
    figures.run(OPEN.format("save-restore-pvh"))
    assert figures.run(f"{FIGURE}.innerText").strip() == "downtime.json cannot be read: it lacks 'iterations'"
    figures.run(OPEN.format("cold-pv"))
    assert figures.run(f"{FIGURE} === null")


def test_a_plot_fits_a_narrow_screen_and_shows_in_the_dark(figures: Page) -> None:
    figures.emulate(dark=True, width=390, height=800)
    figures.run(OPEN.format("live-pv"))
    figures.run("Promise.all(document.getAnimations().map(animation => animation.finished)).then(() => true)")
    assert figures.run(f"{FIGURE}.querySelector('svg').getBoundingClientRect().right") <= 390
    assert figures.run("document.getElementById('panel').scrollWidth") <= 390
    assert figures.run(f"getComputedStyle({FIGURE}.querySelector('circle')).fill") == "rgb(165, 160, 255)"


def test_on_paper_every_plot_is_there(figures: Page) -> None:
    figures.emulate(print_=True)
    assert figures.run("getComputedStyle(document.querySelector('.downtimes')).display") == "block"
    assert figures.run("[...document.querySelectorAll('.downtimes h3')].map(title => title.textContent)") == [
        "save-restore-pv",
        "live-pv",
        "save-restore-pvh",
    ]


def test_ten_thousand_cells_all_get_drawn_and_filter(browser: Page, tmp_path: Path) -> None:
    browser.emulate()
    _shown(browser, tmp_path, many(10_000))
    browser.wait(f"{SQUARES} === 10000")
    browser.run("document.getElementById('text').focus()")
    browser.type("volume-0123 driver7-")
    browser.wait("document.getElementById('status').textContent === '1 of 10000 cells'")
    assert browser.run(SQUARES) == 1


def test_a_matrix_without_cells_says_so(browser: Page, tmp_path: Path) -> None:
    browser.emulate()
    _shown(browser, tmp_path, empty())
    assert (
        browser.run("document.querySelector('main').innerText").strip() == "no cell was planned, so nothing was tried"
    )
    _shown(browser, tmp_path, all_skipped())
    assert (
        browser.run("document.querySelector('.sentence').innerText") == "all 2 cells were skipped, so nothing was tried"
    )


def test_without_scripts_the_tables_are_plain_html(tmp_path: Path) -> None:
    file = tmp_path / "matrix.html"
    file.write_text(html.render(example(), measured()), encoding="utf-8")
    with open_page() as page:
        page.without_scripts()
        page.call("Page.navigate", url=file.as_uri())
        text = _text_without_scripts(page)
    assert "4.14 → 4.20" in text
    assert "✘ fail wrong-data (known)" in text
    assert "xen-4.20: no space left on device" in text
    assert "downtime of live-pv" in text
    assert "2 iterations of at least 30" in text


def _text_without_scripts(page: Page) -> str:
    """The page's text off the accessibility tree: with scripts off nothing can be evaluated in it."""
    for _ in range(200):
        nodes = page.call("Accessibility.getFullAXTree")["nodes"]
        text = "\n".join(str(node.get("name", {}).get("value", "")) for node in nodes)
        if "Made by Crossroads" in text:
            return text
    raise AssertionError("the page never came")
