"""Evidence that is brought from one run's folder to another's."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path

import pytest

from lab.engine.evidence import bring, is_there
from lab.matrix.model import MatrixCell
from lab.run_record import RecordError
from lab.verdict import Outcome


@pytest.fixture
def runs(tmp_path: Path) -> tuple[Path, Path]:
    """A run with evidence, and one without."""
    old, new = tmp_path / "old", tmp_path / "new"
    for path in ("evidence/a/console.log", "evidence/a/first/observed.json", "evidence/b/x", "loose.json"):
        (old / path).parent.mkdir(parents=True, exist_ok=True)
        (old / path).write_text(f"{path}\n")
    (old / "evidence/a/last").symlink_to("console.log")
    (new / "evidence").mkdir(parents=True)
    return old, new


def _cell(*evidence: str) -> MatrixCell:
    return MatrixCell("a.lab.yaml::a", "s", "boot", {}, Outcome.PASS, evidence=evidence)


def _files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir())


def test_a_cell_brings_its_whole_folder_and_nothing_of_others(runs: tuple[Path, Path]) -> None:
    old, new = runs
    cell = _cell("evidence/a/console.log", "loose.json")
    assert is_there(cell, old)
    bring(cell, old, new)
    bring(cell, old, new)
    assert _files(new) == [
        *("evidence/a/console.log", "evidence/a/first/observed.json", "evidence/a/last"),
        "loose.json",
    ]
    assert (new / "evidence/a/last").readlink() == Path("console.log")
    assert (new / "evidence/a/console.log").samefile(old / "evidence/a/console.log")


def test_where_there_can_be_no_link_there_is_a_copy(runs: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: object, **_more: object) -> None:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    old, new = runs
    monkeypatch.setattr(os, "link", refuse)
    bring(_cell("evidence/a/console.log", "loose.json"), old, new)
    assert (new / "evidence/a/console.log").read_text() == "evidence/a/console.log\n"
    assert not (new / "evidence/a/console.log").samefile(old / "evidence/a/console.log")
    assert (new / "loose.json").read_text() == "loose.json\n"


@pytest.mark.parametrize(
    "path", ["evidence/gone/x", "../secret", "/etc/passwd", "evidence/../../secret", "evidence/c/x"]
)
def test_what_is_gone_or_is_not_the_runs_own_is_not_brought(runs: tuple[Path, Path], path: str) -> None:
    old, new = runs
    (old.parent / "secret").write_text("secret")
    (old / "evidence/c").symlink_to(old.parent)
    cell = _cell(path, "evidence/b/x")
    assert not is_there(cell, old)
    bring(cell, old, new)
    assert _files(new) == ["evidence/b/x"]


def test_a_place_that_cannot_be_written_is_named(runs: tuple[Path, Path]) -> None:
    old, new = runs
    (new / "evidence").rmdir()
    (new / "evidence").write_text("")
    said = f"{new}/evidence/b: cannot be written: Not a directory\n  hint: free some space there"
    with pytest.raises(RecordError, match=f"^{re.escape(said)}$"):
        bring(_cell("evidence/b/x"), old, new)
