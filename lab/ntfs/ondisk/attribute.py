"""Attribute headers inside an MFT record."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from lab.errors import ImageError

__all__ = [
    "ATTRIBUTE_LIST",
    "BITMAP",
    "DATA",
    "EA",
    "EA_INFORMATION",
    "FILE_NAME",
    "INDEX_ALLOCATION",
    "INDEX_ROOT",
    "LOGGED_UTILITY_STREAM",
    "OBJECT_ID",
    "REPARSE_POINT",
    "STANDARD_INFORMATION",
    "VOLUME_INFORMATION",
    "Attribute",
    "attributes",
    "find",
    "in_order",
    "insert",
    "replace",
    "resident",
]

STANDARD_INFORMATION = 0x10
ATTRIBUTE_LIST = 0x20
FILE_NAME = 0x30
OBJECT_ID = 0x40
VOLUME_INFORMATION = 0x70
DATA = 0x80
INDEX_ROOT = 0x90
INDEX_ALLOCATION = 0xA0
BITMAP = 0xB0
REPARSE_POINT = 0xC0
EA_INFORMATION = 0xD0
EA = 0xE0
LOGGED_UTILITY_STREAM = 0x100

_END = 0xFFFFFFFF
_NEXT_INSTANCE = 0x28
"""Where an MFT record keeps the number of its next attribute, and at 0x18 the bytes that are in use."""


@dataclass(frozen=True, slots=True)
class Attribute:
    """One attribute record; ``offset`` is its place in the MFT record.

    Layout (``struct ATTRIB`` in fs/ntfs3/ntfs.h)::

        0x00  4  type               resident:  0x10  4  value length    0x14  2  value offset
        0x04  4  length of this     otherwise: 0x10  8  first VCN       0x18  8  last VCN
        0x08  1  non-resident                  0x20  2  runlist offset  0x28  8  allocated size
        0x09  1  name length                   0x30  8  real size       0x38  8  valid size
        0x0a  2  name offset
        0x0c  2  flags (1 compressed, 0x4000 encrypted, 0x8000 sparse)
    """

    type: int
    offset: int
    flags: int
    name: str
    raw: bytes

    @property
    def resident(self) -> bool:
        """Whether the value lies in the MFT record itself."""
        return not self.raw[8]

    @property
    def value_offset(self) -> int:
        """The value's place in the MFT record (resident attributes only)."""
        return self.offset + int(struct.unpack_from("<H", self.raw, 0x14)[0])

    @property
    def value(self) -> bytes:
        """The resident value."""
        length, start = struct.unpack_from("<IH", self.raw, 0x10)
        return self.raw[start : start + length]

    @property
    def unpadded(self) -> bytes:
        """The attribute with zeros behind its resident value, up to its end."""
        if not self.resident:
            return self.raw
        length, start = struct.unpack_from("<IH", self.raw, 0x10)
        return self.raw[: start + length].ljust(len(self.raw), b"\0")

    @property
    def size(self) -> int:
        """The length of the value in bytes."""
        return int(struct.unpack_from("<I", self.raw, 0x10)[0] if self.resident else self._sizes[1])

    @property
    def valid_size(self) -> int:
        """How much of the value was ever written; what follows reads as zeros."""
        return self.size if self.resident else int(self._sizes[2])

    @property
    def _sizes(self) -> tuple[int, int, int]:
        allocated, size, valid = struct.unpack_from("<QQQ", self.raw, 0x28)
        return allocated, size, valid

    @property
    def runlist(self) -> bytes:
        """The packed runs (non-resident attributes only)."""
        return self.raw[int(struct.unpack_from("<H", self.raw, 0x20)[0]) :]


_RESIDENT, _NON_RESIDENT = 0x18, 0x40
"""The bytes of a header; fs/ntfs3/ntfs.h: SIZEOF_RESIDENT and SIZEOF_NONRESIDENT."""


