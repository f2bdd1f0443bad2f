"""Pytest's root folder without pytest: cells are named relative to it, and ``lab list`` must be quick."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterable
from pathlib import Path

__all__ = ["root_of"]

_OWN = ("pytest.toml", ".pytest.toml", "pytest.ini", ".pytest.ini")


def root_of(paths: Iterable[Path]) -> Path:
    """The folder that pytest calls rootdir for these arguments.

    The nearest folder with a configuration of pytest, from the paths' common ancestor upwards; else, and only for what
    is not below the current folder, where pytest would choose that ancestor. The exotic rest of its rules
    (https://docs.pytest.org/en/stable/reference/customize.html) is left out.
    """
    absolute = [path.absolute() for path in paths]
    folders = [path if path.is_dir() else path.parent for path in absolute]
    ancestor = Path(os.path.commonpath(folders)) if folders else Path.cwd()
    for folder in (ancestor, *ancestor.parents):
        if _configures(folder):
            return folder
    for folder in (ancestor, *ancestor.parents):
        if (folder / "setup.py").is_file():
            return folder
    common = Path(os.path.commonpath([Path.cwd(), ancestor]))
    return ancestor if common == Path(common.anchor) else common


def _configures(folder: Path) -> bool:
    if any((folder / name).is_file() for name in _OWN):
        return True
    if (folder / "pyproject.toml").is_file() and _has_table(folder / "pyproject.toml"):
        return True
    return _has_section(folder / "tox.ini", "[pytest]") or _has_section(folder / "setup.cfg", "[tool:pytest]")


def _has_table(path: Path) -> bool:
    try:
        return "pytest" in tomllib.loads(path.read_text(encoding="utf-8")).get("tool", {})
    except (OSError, ValueError):
        return False


def _has_section(path: Path, section: str) -> bool:
    try:
        return any(line.strip() == section for line in path.read_text(encoding="utf-8").splitlines())
    except (OSError, ValueError):
        return False
