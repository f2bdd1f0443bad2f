"""The files and directories of a recipe, and the manifest that follows from them alone."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from lab.ntfs.filetime import UNIX_EPOCH
from lab.ntfs.manifest import About, Attachment, Entry, Feature, Kind, Manifest, Reparse, Stream, Times, digest
from lab.ntfs.ondisk.extended_attribute import ExtendedAttribute
from lab.ntfs.ondisk.reparse import ReparsePoint, Tag
from lab.ntfs.ondisk.wof import STREAM
from lab.ntfs.volumes.content import EMPTY, Content

__all__ = [
    "Crowd",
    "Directory",
    "Extras",
    "File",
    "HardLink",
    "Item",
    "Node",
    "Single",
    "Special",
    "entry_of",
    "manifest_of",
    "singles",
    "times_of",
    "usual_times",
]

_SEES = frozenset(Feature)

_YEAR = 31_557_600 * 10_000_000


@dataclass(frozen=True, slots=True)
class Extras:
    """What a file or directory may have besides names and bytes; an empty value is not set.

    ``attributes`` are those of $STANDARD_INFORMATION, all of them. ``target`` is what a link's reparse point means.
    """

    times: Times | None = None
    attributes: int | None = None
    eas: tuple[ExtendedAttribute, ...] = ()
    reparse: ReparsePoint | None = None
    target: str | None = None
    security: bytes = b""
    object_id: bytes = b""
    short_name: str = ""


PLAIN = Extras()


@dataclass(frozen=True, slots=True)
class Directory:
    """A directory; with ``compressed`` what is created in it is stored as LZNT1."""

    path: str
    compressed: bool = False
    streams: tuple[tuple[str, Content], ...] = ()
    extras: Extras = PLAIN


@dataclass(frozen=True, slots=True)
class File:
    """A file with its default stream and named ones.

    ``valid`` is the valid data length where that is less than the size: behind it lie stale bytes, which must not be
    seen. ``step`` has the file written in pieces of so many bytes, every other one first. ``wof`` names a format of the
    overlay filter. An ``encrypted`` file's bytes are known to nobody.
    """

    path: str
    content: Content = EMPTY
    streams: tuple[tuple[str, Content], ...] = ()
    extras: Extras = field(default=PLAIN, kw_only=True)
    valid: int | None = field(default=None, kw_only=True)
    step: int = field(default=0, kw_only=True)
    wof: str = field(default="", kw_only=True)
    encrypted: bool = field(default=False, kw_only=True)
    elsewhere: bool = field(default=False, kw_only=True)
    """The bytes are not on the volume at all (deduplicated, in the cloud): nobody can tell them."""


@dataclass(frozen=True, slots=True)
class HardLink:
    """One more name of the file ``to``."""

    path: str
    to: str


@dataclass(frozen=True, slots=True)
class Special:
    """What ntfs-3g makes of mknod(2) and symlink(2), as Interix or as WSL (a mount option says which).

    ``mode`` and ``device`` are mknod's; a ``target`` makes it a symbolic link. What a driver is to show is not laid
    down anywhere: to some it is a system file or an unknown reparse point, so its kind is unknown.
    """

    path: str
    mode: int = 0
    device: int = 0
    target: str = ""


@dataclass(frozen=True, slots=True)
class Crowd:
    """A directory of ``count`` empty files, in no order; lengths of names vary, so that blocks split at all places."""

    path: str
    count: int

    def items(self) -> Iterator[Directory | File]:
        """The directory and its files one by one."""
        yield Directory(self.path)
        for number in range(self.count):
            yield File(f"{self.path}/{number * 7919 % self.count:06d}{'-' * (number % 40)}")


Node = Directory | File
"""What has an MFT record of its own and can be looked into."""

Single = Directory | File | HardLink | Special

Item = Single | Crowd


def singles(items: Iterable[Item]) -> Iterator[Single]:
    """The items, each crowd one by one."""
    for item in items:
        if isinstance(item, Crowd):
            yield from item.items()
        else:
            yield item


def times_of(item: Directory | File | Special) -> Times:
    """The times of an item: those that it asks for, or others that follow from its path."""
    asked = None if isinstance(item, Special) else item.extras.times
    return asked or usual_times(item.path)


def usual_times(path: str) -> Times:
    """Times that follow from the path: between 1990 and 2030, exact to 100 ns, each another one.

    ``changed`` is unknown: no driver lets it be set.
    """
    seed = hashlib.sha256(path.encode("utf-8", "surrogatepass")).digest()
    start = UNIX_EPOCH + 20 * _YEAR
    moments = (start + int.from_bytes(seed[at : at + 8], "little") % (40 * _YEAR) for at in (0, 8, 16))
    created, modified, accessed = moments
    return Times(created, modified, None, accessed)


def entry_of(item: Single) -> Entry:
    """What an observer who sees everything must find (but how many names a file has)."""
    match item:
        case Directory():
            return _known(item, Kind.DIRECTORY)
        case File():
            return _file(item)
        case Special():
            return Entry(item.path, Kind.UNKNOWN, times=times_of(item))
        case HardLink():
            raise ValueError(f"{item.path!r} is another name of {item.to!r}, and has no entry of its own")


def _file(item: File) -> Entry:
    known = _known(item, Kind.FILE)
    if known.kind is not Kind.FILE:
        return known
    if item.encrypted or item.elsewhere:
        return replace(known, size=item.content.size)
    sha256, blocks = item.content.digest()
    return replace(known, size=item.content.size, sha256=sha256, blocks=blocks, holes=item.content.holes)


_LINKS = {Tag.SYMLINK: Kind.SYMLINK, Tag.LX_SYMLINK: Kind.SYMLINK, Tag.MOUNT_POINT: Kind.JUNCTION}


def _known(item: Node, kind: Kind) -> Entry:
    extras = item.extras
    point = extras.reparse
    link = None if point is None else _LINKS.get(Tag(point.tag))
    return Entry(
        item.path,
        link or kind,
        target=extras.target,
        streams=_streams(item),
        times=times_of(item),
        attributes=extras.attributes,
        eas=tuple(sorted((_attachment(one.name, one.value) for one in extras.eas), key=lambda one: one.name)),
        reparse=None if point is None else Reparse(point.tag, hashlib.sha256(point.buffer).hexdigest()),
        security=hashlib.sha256(extras.security).hexdigest() if extras.security else None,
        object_id=extras.object_id.hex() or None,
        short_name=extras.short_name or None,
    )


def _attachment(name: str, value: bytes) -> Attachment:
    return Attachment(name, len(value), hashlib.sha256(value).hexdigest())


def _streams(item: Node) -> tuple[Stream, ...]:
    found = [Stream(name, content.size, content.digest()[0]) for name, content in item.streams]
    if isinstance(item, File) and item.wof:
        raw = item.content.packed(item.wof)
        found.append(Stream(STREAM, len(raw), digest((raw,), len(raw))[0]))
    return tuple(sorted(found, key=lambda stream: stream.name))


def manifest_of(
    items: tuple[Item, ...],
    *,
    about: About | None = None,
    unsure: frozenset[str] = frozenset(),
    fragile: frozenset[str] = frozenset(),
) -> Manifest:
    """The manifest of a tree. An 8.3 alias is one more name in the count of names, as in the MFT record."""
    listed = tuple(singles(items))
    nodes = {item.path: item for item in listed if not isinstance(item, HardLink)}
    links = [item for item in listed if isinstance(item, HardLink)]
    names = Counter(link.to for link in links)
    entries = [_counted(entry_of(item), 1 + names[path]) for path, item in nodes.items()]
    found = {entry.path: entry for entry in entries}
    entries += [replace(found[link.to], path=link.path, short_name=None) for link in links]
    return Manifest(tuple(entries), _SEES, unsure, about, fragile)


def _counted(entry: Entry, names: int) -> Entry:
    return replace(entry, names=names) if entry.kind is Kind.FILE else entry
