"""Partition tables written from the makers' side of the formats: an oracle that is not the lab's own reader."""

from __future__ import annotations

import struct
from binascii import crc32
from collections.abc import Mapping, Sequence
from pathlib import Path

BASIC = bytes.fromhex("a2a0d0ebe5b9334487c068b6b72699c7")
"""The type of a partition that Windows makes."""


def mbr(*slots: tuple[int, int, int]) -> bytes:
    """A sector with the entries (type, first sector, sectors)."""
    sector = bytearray(512)
    for index, (kind, first, count) in enumerate(slots):
        struct.pack_into("<BII", sector, 0x1BE + 16 * index + 4, kind, 0, 0)
        struct.pack_into("<II", sector, 0x1BE + 16 * index + 8, first, count)
    sector[510:] = b"\x55\xaa"
    return bytes(sector)


def gpt(sectors: int, spans: Sequence[tuple[int, int] | None], sector: int = 512) -> Mapping[int, bytes]:
    """What stands at which byte of a disk whose partitions are the ``spans`` (first and last sector)."""
    entries = bytearray(128 * 128)
    for index, span in enumerate(spans):
        if span:
            entries[index * 128 : index * 128 + 16] = BASIC
            entries[index * 128 + 16 : index * 128 + 32] = bytes([index + 1] * 16)
            struct.pack_into("<QQ", entries, index * 128 + 32, *span)
    room = len(entries) // sector

    def header(own: int, other: int, table: int) -> bytes:
        raw = bytearray(92)
        fields = (b"EFI PART", 0x10000, 92, 0, 0, own, other, 2 + room, sectors - room - 2, bytes(16))
        struct.pack_into("<8sIIIIQQQQ16s", raw, 0, *fields)
        struct.pack_into("<QIII", raw, 72, table, 128, 128, crc32(entries))
        struct.pack_into("<I", raw, 16, crc32(raw))
        return bytes(raw)

    last = sectors - 1
    return {
        0: mbr((0xEE, 1, min(last, 0xFFFFFFFF))),
        sector: header(1, last, 2),
        2 * sector: bytes(entries),
        (last - room) * sector: bytes(entries),
        last * sector: header(last, 1, last - room),
    }


def laid(path: Path, size: int, pieces: Mapping[int, bytes]) -> Path:
    """A sparse file of ``size`` bytes, or as many as it takes, with these pieces in it."""
    with path.open("wb") as file:
        for at, piece in pieces.items():
            file.seek(at)
            file.write(piece)
        file.truncate(size or file.seek(0, 2))
    return path


def edited(path: Path, pieces: Mapping[int, bytes]) -> Path:
    """``path``, with these pieces written over what it holds."""
    with path.open("r+b") as file:
        for at, piece in pieces.items():
            file.seek(at)
            file.write(piece)
    return path
