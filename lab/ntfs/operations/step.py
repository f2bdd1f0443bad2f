"""A step: one thing done to a mounted tree by one system call or a few; plain data that the probe carries out."""

from __future__ import annotations

import errno
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from lab.ntfs.naming import shown
from lab.ntfs.observation import NOT_SUPPORTED

__all__ = ["HOLE", "KEEP_SIZE", "UNSUPPORTED", "ZERO", "Result", "Step", "to_text"]

KEEP_SIZE, HOLE, ZERO = 1, 2, 16
"""Bits of fallocate(2)'s mode (linux/falloc.h); a hole keeps the size too, and has both bits."""


UNSUPPORTED = NOT_SUPPORTED | {errno.ENOTTY, errno.EPERM, errno.EXDEV, errno.EMLINK}
"""A driver that says so lacks the feature, and must have left everything as it was. EPERM is what POSIX has for
link(2), symlink(2) and mknod(2) on file systems without such things; the probe itself may do all, being root."""

_OF_ATTRIBUTES = frozenset({errno.ERANGE})
"""Says of an attribute that it is too long. Of a file it says nothing that POSIX knows, least of all that to unlink or
rename it is not supported."""


@dataclass(frozen=True, slots=True)
class Step:
    """``do`` names it (:data:`lab.ntfs.probe.DO` has them all), ``path`` is what it is done to, ``more`` what else it
    needs. Content is a seed and a length, from which both sides make the bytes.

    ``part`` groups steps that stand or fall together, such as ``append/compressed``: the operation, and what about
    the target makes it worth trying.
    """

    do: str
    path: str
    part: str
    more: Mapping[str, Any] = field(default_factory=dict)

    @property
    def paths(self) -> tuple[str, ...]:
        """The names it is about."""
        return (self.path, *(self.more[key] for key in ("to", "like") if key in self.more))

    def __str__(self) -> str:
        to = f" to {shown(self.more['to'])}" if "to" in self.more else ""
        return f"{self.do} {shown(self.path)}{to}"

    def to_json(self) -> dict[str, Any]:
        """As the probe takes it."""
        return {"do": self.do, "path": self.path, "part": self.part, **self.more}


def to_text(steps: Iterable[Step]) -> str:
    """The document for ``probe.py operate --steps``."""
    return json.dumps([step.to_json() for step in steps], ensure_ascii=True, separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a step: ``number`` is the errno that it was refused with, or 0."""

    number: int = 0
    text: str = ""
    value: Any = None

    @property
    def done(self) -> bool:
        """Whether it says that it was done."""
        return not self.number

    def __str__(self) -> str:
        return "done" if self.done else f"{errno.errorcode.get(self.number, str(self.number))}: {self.text}"

    def is_lack(self, step: Step) -> bool:
        """Whether it says of ``step`` that the driver lacks the feature."""
        return self.number in (UNSUPPORTED if "xattr" in step.do else UNSUPPORTED - _OF_ATTRIBUTES)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Result:
        """One of the probe's."""
        return cls(document.get("errno") or 0, document.get("text", ""), document.get("value"))