def attributes(record: bytes, *, place: str) -> Iterator[Attribute]:
    """The attributes of an unprotected MFT record, in order.

    Raises:
        ImageError: a header runs over the end of the record.
    """
    (offset,) = struct.unpack_from("<H", record, 0x14)
    while offset + 4 <= len(record):
        (kind,) = struct.unpack_from("<I", record, offset)
        if kind == _END:
            return
        length = struct.unpack_from("<I", record, offset + 4)[0] if offset + 8 <= len(record) else 0
        least = _NON_RESIDENT if length > 8 and record[offset + 8 : offset + 9] > b"\0" else _RESIDENT
        if length < least or offset + length > len(record):
            raise ImageError(f"{place}+{offset:#x}: attribute {kind:#x} of {length} bytes does not fit its record")
        raw = record[offset : offset + length]
        _, name_length, name_offset, flags = struct.unpack_from("<BBHH", raw, 8)
        name = raw[name_offset : name_offset + 2 * name_length].decode("utf-16-le", "surrogatepass")
        yield Attribute(kind, offset, flags, name, raw)
        offset += length
    raise ImageError(f"{place}+{offset:#x}: the record has no end mark")


def find(record: bytes, kind: int, *, place: str, name: str = "") -> Attribute:
    """The first attribute of that type and name.

    Raises:
        ImageError: there is none.
    """
    for attribute in attributes(record, place=place):
        if attribute.type == kind and attribute.name == name:
            return attribute
    raise ImageError(f"{place}: no attribute {kind:#x}{f' named {name!r}' if name else ''}")


def resident(kind: int, value: bytes, *, name: str = "", flags: int = 0) -> bytes:
    """A resident attribute of that value; its instance number is given by :func:`insert`."""
    encoded = name.encode("utf-16-le", "surrogatepass")
    start = 0x18 + -(-len(encoded) // 8) * 8
    length = start + -(-len(value) // 8) * 8
    head = struct.pack("<IIBBHHHIHH", kind, length, 0, len(name), 0x18, flags, 0, len(value), start, 0)
    return (head + encoded).ljust(start, b"\0") + value.ljust(length - start, b"\0")


def replace(record: bytes, old: Attribute, raw: bytes, *, place: str) -> bytes:
    """The record with ``raw`` instead of ``old``; what stands behind it moves. An empty ``raw`` removes it.

    Raises:
        ImageError: there is no room for it.
    """
    return _put(record, old.offset, len(old.raw), raw, place=place)


def insert(record: bytes, raw: bytes, *, place: str) -> bytes:
    """The record with one more attribute, in its place by type, under the record's next instance number.

    Raises:
        ImageError: there is no room for it.
    """
    (kind,) = struct.unpack_from("<I", raw)
    (following,) = struct.unpack_from("<H", record, 0x14)
    for attribute in attributes(record, place=place):
        if attribute.type <= kind:
            following = attribute.offset + len(attribute.raw)
    (instance,) = struct.unpack_from("<H", record, _NEXT_INSTANCE)
    numbered = raw[:0x0E] + struct.pack("<H", instance) + raw[0x10:]
    longer = bytearray(_put(record, following, 0, numbered, place=place))
    struct.pack_into("<H", longer, _NEXT_INSTANCE, instance + 1)
    return bytes(longer)


def in_order(record: bytes, *, place: str) -> bytes:
    """The record with its $FILE_NAME attributes in the order of their values, and all of them numbered through.

    ntfs-3g puts names in an order that depends on the time of day, and leaves what it finds in memory between values.
    A record with an attribute list is left alone: the list refers to the numbers.

    Raises:
        ImageError: a header runs over the end of the record.
    """
    listed = list(attributes(record, place=place))
    if not listed or any(one.type == ATTRIBUTE_LIST for one in listed):
        return record
    ordered = sorted(listed, key=lambda one: (one.type, one.value if one.type == FILE_NAME else b""))
    start, end = listed[0].offset, listed[-1].offset + len(listed[-1].raw)
    raw = b"".join(one.unpadded[:0x0E] + struct.pack("<H", at) + one.unpadded[0x10:] for at, one in enumerate(ordered))
    changed = bytearray(record[:start] + raw + record[end:])
    struct.pack_into("<H", changed, _NEXT_INSTANCE, len(ordered))
    return bytes(changed)


def _put(record: bytes, at: int, length: int, raw: bytes, *, place: str) -> bytes:
    (used,) = struct.unpack_from("<I", record, 0x18)
    changed = record[:at] + raw + record[at + length : used]
    if len(changed) > len(record):
        raise ImageError(f"{place}: {len(changed)} bytes of attributes do not fit a record of {len(record)}")
    whole = bytearray(changed.ljust(len(record), b"\0"))
    struct.pack_into("<I", whole, 0x18, len(changed))
    return bytes(whole)
