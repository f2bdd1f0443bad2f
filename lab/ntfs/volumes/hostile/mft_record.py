"""MFT records that contradict themselves: update sequences, offsets, lengths, links to other records."""

from __future__ import annotations

import struct
from collections.abc import Callable

from lab.ntfs.ondisk.index import lookup
from lab.ntfs.ondisk.mft import Mft
from lab.ntfs.volumes.hostile.base import BYSTANDER, FOLDER, VICTIM
from lab.ntfs.volumes.hostile.change import Number, field, noise, one, put, register
from lab.ntfs.volumes.hostile.dice import Dice
from lab.ntfs.volumes.hostile.mutation import Change, Good, Mutation
from lab.ntfs.volumes.hostile.place import raw_record, record

__all__: list[str] = []

_FIXUPS = "{} in struct NTFS_RECORD_HEADER (fs/ntfs3/ntfs.h), used by ntfs_fix_post_read (fs/ntfs3/fsntfs.c)"
_RECORD = "{} in struct MFT_REC (fs/ntfs3/ntfs.h), used by mi_enum_attr (fs/ntfs3/record.c)"
_NEXT = 4
"""Where the update sequence array's offset stands, its count right behind."""


def _fixups(name: str, breaks: str, what: str, at: int, value: Number) -> Mutation:
    change = field(at, "H", value)
    return Mutation(name, breaks, _FIXUPS.format(what), Good.ERROR, one(raw_record(VICTIM), change), (VICTIM,))


def _record(name: str, breaks: str, what: str, change: Change, *, victim: str = VICTIM) -> Mutation:
    base = "index" if victim == FOLDER else "plain"
    return Mutation(name, breaks, _RECORD.format(what), Good.ERROR, one(record(victim), change), (victim,), base)


def _reference(of: str) -> Callable[[Dice, Mft], int]:
    def found(_: Dice, mft: Mft) -> int:
        wanted = lookup(mft, of, place=of)
        (sequence,) = struct.unpack_from("<H", mft.read(wanted), 0x10)
        return int(sequence) << 48 | wanted

    return found


def _other_sequence(raw: bytearray, dice: Dice, _: Mft) -> None:
    (now,) = struct.unpack_from("<H", raw, 0x10)
    put(raw, 0x10, "H", now + dice.between(1, 0x7000))


def _flip(flag: int) -> Change:
    def change(raw: bytearray, _: Dice, __: Mft) -> None:
        raw[0x16] ^= flag

    return change


def _no_end(raw: bytearray, dice: Dice, _: Mft) -> None:
    """Where the end mark stands, an attribute of a type that there is none of, as long as the rest of the record."""
    (used,) = struct.unpack_from("<I", raw, 0x18)
    end = raw.index(b"\xff\xff\xff\xff", used - 8)
    put(raw, end, "I", dice.between(0x1000, 0xFFFF) << 4)
    put(raw, end + 4, "I", len(raw) - end)
    put(raw, 0x18, "I", len(raw))


register(
    _fixups("fixup-none", "an update sequence of no numbers", "fix_num", 6, 0),
    _fixups(
        "fixup-many", "an update sequence of more numbers than the record has strides", "fix_num", 6, noise(200, 0xFFFF)
    ),
    _fixups("fixup-outside", "an update sequence past the end of the record", "fix_off", _NEXT, noise(0x400, 0x7FFF)),
    _fixups("fixup-on-itself", "an update sequence over the places that it protects", "fix_off", _NEXT, 0x1FC),
    _record(
        "record-start-outside",
        "attributes that begin past the end of the record",
        "attr_off",
        field(0x14, "H", lambda dice, _: 8 * dice.between(0x80, 0x1FFF)),
    ),
    _record(
        "record-start-odd",
        "attributes that begin at an odd offset",
        "attr_off",
        field(0x14, "H", lambda dice, _: 2 * dice.between(0x20, 0x40) + 1),
    ),
    _record(
        "record-used-too-much", "more bytes in use than the record has", "used", field(0x18, "I", noise(0x401, 1 << 31))
    ),
    _record(
        "record-used-too-little", "fewer bytes in use than the header has", "used", field(0x18, "I", noise(0, 0x2F))
    ),
    _record(
        "record-total-wrong",
        "an allocated size that is not the volume's",
        "total",
        field(0x1C, "I", noise(0x800, 1 << 31)),
    ),
    _record("record-own-base", "a record that extends itself", "parent_ref", field(0x20, "Q", _reference(VICTIM))),
    _record(
        "record-other-base",
        "a file's own record that says it extends another file's",
        "parent_ref",
        field(0x20, "Q", _reference(BYSTANDER)),
    ),
    _record("record-sequence", "a record that was used anew since it got its name", "seq", _other_sequence),
    _record("record-free", "a name whose record is not in use", "flags", _flip(1)),
    _record("record-file-is-folder", "a file's record that says it is a directory", "flags", _flip(2)),
    _record("record-folder-is-file", "a directory's record that says it is none", "flags", _flip(2), victim=FOLDER),
    _record("record-no-end", "no end mark, and an attribute of an unknown type up to the end", "used", _no_end),
    Mutation(
        "record-links-zero",
        "a file with a name that says it has none",
        _RECORD.format("hard_links"),
        Good.NOTHING,
        one(record(VICTIM), field(0x12, "H", 0)),
        forgets=((VICTIM, "names"),),
    ),
)
