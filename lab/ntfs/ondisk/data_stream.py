"""The $DATA of a file, edited in its MFT record: how much of it is valid, and whether it is encrypted."""

from __future__ import annotations

import struct

from lab.errors import ImageError
from lab.ntfs.ondisk import attribute

__all__ = ["ENCRYPTED", "with_flags", "with_valid_size"]

ENCRYPTED = 0x4000
"""The attribute's flag, beside compressed (1) and sparse (0x8000)."""

_FLAGS = 0x0C
_VALID = 0x38


def with_valid_size(record: bytes, valid: int, *, place: str, name: str = "") -> bytes:
    """The record with another valid data length ("initialized size") of a non-resident $DATA.

    Raises:
        ImageError: there is no such stream, it is resident, or shorter.
    """
    found = attribute.find(record, attribute.DATA, place=place, name=name)
    if found.resident or valid > found.size:
        raise ImageError(f"{place}: $DATA of {found.size} bytes cannot have a valid length of {valid}")
    changed = bytearray(record)
    struct.pack_into("<Q", changed, found.offset + _VALID, valid)
    return bytes(changed)


def with_flags(record: bytes, flags: int, *, place: str) -> bytes:
    """The record with more flags on its unnamed $DATA.

    Raises:
        ImageError: there is no such stream.
    """
    found = attribute.find(record, attribute.DATA, place=place)
    changed = bytearray(record)
    struct.pack_into("<H", changed, found.offset + _FLAGS, found.flags | flags)
    return bytes(changed)
