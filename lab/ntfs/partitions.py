"""Where the partitions of a whole disk lie: GPT (UEFI 2.10, chapter 5) and MBR with its extended chain."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

__all__ = ["Partition", "partitions"]

_SECTORS = (512, 4096)
_MBR_SLOTS = range(0x1BE, 0x1FE, 16)
_EXTENDED = frozenset({0x05, 0x0F, 0x85})
_PROTECTIVE = 0xEE
_MOST = 256
"""More are a damaged chain or table."""


@dataclass(frozen=True, slots=True)
class Partition:
    """One partition, in bytes. ``number`` is that of Linux: logical ones count from 5."""

    number: int
    offset: int
    size: int


def partitions(disk: BinaryIO) -> tuple[Partition, ...]:
    """The partitions of ``disk``, or none if it has no table."""
    sector0 = _read(disk, 0, 512)
    if sector0[510:512] != b"\x55\xaa":
        return ()
    if any(sector0[slot + 4] == _PROTECTIVE for slot in _MBR_SLOTS):
        for sector in _SECTORS:
            if _read(disk, sector, 8) == b"EFI PART":
                return tuple(_gpt(disk, sector))
    return tuple(_mbr(disk, sector0))


def _read(disk: BinaryIO, offset: int, size: int) -> bytes:
    """Exactly ``size`` bytes; what is past the end reads as zeros."""
    disk.seek(offset)
    return disk.read(size).ljust(size, b"\0")


def _gpt(disk: BinaryIO, sector: int) -> Iterator[Partition]:
    table, count, size = struct.unpack_from("<QII", _read(disk, sector, 96), 72)
    if size < 128:
        return
    for index in range(min(count, _MOST)):
        entry = _read(disk, table * sector + index * size, 128)
        first, last = struct.unpack_from("<QQ", entry, 32)
        if any(entry[:16]) and last >= first:
            yield Partition(index + 1, first * sector, (last - first + 1) * sector)


def _mbr(disk: BinaryIO, sector0: bytes) -> Iterator[Partition]:
    for index, slot in enumerate(_MBR_SLOTS):
        kind, first, count = sector0[slot + 4], *struct.unpack_from("<II", sector0, slot + 8)
        if kind in _EXTENDED:
            yield from _logical(disk, first)
        elif kind and count:
            yield Partition(index + 1, first * 512, count * 512)


def _logical(disk: BinaryIO, start: int) -> Iterator[Partition]:
    """Each link holds a partition relative to itself and the next link relative to the chain's start."""
    link, seen = start, set[int]()
    while link not in seen and len(seen) < _MOST:
        seen.add(link)
        sector = _read(disk, link * 512, 512)
        if sector[510:512] != b"\x55\xaa":
            return
        kind, first, count = sector[0x1C2], *struct.unpack_from("<II", sector, 0x1C6)
        if kind and count:
            yield Partition(4 + len(seen), (link + first) * 512, count * 512)
        following = struct.unpack_from("<I", sector, 0x1D6)[0]
        if not sector[0x1D2] or not following:
            return
        link = start + following
