"""The four renderers against files that were read and found good. ``LAB_GOLDEN=write`` writes them anew."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from lab.matrix.model import Matrix
from lab.report import document, html, markdown, terminal
from tests.unit.report.example import all_skipped, empty, example

GOLDEN = Path(__file__).with_name("golden")


def _terminal(matrix: Matrix, width: int = 80, encoding: str = "utf-8") -> str:
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding=encoding, newline="\n")
    terminal.show(matrix, file=file, width=width)
    file.flush()
    return raw.getvalue().decode(encoding)


CASES: dict[str, Callable[[], str]] = {
    "example-80.txt": lambda: _terminal(example()),
    "example-160.txt": lambda: _terminal(example(), 160),
    "example-ascii.txt": lambda: _terminal(example(), encoding="ascii"),
    "empty.txt": lambda: _terminal(empty()),
    "skipped.txt": lambda: _terminal(all_skipped()),
    "example.md": lambda: markdown.render(example()),
    "empty.md": lambda: markdown.render(empty()),
    "skipped.md": lambda: markdown.render(all_skipped()),
    "example.json": lambda: document.render(example()),
    "example.html": lambda: html.render(example()),
}


@pytest.mark.parametrize("name", CASES)
def test_as_it_was(name: str) -> None:
    found = CASES[name]().encode("utf-8", "backslashreplace")
    if os.environ.get("LAB_GOLDEN") == "write":
        (GOLDEN / name).write_bytes(found)
    assert found.decode() == (GOLDEN / name).read_bytes().decode()


def test_the_terminal_keeps_to_its_width() -> None:
    assert all(len(line) <= 80 for line in _terminal(example(), encoding="ascii").splitlines())


def _evidence(folder: Path, *paths: str) -> list[str]:
    cell = replace(example().cells[3], evidence=paths)
    file = io.StringIO()
    terminal.show(Matrix(example().run, (cell,)), file=file, folder=folder, width=400)
    return [line.strip() for line in file.getvalue().splitlines() if line.startswith("    evidence: ")]


def test_evidence_is_named_by_its_folder_and_not_file_by_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cell, again, shared = (
        "evidence/q.live-1a2b",
        "evidence/q.live-1a2b.attempt-2",
        "evidence/disk.img-readers-9f/readers.json",
    )
    many = [f"{cell}/{number}.log" for number in range(11)]
    paths = (*many, f"{cell}/first/observed.json", f"{again}/a.log", f"{again}/b.log", shared)
    run = tmp_path / "reports" / "20261122-143015-quick"
    assert _evidence(run, *paths) == [
        f"evidence: {run}/{cell}/ (12 files)",
        f"evidence: {run}/{again}/ (2 files)",
        f"evidence: {run}/{shared}",
    ]
    monkeypatch.chdir(tmp_path)
    assert _evidence(run, *many) == [f"evidence: reports/20261122-143015-quick/{cell}/ (11 files)"]
    assert _evidence(Path(), *many) == [f"evidence: {cell}/ (11 files)"]
    assert _evidence(run) == []


def test_no_colour_and_no_escape_in_a_pipe() -> None:
    assert "\x1b" not in _terminal(example())


def test_no_color_is_obeyed_in_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    shown: dict[str, str] = {}
    for name, value in (("with", ""), ("without", "1")):
        monkeypatch.setenv("TERM", "xterm-256color")
        monkeypatch.setenv("NO_COLOR", value)
        file = Terminal()
        terminal.show(example(), file=file, width=80)
        shown[name] = file.getvalue()
    assert "\x1b[32m" in shown["with"]
    assert not any(f"\x1b[{colour}m" in shown["without"] for colour in range(30, 48))
    assert "\x1b[31m" not in shown["without"]


def test_the_picture_is_an_svg() -> None:
    picture = terminal.svg(example())
    assert picture.startswith("<svg")
    assert "<script" not in picture
    assert "url(http" not in picture
    assert "@font-face" not in picture
