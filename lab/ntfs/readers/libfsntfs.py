"""The reader libfsntfs (LGPL), the only place that imports it. Run as a program: ``VOLUME`` in, manifest out."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from typing import Any

import pyfsntfs

from lab.ntfs.manifest import Entry, Feature, Kind, Manifest, Reparse, Stream, Times, digest
from lab.ntfs.observation import is_system_name
from lab.ntfs.ondisk.reparse import Tag

__all__ = ["read"]

_CHUNK = 1 << 20
_SEES = frozenset(Feature) - {Feature.EAS, Feature.OBJECT_IDS, Feature.SHORT_NAMES, Feature.NAME_COUNTS}
_LINKS = {Tag.SYMLINK: Kind.SYMLINK, Tag.LX_SYMLINK: Kind.SYMLINK, Tag.MOUNT_POINT: Kind.JUNCTION}
_REPARSE_POINT = 0xC0
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
    _walk(opened.get_root_directory(), "", frozenset(), entries, unsure)
    return Manifest(tuple(entries), _SEES, frozenset(unsure))


def _walk(folder: Any, path: str, above: frozenset[int], entries: list[Entry], unsure: set[str]) -> None:  # noqa: ANN401 - untyped library
    here = folder.file_reference
    if here in above or len(above) >= _MOST_DEPTH:
        unsure.add(path)
        return
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
            _walk(child, below, above | {here}, entries, unsure)


def _entry(item: Any, path: str) -> Entry:  # noqa: ANN401 - untyped library
    flags = item.file_attribute_flags
    if flags is None:
        raise OSError("no $STANDARD_INFORMATION")
    tag = _tag(item) if flags & _REPARSE_FLAG else None
    kind = _kind(item, tag)
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
        target=_target(item, tag),
        streams=_streams(item),
        times=Times(
            item.get_creation_time_as_integer(),
            item.get_modification_time_as_integer(),
            item.get_entry_modification_time_as_integer(),
            item.get_access_time_as_integer(),
        ),
        attributes=flags,
        holes=holes,
        reparse=Reparse(tag, None) if tag else None,
        security=_security(item),
    )


def _kind(item: Any, tag: int | None) -> Kind:  # noqa: ANN401 - untyped library
    if tag in _LINKS:
        return _LINKS[Tag(tag)]
    if item.has_directory_entries_index():
        return Kind.DIRECTORY
    return Kind.UNKNOWN if tag == 0 else Kind.FILE


def _tag(item: Any) -> int | None:  # noqa: ANN401 - untyped library
    """The tag; 0 where the reparse point is not in the MFT record, which the library does not follow."""
    for index in range(item.number_of_attributes):
        attribute = item.get_attribute(index)
        if attribute.attribute_type == _REPARSE_POINT:
            tag = getattr(attribute, "tag", None)
            return None if tag is None else int(tag)
    return None


def _target(item: Any, tag: int | None) -> str | None:  # noqa: ANN401 - untyped library
    """Of Windows' symbolic links alone; it does not tell where other links lead."""
    target = item.symbolic_link_target if tag == Tag.SYMLINK else None
    return None if target is None else str(target)


def _security(item: Any) -> str | None:  # noqa: ANN401 - untyped library
    try:
        raw = item.security_descriptor_data
    except OSError:
        return None
    return hashlib.sha256(raw).hexdigest() if raw else None


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
