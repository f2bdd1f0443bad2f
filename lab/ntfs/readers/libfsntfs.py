"""The reader libfsntfs (LGPL), the only place that imports it. Run as a program: ``VOLUME`` in, manifest out."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pyfsntfs

from lab.ntfs.manifest import Entry, Feature, Kind, Manifest, Stream, Times, digest
from lab.ntfs.observation import is_system_name

__all__ = ["read"]

_CHUNK = 1 << 20
_SEES = frozenset(Feature)
_SYMLINK, _JUNCTION = 0xA000000C, 0xA0000003
_SPARSE_FLAG, _REPARSE_FLAG, _COMPRESSED_FLAG = 0x200, 0x400, 0x800
_SPARSE_EXTENT = 1
_MOST_DEPTH = 256
"""Damaged volumes hold directories that contain themselves."""


def read(volume: str) -> Manifest:
    """Entries by the directory indexes; what cannot be read is left unknown, what cannot be listed unsure."""
    opened = pyfsntfs.volume()
    opened.open(volume)
    entries: list[Entry] = []
    unsure: set[str] = set()
    _walk(opened.get_root_directory(), "", 0, entries, unsure)
    return Manifest(tuple(entries), _SEES, frozenset(unsure))


def _walk(folder: Any, path: str, depth: int, entries: list[Entry], unsure: set[str]) -> None:  # noqa: ANN401 - untyped library
    try:
        children = list(folder.sub_file_entries)
    except OSError:
        unsure.add(path)
        return
    for child in children:
        name = child.name
        if name is None or name == "." or (not path and is_system_name(name)):
            continue
        below = f"{path}/{name}" if path else name
        try:
            entry = _entry(child, below)
        except OSError:
            unsure.add(below)
            continue
        entries.append(entry)
        if entry.kind is Kind.DIRECTORY:
            if depth < _MOST_DEPTH:
                _walk(child, below, depth + 1, entries, unsure)
            else:
                unsure.add(below)


def _entry(item: Any, path: str) -> Entry:  # noqa: ANN401 - untyped library
    flags = item.file_attribute_flags
    kind = _kind(item, flags)
    size, sha256, blocks, holes = None, None, None, None
    if kind is Kind.FILE:
        size = item.size
        sha256, blocks = _digest(item, size)
        holes = _holes(item, size) if flags & _SPARSE_FLAG and not flags & _COMPRESSED_FLAG else None
    return Entry(
        path,
        kind,
        size=size,
        sha256=sha256,
        blocks=blocks,
        target=_target(item, kind),
        streams=_streams(item),
        times=Times(
            item.get_creation_time_as_integer(),
            item.get_modification_time_as_integer(),
            item.get_entry_modification_time_as_integer(),
            item.get_access_time_as_integer(),
        ),
        attributes=flags,
        holes=holes,
    )


def _kind(item: Any, flags: int) -> Kind:  # noqa: ANN401 - untyped library
    if flags & _REPARSE_FLAG and item.symbolic_link_target:
        return Kind.JUNCTION if item.has_directory_entries_index() and _is_junction(item) else Kind.SYMLINK
    return Kind.DIRECTORY if item.has_directory_entries_index() else Kind.FILE


def _is_junction(item: Any) -> bool:  # noqa: ANN401 - untyped library
    for index in range(item.number_of_attributes):
        attribute = item.get_attribute(index)
        if attribute.attribute_type == 0xC0:
            return bool(getattr(attribute, "tag", _SYMLINK) == _JUNCTION)
    return False


def _target(item: Any, kind: Kind) -> str | None:  # noqa: ANN401 - untyped library
    return str(item.symbolic_link_target) if kind in (Kind.SYMLINK, Kind.JUNCTION) else None


def _chunks(stream: Any, size: int) -> Iterator[bytes]:  # noqa: ANN401 - untyped library
    stream.seek_offset(0, 0)
    left = size
    while left > 0:
        chunk = stream.read_buffer(min(_CHUNK, left))
        if not chunk:
            raise OSError(f"ends {left} bytes early")
        left -= len(chunk)
        yield chunk


def _digest(stream: Any, size: int) -> tuple[str | None, tuple[int, ...] | None]:  # noqa: ANN401 - untyped library
    try:
        return digest(_chunks(stream, size), size)
    except OSError:
        return None, None


def _streams(item: Any) -> tuple[Stream, ...] | None:  # noqa: ANN401 - untyped library
    try:
        found = list(item.alternate_data_streams)
    except OSError:
        return None
    return tuple(
        sorted((Stream(one.name, one.size, _digest(one, one.size)[0]) for one in found), key=lambda one: one.name)
    )


def _holes(item: Any, size: int) -> tuple[tuple[int, int], ...] | None:  # noqa: ANN401 - untyped library
    found: list[tuple[int, int]] = []
    at = 0
    try:
        extents = [item.get_extent(index) for index in range(item.number_of_extents)]
    except OSError:
        return None
    for _, length, flags in extents:
        length = min(length, size - at)  # noqa: PLW2901 - the last extent goes on to the end of its cluster
        if flags & _SPARSE_EXTENT and length > 0:
            if found and sum(found[-1]) == at:
                found[-1] = (found[-1][0], found[-1][1] + length)
            else:
                found.append((at, length))
        at += length
    return tuple(found)


if __name__ == "__main__":
    try:
        sys.stdout.write(read(sys.argv[1]).to_text())
    except OSError as broken:
        sys.exit(str(broken).partition("\n")[0][:300])
