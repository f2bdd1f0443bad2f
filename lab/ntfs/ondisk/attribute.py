"""Attribute headers inside an MFT record."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from lab.errors import ImageError

__all__ = ["DATA", "VOLUME_INFORMATION", "Attribute", "attributes", "find"]

VOLUME_INFORMATION = 0x70
DATA = 0x80
_END = 0xFFFFFFFF


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
    def runlist(self) -> bytes:
        """The packed runs (non-resident attributes only)."""
        return self.raw[int(struct.unpack_from("<H", self.raw, 0x20)[0]) :]


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
        if length < 0x18 or offset + length > len(record):
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
