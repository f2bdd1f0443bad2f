"""The bytes of a file as they are stored, read from the volume file by its structures.

What it gives is never believed: the model holds it against the manifest. So it need not be right everywhere, only fast,
and without a mount.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lab.errors import ImageError
from lab.ntfs.ondisk import attribute
from lab.ntfs.ondisk.attribute import Attribute
from lab.ntfs.ondisk.mft import Mft
from lab.ntfs.ondisk.runlist import Run, runs
from lab.ntfs.operations.bytes import Bytes
from lab.ntfs.operations.layout import Terrain
from lab.ntfs.operations.lznt1 import unpack

__all__ = ["Stored"]

_MOST = 2 << 30
"""Bytes of one file; a broken size may say anything."""

_COMPRESSED = 1
_UNIT = 0x22
"""Where a compressed attribute keeps the binary logarithm of the clusters of a unit."""

_FIRST_VCN = 0x10


@dataclass(frozen=True, slots=True)
class Stored:
    """Implements :class:`lab.ntfs.operations.source.Source` for the volume file ``path``."""

    path: Path
    terrain: Terrain

    def content(self, path: str) -> Bytes:
        """All bytes of a file.

        Raises:
            ImageError: its structures are broken, or it is of a kind that is not read here.
        """
        with Mft.open(self.path) as mft:
            try:
                return _content(mft, self.terrain.layouts[path].number, f"{self.path}: {path!a}")
            except (KeyError, struct.error) as broken:
                raise ImageError(f"{self.path}: {path!a} cannot be read: {broken}") from broken

    def number(self, path: str) -> int | None:
        """That of the MFT record."""
        found = self.terrain.layouts.get(path)
        return None if found is None else found.number


def _content(mft: Mft, number: int, place: str) -> Bytes:
    pieces = sorted(_pieces(mft, number, place), key=_first)
    if not pieces:
        raise ImageError(f"{place}: no $DATA")
    first = pieces[0]
    if first.resident:
        return Bytes.of(first.value)
    if first.size > _MOST:
        raise ImageError(f"{place}: {first.size} bytes are more than anybody has time for")
    listed = [run for piece in pieces for run in runs(piece.runlist, place=place)]
    whole = Bytes()
    packed = first.flags & _COMPRESSED
    for at, raw in _units(mft, listed, 1 << first.raw[_UNIT], place) if packed else _stored(mft, listed):
        whole.write(at, raw)
    whole.resize(first.valid_size)
    whole.resize(first.size)
    return whole


def _stored(mft: Mft, listed: list[Run]) -> Iterator[tuple[int, bytes]]:
    at = 0
    for run in listed:
        if run.start is not None:
            yield at, _read(mft, run)
        at += run.length * mft.boot.cluster


def _first(piece: Attribute) -> int:
    return 0 if piece.resident else int(struct.unpack_from("<Q", piece.raw, _FIRST_VCN)[0])


def _pieces(mft: Mft, number: int, place: str) -> Iterator[Attribute]:
    """The unnamed $DATA, from the file's own record and from those that it has besides."""
    record = mft.read(number)
    listed = list(attribute.attributes(record, place=place))
    records = {number}
    for one in listed:
        if one.type == attribute.ATTRIBUTE_LIST:
            raw = one.value if one.resident else b"".join(_read(mft, run) for run in runs(one.runlist, place=place))
            records |= set(_referenced(raw[: one.size]))
    for other in sorted(records):
        for one in attribute.attributes(mft.read(other), place=place):
            if one.type == attribute.DATA and not one.name:
                yield one


def _referenced(raw: bytes) -> Iterator[int]:
    """The records that an attribute list names: type (4 bytes), length (2), name (2), VCN (8), record (6)."""
    at = 0
    while at + 0x1A <= len(raw):
        kind, length = struct.unpack_from("<IH", raw, at)
        if length < 0x1A:
            return
        if kind == attribute.DATA:
            yield int.from_bytes(raw[at + 0x10 : at + 0x16], "little")
        at += length


def _read(mft: Mft, run: Run) -> bytes:
    size = run.length * mft.boot.cluster
    return bytes(size) if run.start is None else mft.read_at(run.start, 0, size)


def _units(mft: Mft, listed: list[Run], clusters: int, place: str) -> Iterator[tuple[int, bytes]]:
    """Where each unit lies, and what it holds. It is stored as it is, or packed and the rest a hole, or all a hole."""
    size = clusters * mft.boot.cluster
    each = [None if run.start is None else run.start + at for run in listed for at in range(run.length)]
    for at in range(0, len(each), clusters):
        unit = each[at : at + clusters]
        stored = [cluster for cluster in unit if cluster is not None]
        raw = b"".join(mft.read_at(cluster, 0, mft.boot.cluster) for cluster in stored)
        if len(stored) == clusters:
            yield at * mft.boot.cluster, raw
        elif stored:
            try:
                yield at * mft.boot.cluster, unpack(raw, size)
            except ImageError as broken:
                raise ImageError(f"{place}: cluster {at}: {broken.message}") from broken
