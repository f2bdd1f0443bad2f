"""$EA: extended attributes, a list of names and values (OS/2's, and the Linux subsystem's $LXUID and so on).

Layout of one (``struct EA_FULL`` in fs/ntfs3/ntfs.h; FILE_FULL_EA_INFORMATION in [MS-FSCC] 2.4.15)::

    0x00  4  distance to the next, the last one's own length too    0x06  2  length of the value
    0x04  1  flags (0x80 needed to understand the file)             0x08     the name, ASCII, and a NUL
    0x05  1  length of the name                                     then the value, padded to 4 bytes
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from lab.errors import ImageError

__all__ = ["ExtendedAttribute", "decode", "encode"]


@dataclass(frozen=True, slots=True)
class ExtendedAttribute:
    """A name of up to 254 ASCII characters, and its value."""

    name: str
    value: bytes
    flags: int = 0


def encode(attributes: Iterable[ExtendedAttribute]) -> bytes:
    """The attribute's value."""
    packed = bytearray()
    for one in attributes:
        name = one.name.encode("ascii")
        body = struct.pack("<BBH", one.flags, len(name), len(one.value)) + name + b"\0" + one.value
        length = -(-(4 + len(body)) // 4) * 4
        packed += (struct.pack("<I", length) + body).ljust(length, b"\0")
    return bytes(packed)


def decode(value: bytes, *, place: str) -> Iterator[ExtendedAttribute]:
    """What :func:`encode` undoes.

    Raises:
        ImageError: one runs over the end, or ends before it begins.
    """
    at = 0
    while at < len(value):
        head = value[at : at + 8]
        distance, flags, name_length, value_length = struct.unpack("<IBBH", head) if len(head) == 8 else (0, 0, 0, 0)
        least = 8 + name_length + 1 + value_length
        if distance < least or at + distance > len(value):
            raise ImageError(f"{place}+{at:#x}: extended attribute of {distance} bytes does not fit")
        name = value[at + 8 : at + 8 + name_length]
        start = at + 8 + name_length + 1
        yield ExtendedAttribute(name.decode("latin-1"), value[start : start + value_length], flags)
        at += distance
