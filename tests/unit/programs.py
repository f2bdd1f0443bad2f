"""Programs that stand in for real ones, placed first on PATH."""

from __future__ import annotations

from pathlib import Path

import pytest


class Programs:
    """A folder of shell scripts. In a script ``$HERE`` is that folder, where it may leave notes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def add(self, name: str, script: str) -> None:
        """A program of that name, in the language of sh(1)."""
        path = self.folder / name
        path.write_text(f"#!/bin/sh\nHERE='{self.folder}'\n{script}")
        path.chmod(0o755)

    def note(self, name: str) -> list[str]:
        """The lines that a script has left in ``$HERE/NAME``."""
        path = self.folder / name
        return path.read_text().splitlines() if path.exists() else []


@pytest.fixture
def programs(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Programs:
    """An empty folder in front of PATH."""
    folder = tmp_path_factory.mktemp("bin")
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    return Programs(folder)
