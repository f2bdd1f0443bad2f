"""$STANDARD_INFORMATION: the times and attributes that count.

Layout (``struct ATTR_STD_INFO`` in fs/ntfs3/ntfs.h)::

    0x00  8  created     0x10  8  record changed    0x20  4  attributes (FILE_ATTRIBUTE_* of [MS-FSCC] 2.6)
    0x08  8  modified    0x18  8  accessed          0x34  4  security id (NTFS 3.0 and later)
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from lab.ntfs.ondisk import attribute
from lab.ntfs.ondisk.attribute import Attribute

__all__ = [
    "ARCHIVE",
    "COMPRESSED",
    "ENCRYPTED",
    "HIDDEN",
    "NOT_INDEXED",
    "OFFLINE",
    "PINNED",
    "READ_ONLY",
    "RECALL_ON_DATA_ACCESS",
    "RECALL_ON_OPEN",
    "REPARSE",
    "SPARSE",
    "SYSTEM",
    "TEMPORARY",
    "UNPINNED",
    "Moments",
    "attributes_of",
    "moments",
    "with_attributes",
    "with_moments",
]

READ_ONLY = 0x1
HIDDEN = 0x2
SYSTEM = 0x4
ARCHIVE = 0x20
TEMPORARY = 0x100
SPARSE = 0x200
REPARSE = 0x400
COMPRESSED = 0x800
OFFLINE = 0x1000
NOT_INDEXED = 0x2000
ENCRYPTED = 0x4000
RECALL_ON_OPEN = 0x40000
PINNED = 0x80000
UNPINNED = 0x100000
RECALL_ON_DATA_ACCESS = 0x400000

Moments = tuple[int, int, int, int]
"""Created, modified, record changed, accessed, in the order of the disk."""

_FLAGS = 0x20


def _find(record: bytes, place: str) -> Attribute:
    return attribute.find(record, attribute.STANDARD_INFORMATION, place=place)


def moments(record: bytes, *, place: str) -> Moments:
    """The four times of an unprotected MFT record.

    Raises:
        ImageError: it has no such attribute.
    """
    created, modified, changed, accessed = struct.unpack_from("<4Q", _find(record, place).value)
    return created, modified, changed, accessed


def with_moments(record: bytes, times: Moments, *, place: str) -> bytes:
    """The record with other times, in $STANDARD_INFORMATION and in each $FILE_NAME that it holds."""
    changed = bytearray(record)
    for at in _places(record, place):
        struct.pack_into("<4Q", changed, at, *times)
    return bytes(changed)


def _places(record: bytes, place: str) -> Iterator[int]:
    """Where four times stand: at the start of $STANDARD_INFORMATION, after the parent in $FILE_NAME."""
    for found in attribute.attributes(record, place=place):
        if found.type == attribute.STANDARD_INFORMATION:
            yield found.value_offset
        elif found.type == attribute.FILE_NAME:
            yield found.value_offset + 8


def attributes_of(record: bytes, *, place: str) -> int:
    """The file attributes of an unprotected MFT record.

    Raises:
        ImageError: it has no $STANDARD_INFORMATION.
    """
    return int(struct.unpack_from("<I", _find(record, place).value, _FLAGS)[0])


def with_attributes(record: bytes, flags: int, *, place: str) -> bytes:
    """The record with other file attributes."""
    changed = bytearray(record)
    struct.pack_into("<I", changed, _find(record, place).value_offset + _FLAGS, flags)
    return bytes(changed)
