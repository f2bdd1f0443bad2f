"""A file or directory of the model: what it was, and what is known of it now."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace

from lab.errors import LabError
from lab.ntfs.manifest import Entry, Kind, Stream, Times
from lab.ntfs.naming import shown
from lab.ntfs.operations.bytes import Bytes
from lab.ntfs.operations.source import Source

__all__ = ["Node"]


@dataclass(eq=False, slots=True)
class Node:
    """``entry`` is what is known of it (its path aside); ``origin`` its path on the volume, none if it is new.

    ``content`` is there once it was changed. ``moved`` are the times that must lie between the first step and the end;
    ``mode``, ``owner`` and ``device`` are what was asked for, ``attached`` the extended attributes by name, None for
    one that was taken away.
    """

    entry: Entry
    origin: str = ""
    children: dict[str, Node] | None = None
    content: Bytes | None = None
    lost: bool = False
    """Nobody can tell what its bytes are any more."""
    moved: set[str] = field(default_factory=set)
    mode: int | None = None
    owner: tuple[int, int] | None = None
    device: int | None = None
    attached: dict[str, bytes | None] = field(default_factory=dict)
    part: str = ""
    """The last part that changed it."""

    @classmethod
    def new(cls, kind: Kind) -> Node:
        """One that was made just now: nothing but its times is left open."""
        file = kind is Kind.FILE
        entry = Entry("", kind, streams=(), names=1 if file else None, eas=())
        made = cls(entry, children={} if kind is Kind.DIRECTORY else None, content=Bytes() if file else None)
        made.moved |= {"created", "modified"}
        return made

    @property
    def is_directory(self) -> bool:
        """Whether names lie below it."""
        return self.children is not None

    def known(self, **fields: object) -> None:
        """More is known of it, or less."""
        self.entry = replace(self.entry, **fields)  # type: ignore[arg-type] # as wide as the fields of Entry

    def holding(self, source: Source) -> Bytes:
        """Its content, to be changed; what is lost stays so.

        Raises:
            LabError: what was read of the volume is not what it holds.
        """
        if self.lost:
            return Bytes()
        if self.content is None:
            content = source.content(self.origin)
            said, _ = content.digest()
            if said != self.entry.sha256:
                raise LabError(
                    f"{shown(self.origin)}: read before the steps as {content.size} bytes, {said}; "
                    f"the manifest has {self.entry.size} bytes, {self.entry.sha256}"
                )
            self.content = content
        return self.content

    def written(self) -> None:
        """Its bytes were changed: so were the times, and Windows' mark of what is to be archived."""
        self.known(times=Times(created=self.entry.times.created))
        self.moved.add("modified")

    def touched(self) -> None:
        """Something else about it was changed: the time of its MFT record alone follows."""
        times = self.entry.times
        self.known(times=Times(times.created, times.modified))

    def lose(self) -> None:
        """A write broke off: nobody can tell what its bytes are any more, whatever is written to it later."""
        self.content, self.lost = None, True
        self.written()
        self.moved.discard("modified")
        self.known(size=None, sha256=None, blocks=None, holes=None)

    def attach(self, name: str, value: bytes | None, *, streams: bool) -> None:
        """An extended attribute, which is a stream where the driver shows them so."""
        self.attached[name] = value
        times = self.entry.times
        self.known(times=Times(times.created))  # to write a stream is to write the file, or not: drivers part there
        self.moved.discard("modified")
        if streams and name.startswith("user.") and self.entry.streams is not None:
            rest = [one for one in self.entry.streams if one.name != name[5:]]
            if value is not None:
                rest.append(Stream(name[5:], len(value), hashlib.sha256(value).hexdigest()))
            self.known(streams=tuple(sorted(rest, key=lambda one: one.name)))
        else:
            self.known(eas=None)

    def found(self, path: str) -> Entry:
        """The entry of one of its names."""
        entry = replace(self.entry, path=path)
        if self.content is None:
            return entry
        sha256, blocks = self.content.digest()
        return replace(entry, size=self.content.size, sha256=sha256, blocks=blocks, holes=self.content.zeros())
