"""A project with a small scenario and a stage that follows a script.

pytester forgets what a session inside this process has imported; so what such a session needs is imported here.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from lab import plugin as _plugin  # noqa: F401 - see the docstring
from lab.engine import begin as _begin  # noqa: F401 - see the docstring
from lab.engine import continuing as _continuing  # noqa: F401 - see the docstring
from lab.engine import dist as _dist  # noqa: F401 - see the docstring
from lab.engine import requests as _requests  # noqa: F401 - see the docstring
from lab.matrix.model import Matrix, MatrixCell
from lab.report import terminal as _terminal  # noqa: F401 - see the docstring
from lab.report import write as _write  # noqa: F401 - see the docstring
from lab.run_record import read_matrix
from lab.testing import stage as _stage  # noqa: F401 - see the docstring

LAB = str(Path(sys.executable).with_name("lab"))
"""The command of this environment, whatever PATH says."""

SMALL = """\
scenario: small
hosts: {lab: {xen: ["4.17", "4.20"]}}
guests: {web: {release: bookworm, userland: i386, type: [pv, pvh]}}
---
scenario: moves
hosts: {source: {xen: "4.17"}, target: {xen: "4.20"}}
guests: {web: {release: bookworm, userland: i386}}
migrate: {how: [cold, live]}
"""

STAGE = """
import pytest
from pathlib import Path
from lab.errors import *
from lab.testing.stage import Act, FakeStage, failing
from lab.verdict import *

STAGE = FakeStage({script}, answers={answers!r}, folder=Path(__file__).parent)

def pytest_lab_open_stage(config, settings, keep):
    return STAGE.open()
{more}
"""


class Project:
    """A folder with ``scenarios/small.lab.yaml`` and a conftest that brings the fake stage."""

    def __init__(self, pytester: pytest.Pytester) -> None:
        self.pytester = pytester
        self.path = pytester.path
        self.write("scenarios/small.lab.yaml", SMALL)
        self.write("pytest.ini", "[pytest]\naddopts = -p no:hypothesispytest\n")  # 0.6 s to import, for nothing

    def write(self, name: str, text: str) -> Path:
        """A file of the project."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def script(self, script: str, *, more: str = "", answers: dict[str, str] | None = None) -> None:
        """What the cells do: the source of a dictionary of acts."""
        self.write("conftest.py", STAGE.format(script=script, more=more, answers=answers or {}))

    def matrix(self) -> Matrix:
        """The matrix of the latest run."""
        return read_matrix(self.path / "reports" / "latest")

    def cell(self, name: str) -> MatrixCell:
        """One of its cells."""
        return next(cell for cell in self.matrix().cells if cell.name == name)

    def events(self, kind: str) -> list[dict[str, object]]:
        """The lines of the latest record of that kind."""
        lines = (self.path / "reports/latest/run.jsonl").read_text().splitlines()
        return [event for event in map(json.loads, lines) if event["event"] == kind]


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project without a script: every cell passes."""
    # With CI or BUILD_NUMBER pytest does not cut its summary, and says there again what it said above.
    for name in ("LAB_REPORTS", "LAB_CACHE", "LAB_DEBUG", "CI", "BUILD_NUMBER"):
        monkeypatch.delenv(name, raising=False)
    made = Project(pytester)
    made.script("{}")
    return made


@pytest.fixture
def lab(project: Project) -> Callable[..., pytest.RunResult]:
    """The command ``lab`` in the project's folder, in a process of its own."""
    return lambda *words: project.pytester.run(LAB, *words)
