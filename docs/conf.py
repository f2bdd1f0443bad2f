# ruff: noqa: INP001 - a program of its own, no part of a package
"""Sphinx: MyST Markdown, furo, every warning an error. What the code knows is written by make_reference.py."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parent))

import make_reference

import lab

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project = "Crossroads"
author = "the Crossroads contributors"
copyright = author  # noqa: A001 - sphinx's name for it
version = release = lab.__version__

extensions = ["myst_parser"]
myst_enable_extensions = ["deflist"]
myst_heading_anchors = 3
exclude_patterns = ["_build", "pictures", "findings/records"]
html_theme = "furo"
html_title = f"Crossroads {release}"
nitpicky = True


def setup(app: Sphinx) -> None:
    """Put generated text where a page asks for it."""
    app.connect("source-read", _fill)


def _fill(_app: Sphinx, _page: str, source: list[str]) -> None:
    source[0] = make_reference.fill(source[0])
