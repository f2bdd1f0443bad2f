"""The tree of a recipe written through a mount by ntfs-3g, and what its files have besides bytes."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterable
from pathlib import Path

from lab.ntfs.ondisk import extended_attribute, reparse, wof
from lab.ntfs.ondisk.reparse import ReparsePoint
from lab.ntfs.volumes.content import random
from lab.ntfs.volumes.tree import Directory, File, HardLink, Node, Single, Special, times_of

__all__ = ["decorate", "options_for", "write"]

_COMPRESSED = 0x800
_OPTIONS = ("rw", "noatime", "big_writes")
_LONGEST_XATTR = 1 << 16
"""Linux hands no longer extended attribute on; a longer stream is written as a file of its own."""


def options_for(items: Iterable[Single]) -> tuple[str, ...]:
    """The mount options that the tree needs: with long streams, names with a colon are streams, not files."""
    return (*_OPTIONS, f"streams_interface={'windows' if _has_long_stream(items) else 'xattr'}")


def _has_long_stream(items: Iterable[Single]) -> bool:
    nodes = [item for item in items if isinstance(item, Directory | File)]
    return any(len(raw) > _LONGEST_XATTR for item in nodes for _, raw in _streams(item))


def write(items: tuple[Single, ...], root: Path, check: Callable[[str], object]) -> None:
    """Create everything, in the order of the recipe; ``check`` is called with each path before.

    Raises:
        OSError: it cannot be written.
    """
    long = _has_long_stream(items)
    for item in items:
        check(item.path)
        path = root / item.path
        match item:
            case Directory():
                path.mkdir()
                if item.compressed:
                    os.setxattr(path, "system.ntfs_attrib", struct.pack("<I", _COMPRESSED))
            case File():
                _write_file(item, path)
            case HardLink():
                path.hardlink_to(root / item.to)
            case Special(target=""):
                os.mknod(path, item.mode, item.device)
            case Special():
                path.symlink_to(item.target)
        if isinstance(item, Directory | File):
            _write_streams(item, path, long=long)


def _write_file(item: File, path: Path) -> None:
    with path.open("xb", buffering=0) as file:
        if item.step:
            _write_scattered(file.fileno(), item)
        elif not item.wof:
            _write_content(file.fileno(), item)


def _write_content(file: int, item: File) -> None:
    content = item.content
    for extent in content.extents:
        os.pwrite(file, extent.bytes(), extent.offset)
    if item.valid is not None:
        stale = random(f"stale {item.path}", content.size - item.valid)
        os.pwrite(file, b"".join(stale.chunks()), item.valid)
    if os.fstat(file).st_size < content.size:
        os.truncate(file, content.size)


def _streams(item: Node) -> Iterable[tuple[str, bytes]]:
    for name, content in item.streams:
        yield name, b"".join(content.chunks())
    if isinstance(item, File) and item.wof:
        yield wof.STREAM, item.content.packed(item.wof)


def _write_streams(item: Node, path: Path, *, long: bool) -> None:
    for name, raw in _streams(item):
        if long:
            path.with_name(f"{path.name}:{name}").write_bytes(raw)
        else:
            os.setxattr(path, f"user.{name}", raw)


def _write_scattered(file: int, item: File) -> None:
    """Every other piece first, the last one among them; what is put between them then cannot lie there on disk."""
    raw = b"".join(item.content.chunks())
    pieces = [(at, raw[at : at + item.step]) for at in range(0, len(raw), item.step)]
    for at, piece in (*pieces[::-2], *pieces[-2::-2]):
        os.pwrite(file, piece, at)


def decorate(item: Directory | File | Special, root: Path) -> None:
    """Extended attributes, alias, object id, security, times and reparse point of what is written already.

    Raises:
        OSError: ntfs-3g refuses one of them.
    """
    path = root / item.path
    if not isinstance(item, Special):
        extras = item.extras
        if extras.eas:
            _set(path, "ea", extended_attribute.encode(extras.eas))
        if extras.object_id:
            _set(path, "object_id", extras.object_id)
        if extras.security:
            _set(path, "acl", extras.security)
        if extras.short_name:
            _set(path, "dos_name", extras.short_name.encode())
    times = times_of(item)
    # ntfs-3g takes creation, modification and access time in this order, exact to 100 ns.
    _set(path, "times", struct.pack("<3Q", times.created or 0, times.modified or 0, times.accessed or 0))
    # Last: the kernel no longer talks to a file that has turned into a link since it was opened.
    if (point := _reparse_point(item)) is not None:
        if isinstance(item, File) and item.wof:
            os.truncate(path, item.content.size)
            _set(path, "times", struct.pack("<3Q", times.created or 0, times.modified or 0, times.accessed or 0))
        _set(path, "reparse_data", reparse.encode(point))


def _reparse_point(item: Directory | File | Special) -> ReparsePoint | None:
    match item:
        case File(wof=str(form)) if form:
            return reparse.wof(wof.FORMATS[form].number)
        case Directory() | File():
            return item.extras.reparse
        case Special():
            return None


def _set(path: Path, what: str, value: bytes) -> None:
    os.setxattr(path, f"system.ntfs_{what}", value, follow_symlinks=False)
