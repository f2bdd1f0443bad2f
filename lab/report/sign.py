"""How an outcome is shown: a glyph and a word, never colour alone; and texts made safe to show."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from lab.matrix.model import Matrix, MatrixCell
from lab.matrix.tally import count, unexpected_pass
from lab.verdict import Check, Outcome

__all__ = [
    "BLANK",
    "FLAKY",
    "SIGNS",
    "Sign",
    "broken",
    "duration",
    "header",
    "href",
    "noteworthy",
    "plain",
    "printable",
    "skips",
    "stamp",
    "summary",
    "words",
]


@dataclass(frozen=True, slots=True)
class Sign:
    """``ascii`` is the glyph where the encoding cannot do the real one; ``style`` a colour of the terminal."""

    glyph: str
    ascii: str
    style: str


SIGNS: Mapping[Outcome, Sign] = {
    Outcome.PASS: Sign("✔", "+", "green"),
    Outcome.SKIPPED: Sign("-", "-", "dim"),
    Outcome.UNSUPPORTED: Sign("∅", "o", "blue"),
    Outcome.FAIL: Sign("✘", "X", "bold red"),
    Outcome.ERROR: Sign("!", "!", "bold yellow"),
}
FLAKY = Sign("↻", "~", "magenta")
BLANK = Sign("·", ".", "dim")

_STAMPS: Mapping[str, str] = {
    "tcg": "emulated (tcg): functional evidence, not performance",
    "kvm": "accelerated (kvm)",
    "hardware": "on hardware",
}


def words(cell: MatrixCell) -> str:
    """What stands beside the glyph: the outcome, and whatever about it a reader must not miss."""
    parts = [cell.outcome.value]
    if cell.finding not in {"", "correct"}:
        parts.append(cell.finding)
    if cell.outcome is Outcome.FAIL and cell.expected:
        parts.append("(known)")
    if unexpected_pass(cell):
        parts.append("(unexpected)")
    return " ".join(parts)


def summary(cells: Iterable[MatrixCell]) -> list[tuple[Outcome, int]]:
    """The outcomes in a square of several cells, worst first."""
    return [(outcome, number) for outcome, number in reversed(tuple(count(cells).items())) if number]


def noteworthy(matrix: Matrix) -> tuple[MatrixCell, ...]:
    """The cells to explain below the tables: all but plain passes and skips, the gravest first, else in the matrix'
    order.
    """
    order = {Outcome.FAIL: 0, Outcome.ERROR: 1, Outcome.PASS: 2, Outcome.UNSUPPORTED: 3}
    chosen = [c for c in matrix.cells if c.outcome is not Outcome.PASS or c.flaky or unexpected_pass(c)]
    return tuple(sorted((c for c in chosen if c.outcome in order), key=lambda cell: order[cell.outcome]))


def skips(matrix: Matrix) -> Mapping[str, int]:
    """Why cells were skipped, and how many for each reason: a selection skips hundreds for one."""
    return Counter(cell.reason or "no reason given" for cell in matrix.cells if cell.outcome is Outcome.SKIPPED)


def broken(cell: MatrixCell) -> tuple[Check, ...]:
    """The checks to show with the reason: not those that held, and not those that the reason quotes."""
    return tuple(c for c in cell.checks if c.outcome is not Outcome.PASS and str(c) not in cell.reason)


def header(axes: Sequence[str], values: Sequence[str], *, arrow: str = "→", dot: str = "·") -> str:
    """The values of a row or column on one line; a journey from ``source`` to ``target`` gets an arrow."""
    line = ""
    for at, value in enumerate(values):
        journey = at > 0 and (axes[at - 1], axes[at]) == ("source", "target")
        line += (f" {arrow if journey else dot} " if at else "") + (plain(value) or "none")
    return line or "all"


def stamp(accelerator: str) -> str:
    """What the accelerator means for the evidence."""
    return _STAMPS.get(accelerator, accelerator or "no host ran")


def duration(seconds: float) -> str:
    """A time for people: ``4.1 s``, ``1 m 20 s``, ``2 h 05 m``."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} m {rest:02} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} m"


def plain(text: str, *, keep: str = "") -> str:
    """``text`` with every character spelled out that could move the cursor, reorder the line or hide.

    A file name off a hostile volume ends up in reasons: escape sequences and direction overrides must not act.
    """
    if text.isprintable():
        return text
    return "".join(char if char in keep or not _acts(char) else _spelled(char) for char in text)


def printable(text: str, encoding: str) -> str:
    """``text`` with what ``encoding`` cannot say spelled out."""
    return text.encode(encoding, "backslashreplace").decode(encoding)


def href(path: str) -> str:
    """An evidence path as a link that cannot leave the run's folder or be anything but a relative path."""
    parts = [part for part in path.split("/") if part not in {"", ".", ".."}]
    return "./" + "/".join(quote(_bytes_of(part)) for part in parts)


def _bytes_of(name: str) -> bytes:
    """A file name's; one that no file can have, since it holds half a character, has none and is spelled out."""
    try:
        return name.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return name.encode("utf-8", "backslashreplace")


def _acts(char: str) -> bool:
    # Cc: control; Cf: direction marks, zero-width and the like; Cs: half a character; Zl, Zp: line ends.
    return unicodedata.category(char) in {"Cc", "Cf", "Cs", "Zl", "Zp"}


def _spelled(char: str) -> str:
    return char.encode("ascii", "backslashreplace").decode("ascii") if ord(char) > 0x7F else f"\\x{ord(char):02x}"
