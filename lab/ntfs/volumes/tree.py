"""The files and directories of a recipe, and the manifest that follows from them alone."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from lab.ntfs.filetime import UNIX_EPOCH
from lab.ntfs.manifest import Entry, Feature, Kind, Manifest, Stream, Times
from lab.ntfs.volumes.content import EMPTY, Content

__all__ = ["Directory", "File", "Item", "entry_of", "manifest_of", "times_of"]

_SEES = frozenset(Feature)

_YEAR = 31_557_600 * 10_000_000


@dataclass(frozen=True, slots=True)
class Directory:
    """A directory; with ``compressed`` what is created in it is stored as LZNT1."""

    path: str
    compressed: bool = False


@dataclass(frozen=True, slots=True)
class File:
    """A file with its default stream and named ones."""

    path: str
    content: Content = EMPTY
    streams: tuple[tuple[str, Content], ...] = ()


Item = Directory | File


def times_of(path: str) -> Times:
    """Times that follow from the path: between 1990 and 2030, exact to 100 ns, each another one.

    ``changed`` is unknown: no driver lets it be set.
    """
    seed = hashlib.sha256(path.encode("utf-8", "surrogatepass")).digest()
    start = UNIX_EPOCH + 20 * _YEAR
    moments = (start + int.from_bytes(seed[at : at + 8], "little") % (40 * _YEAR) for at in (0, 8, 16))
    created, modified, accessed = moments
    return Times(created, modified, None, accessed)


def entry_of(item: Item) -> Entry:
    """What an observer who sees everything must find."""
    times = times_of(item.path)
    if isinstance(item, Directory):
        return Entry(item.path, Kind.DIRECTORY, streams=(), times=times)
    sha256, blocks = item.content.digest()
    streams = tuple(
        Stream(name, content.size, content.digest()[0])
        for name, content in sorted(item.streams, key=lambda pair: pair[0])
    )
    return Entry(
        item.path,
        Kind.FILE,
        size=item.content.size,
        sha256=sha256,
        blocks=blocks,
        streams=streams,
        times=times,
        holes=item.content.holes,
    )


def manifest_of(items: tuple[Item, ...]) -> Manifest:
    """The manifest of a tree."""
    return Manifest(tuple(entry_of(item) for item in items), _SEES)
