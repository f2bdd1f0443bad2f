"""Where the model gets what it cannot know from a manifest: the bytes of files, and which names are the same file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from lab.errors import LabError
from lab.ntfs.operations.bytes import Bytes

__all__ = ["NOTHING", "Held", "Source"]


class Source(Protocol):
    """The volume before anything was done to it."""

    def content(self, path: str) -> Bytes:
        """All bytes of a file, for the caller to change.

        Raises:
            LabError: it cannot be read.
        """

    def number(self, path: str) -> int | None:
        """Equal for two names of one file; None where nobody knows of another name."""


@dataclass(frozen=True, slots=True)
class Held:
    """What is in memory already."""

    contents: Mapping[str, bytes] = field(default_factory=dict)
    numbers: Mapping[str, int] = field(default_factory=dict)

    def content(self, path: str) -> Bytes:
        """See :meth:`Source.content`."""
        try:
            return Bytes.of(self.contents[path])
        except KeyError:
            raise LabError(f"{path!a}: nobody has read it") from None

    def number(self, path: str) -> int | None:
        """See :meth:`Source.number`."""
        return self.numbers.get(path)


NOTHING = Held()
