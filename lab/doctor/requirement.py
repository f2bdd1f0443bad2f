"""The Debian packages that the lab needs, from the one list that the set-up scripts read too."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources

__all__ = ["Requirement", "parse", "requirements"]


@dataclass(frozen=True, slots=True)
class Requirement:
    """A Debian package. ``purpose`` is build, run or test; ``debian`` a release, ``N+`` or ``all``.

    ``proof`` is a program or an absolute path that is there when the package does its work, or empty.
    """

    package: str
    purpose: str
    debian: str
    proof: str
    reason: str

    def holds_for(self, release: int) -> bool:
        """Whether this Debian release needs it."""
        if self.debian.endswith("+"):
            return release >= int(self.debian[:-1])
        return self.debian in ("all", str(release))


def parse(text: str) -> tuple[Requirement, ...]:
    """The list as ``packages.txt`` writes it: five columns, comments and empty lines passed over.

    Raises:
        ValueError: a line has fewer columns.
    """
    found = []
    for line in text.splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        package, purpose, debian, proof, reason = line.split(maxsplit=4)
        found.append(Requirement(package, purpose, debian, "" if proof == "-" else proof, reason))
    return tuple(found)


def requirements() -> tuple[Requirement, ...]:
    """All of them, in the order of the list."""
    return parse(resources.files(__package__).joinpath("packages.txt").read_text(encoding="utf-8"))
