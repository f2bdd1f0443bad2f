# ruff: noqa: INP001 - for the programs beside it, no part of a package
"""A table that a program keeps in a page, between two comments."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

__all__ = ["tabled"]

_BEGIN, _END = "<!-- table -->\n", "<!-- /table -->\n"


def tabled(page: Path, lines: Iterable[str]) -> None:
    """Put ``lines`` in the place of the table in ``page``; ends the program where there is none."""
    before, begin, rest = page.read_text().partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not begin or not end:
        sys.exit(f"{page}: no {_BEGIN.strip()} and {_END.strip()} in it")
    page.write_text(f"{before}{begin}{chr(10).join(lines)}\n{end}{after}")
