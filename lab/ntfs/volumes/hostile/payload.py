"""What attributes hold, where drivers have to understand it: reparse points, extended attributes, LZNT1."""

from __future__ import annotations

import struct

from lab.ntfs.ondisk.attribute import EA, EA_INFORMATION, REPARSE_POINT
from lab.ntfs.ondisk.mft import Mft
from lab.ntfs.volumes.hostile.base import EAS, LINK, PACKED
from lab.ntfs.volumes.hostile.change import Number, in_attribute, in_value, noise, of_attribute, one, put, register
from lab.ntfs.volumes.hostile.dice import Dice
from lab.ntfs.volumes.hostile.mutation import Change, Good, Mutation
from lab.ntfs.volumes.hostile.place import record, stream

__all__: list[str] = []

_REPARSE = "{} in struct REPARSE_DATA_BUFFER (fs/ntfs3/ntfs.h), read by ntfs_readlink_hlp (fs/ntfs3/inode.c)"
_EA = "{} in struct {} (fs/ntfs3/ntfs.h), walked by find_ea (fs/ntfs3/xattr.c)"
_LZNT1 = "{} of LZNT1 ([MS-XCA] 2.5), unpacked by decompress_lznt (fs/ntfs3/lznt.c)"


def _link(name: str, breaks: str, what: str, change: Change) -> Mutation:
    forgets = ((LINK, "reparse"),)  # a driver that shows the raw buffer shows what is there
    edits = one(record(LINK), change)
    return Mutation(name, breaks, _REPARSE.format(what), Good.ERROR, edits, (LINK,), "links", forgets=forgets)


def _ea(name: str, breaks: str, what: str, change: Change, *, of: str = "EA_FULL") -> Mutation:
    edits, forgets = one(record(EAS), change), ((EAS, "eas"),)
    return Mutation(name, breaks, _EA.format(what, of), Good.ERROR, edits, (EAS,), "eas", forgets=forgets)


def _second(at: int, form: str, value: Number) -> Change:
    """Set a field of the second of the extended attributes."""

    def change(raw: bytearray, dice: Dice, mft: Mft) -> None:
        found = of_attribute(raw, EA)
        (distance,) = struct.unpack_from("<I", found.value)
        in_value(EA, distance + at, form, value)(raw, dice, mft)

    return change


def _packed(name: str, breaks: str, what: str, change: Change) -> Mutation:
    return Mutation(name, breaks, _LZNT1.format(what), Good.ERROR, one(stream(PACKED), change), (PACKED,), "packed")


def _token(value: int) -> Change:
    """The second item of the first chunk, which is a byte that stands for itself, becomes a reference."""

    def change(raw: bytearray, _: Dice, __: Mft) -> None:
        raw[2] |= 2
        put(raw, 4, "H", value)

    return change


def _chunk_length(raw: bytearray, _: Dice, __: Mft) -> None:
    """The first chunk says that it takes 4098 bytes, and that they are compressed."""
    put(raw, 0, "H", 0xBFFF)


def _signature(raw: bytearray, dice: Dice, _: Mft) -> None:
    (header,) = struct.unpack_from("<H", raw)
    put(raw, 0, "H", header & 0x8FFF | dice.pick((0, 1, 2, 4, 5, 6, 7)) << 12)


def _noise(raw: bytearray, dice: Dice, _: Mft) -> None:
    """The first cluster of the first unit, behind the chunk's header."""
    raw[2:4096] = dice.bytes(4094)


register(
    _link(
        "reparse-too-long",
        "a reparse buffer longer than its attribute",
        "ReparseDataLength",
        in_value(REPARSE_POINT, 4, "H", noise(0x400, 0xFFFF)),
    ),
    _link(
        "reparse-cut",
        "a reparse point shorter than its own header",
        "all",
        in_attribute(REPARSE_POINT, 0x10, "I", noise(0, 7)),
    ),
    _link(
        "reparse-name-outside",
        "a link's target past the end of the buffer",
        "SubstituteNameOffset",
        in_value(REPARSE_POINT, 8, "H", noise(0x400, 0xFFFE)),
    ),
    _link(
        "reparse-name-long",
        "a link's target longer than the buffer",
        "SubstituteNameLength",
        in_value(REPARSE_POINT, 0x0A, "H", lambda dice, _: 2 * dice.between(0x200, 0x7FFF)),
    ),
    _link(
        "reparse-name-odd",
        "a link's target of half a character",
        "SubstituteNameLength",
        in_value(REPARSE_POINT, 0x0A, "H", lambda dice, _: 2 * dice.between(1, 10) + 1),
    ),
    _ea("ea-loop", "an extended attribute of no length: who walks on by it never ends", "size", _second(0, "I", 0)),
    _ea(
        "ea-outside",
        "an extended attribute whose neighbour is past the end",
        "size",
        _second(0, "I", noise(0x400, (1 << 32) - 4)),
    ),
    _ea("ea-name-long", "a name longer than its extended attribute", "name_len", _second(5, "B", 255)),
    _ea(
        "ea-value-long", "a value longer than its extended attribute", "elength", _second(6, "H", noise(0x400, 0xFFFF))
    ),
    _ea(
        "ea-packed-size",
        "a size of all that is larger than there is",
        "size",
        in_value(EA_INFORMATION, 4, "I", noise(0x10000, (1 << 32) - 1)),
        of="EA_INFO",
    ),
    _packed("lznt1-before-start", "a reference to what is before the start of its chunk", "a token", _token(0xF000)),
    _packed("lznt1-too-much", "a chunk that unpacks to more than 4096 bytes", "a token", _token(0x0FFF)),
    _packed("lznt1-chunk-long", "a chunk that runs into the next", "a chunk's header", _chunk_length),
    _packed("lznt1-signature", "a chunk whose header is none", "a chunk's header", _signature),
    _packed("lznt1-noise", "a chunk of noise", "a chunk", _noise),
)
