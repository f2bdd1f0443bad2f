"""Names of a volume, and of files, as they may stand in a one-line message."""

from __future__ import annotations

__all__ = ["shown", "spelled"]

_MOST = 96


def shown(name: str) -> str:
    """Quoted, escaped where it would not print, and its middle left out where it is long."""
    quoted = spelled(name)
    if len(quoted) > _MOST:
        half = _MOST // 2 - 2
        quoted = f"{quoted[:half]}...{quoted[-half:]}"
    return f"'{quoted}'"


def spelled(name: str) -> str:
    """Whole, but on one line, and fit for any UTF-8 text: what would not print is written as Python writes it."""
    return "".join(one if one.isprintable() and not 0xD800 <= ord(one) < 0xE000 else ascii(one)[1:-1] for one in name)
