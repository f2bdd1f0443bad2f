"""Mistakes of a scenario file: where, what; collected, so that all of a file are reported at once."""

from __future__ import annotations

from dataclasses import dataclass, field

from lab.errors import ScenarioError, nearest

__all__ = ["Mark", "Mistakes", "suggest"]


@dataclass(frozen=True, slots=True, order=True)
class Mark:
    """A place in a file, both numbers counted from 1."""

    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.line}:{self.column}"

    def place(self, path: str) -> str:
        """As ``file:line:column``, the form that editors and terminals turn into a link."""
        return f"{path}:{self}"


@dataclass(slots=True)
class Mistakes:
    """The mistakes of the file ``path`` so far."""

    path: str
    found: list[tuple[Mark, str]] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.found)

    def add(self, mark: Mark, message: str) -> None:
        """Remember one mistake; saying the same twice about one place counts once."""
        # A key may be a text of several lines, and hold what moves a cursor; a mistake is one line.
        line = "".join(char if char.isprintable() else " " for char in message)
        if (mark, line) not in self.found:
            self.found.append((mark, line))

    def marks(self) -> frozenset[Mark]:
        """The places complained about so far."""
        return frozenset(mark for mark, _ in self.found)

    def check(self) -> None:
        """Do nothing if there are none.

        Raises:
            ScenarioError: there are; one line each, ordered by place.
        """
        if self.found:
            ordered = sorted(self.found, key=lambda mistake: mistake[0])
            raise ScenarioError("\n".join(f"{mark.place(self.path)}: {message}" for mark, message in ordered))


def suggest(name: str, known: frozenset[str] | tuple[str, ...]) -> str:
    """The tail of a message that names the nearest known name, or an empty string."""
    close = nearest(name, sorted(known))
    return f"; did you mean {close!r}?" if close else ""
