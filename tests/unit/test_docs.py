"""The programs behind the documentation: what they generate, and what they find wrong on a page."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from lab.checks.obstacles import OBSTACLES
from lab.checks.setback import CHECKS

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """docs/check_examples.py, which imports docs/make_reference.py."""
    monkeypatch.syspath_prepend(DOCS)
    monkeypatch.delitem(sys.modules, "make_reference", raising=False)
    found = importlib.util.spec_from_file_location("check_examples", DOCS / "check_examples.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def mistakes(program: ModuleType, folder: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    page = folder / "page.md"
    page.write_text(text)
    monkeypatch.setattr(program, "ROOT", folder)
    return list(program.mistakes(page))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("```console\n$ .venv/bin/lab doctor --json\n```\n", []),
        ("one\n\n```console\n$ lab frobnicate\n```\n", ["page.md:4: lab has no verb 'frobnicate'"]),
        ("```console\n$ lab doctor --jsno\n```\n", ["page.md:2: lab doctor has no option --jsno"]),
        ("```console\n$ lab run x -- --anything\n```\n", []),
        ("```console\n$ scripts/nothing\n```\n", ["page.md:2: scripts/nothing: no such program"]),
        ("```python\ndef\n```\n", ["page.md:2: invalid syntax (<unknown>, line 1)"]),
        ("```yaml\nscenario: x\nwrong: 1\n```\n", None),
    ],
)
def test_what_a_page_tells_people_to_do_is_tried(
    program: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, said: list[str] | None
) -> None:
    found = mistakes(program, tmp_path, text, monkeypatch)
    if said is None:
        assert any("unknown key 'wrong'" in mistake for mistake in found), found
    else:
        assert found == said


def test_generated_parts_are_put_where_a_page_asks_for_them(program: ModuleType) -> None:
    filled = program.make_reference.fill("# Title\n\n<!-- generated: scenario -->\n")
    assert "<!--" not in filled
    assert "| `guest_pause` | time (`500ms`, `5s`, `10m`) | `5s` |" in filled
    assert "| `fsync` | time (`500ms`, `5s`, `10m`) | `5s` |" in filled
    assert "| `iterations` | whole number | `1` |" in filled
    assert "| `arrive` | [arrive](#arrive) |  |" in filled
    assert "| `userland` | `amd64`, `i386`; or a list | `amd64` |" in filled
    assert "| `zstd` | run | all |" in program.make_reference.fill("<!-- generated: packages -->")
    invariants = program.make_reference.fill("<!-- generated: invariants -->")
    flipped = "`flipped-page`: one bit of one page flips; `stale-page`: one page holds what it held before"
    how = "the agent's pattern of pages and generations"
    assert f"| `memory-intact` | `memory-intact` | live, save-restore | {how} | {flipped} |" in invariants
    assert "unproven" not in invariants
    obstacles = program.make_reference.fill((DOCS / "reference" / "obstacles.md").read_text())
    assert "<!--" not in obstacles
    for one in OBSTACLES:
        assert f"| `{one.name}` | {one.when} | {one.does} | {one.cause} | {one.undone} |" in obstacles
    for name, asks in CHECKS:
        assert f"| `{name}` | {asks} |" in obstacles
    assert "## `lab doctor`" in program.make_reference.fill("<!-- generated: commands -->")


def test_an_unknown_part_is_an_error(program: ModuleType) -> None:
    with pytest.raises(KeyError, match="nothing"):
        program.make_reference.fill("<!-- generated: nothing -->")
