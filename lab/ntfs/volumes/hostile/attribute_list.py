"""Attribute lists that lead in circles, to nothing, or to what is not theirs."""

from __future__ import annotations

import struct
from collections.abc import Callable

from lab.ntfs.ondisk.attribute import ATTRIBUTE_LIST, DATA
from lab.ntfs.ondisk.index import lookup
from lab.ntfs.ondisk.mft import Mft
from lab.ntfs.volumes.hostile.base import BYSTANDER, SHREDS
from lab.ntfs.volumes.hostile.change import free_record, in_attribute, one, put, register
from lab.ntfs.volumes.hostile.dice import Dice
from lab.ntfs.volumes.hostile.mutation import Change, Good, Mutation
from lab.ntfs.volumes.hostile.place import Place, record, stream

__all__: list[str] = []

_STRUCTURE = "{} in struct ATTR_LIST_ENTRY (fs/ntfs3/ntfs.h), walked by al_enumerate (fs/ntfs3/attrlist.c)"

_LIST = stream(SHREDS, ATTRIBUTE_LIST)

Value = Callable[[int, Dice, Mft], int]
"""What is to stand in an entry; the first argument is what stands there now."""


def _entries(raw: bytearray) -> list[int]:
    """Where the entries that tell of parts of $DATA stand in the list, in order; behind the last are zeros."""
    at, listed = 0, []
    while at + 6 <= len(raw):
        kind, length = struct.unpack_from("<IH", raw, at)
        if not length:
            break
        if kind == DATA:
            listed.append(at)
        at += length
    return listed


def _entry(at: int, form: str, value: Value, *, which: int = 1) -> Change:
    """Set a field of an entry; 0 is that of the first part of the file, and there are more."""

    def change(raw: bytearray, dice: Dice, mft: Mft) -> None:
        start = _entries(raw)[which] + at
        (now,) = struct.unpack_from(f"<{form}", raw, start)
        put(raw, start, form, value(now, dice, mft))

    return change


def _list(name: str, breaks: str, what: str, change: Change, *, place: Place = _LIST) -> Mutation:
    edits = one(place, change)
    return Mutation(name, breaks, _STRUCTURE.format(what), Good.ERROR, edits, (SHREDS,), "list")


def _reference(number: int, sequence: int = 1) -> int:
    return sequence << 48 | number


def _of(path: str) -> Value:
    def found(_: int, __: Dice, mft: Mft) -> int:
        number = lookup(mft, path, place=path)
        return _reference(number, struct.unpack_from("<H", mft.read(number), 0x10)[0])

    return found


def _swap(raw: bytearray, _: Dice, __: Mft) -> None:
    first, second = _entries(raw)[:2]
    for at, size in ((8, 8), (0x10, 8), (0x18, 2)):
        one_, other = raw[first + at : first + at + size], raw[second + at : second + at + size]
        raw[first + at : first + at + size], raw[second + at : second + at + size] = other, one_


register(
    _list(
        "list-entry-zero", "an entry of no length: who walks on by it never ends", "size", _entry(4, "H", lambda *_: 0)
    ),
    _list(
        "list-entry-long",
        "an entry longer than its list",
        "size",
        _entry(4, "H", lambda _, dice, __: 8 * dice.between(0x80, 0x1FFF)),
    ),
    _list(
        "list-name-outside",
        "an entry whose name lies past its end",
        "name_len, name_off",
        _entry(6, "H", lambda *_: 0xFFFF),
    ),
    _list(
        "list-to-base", "parts that are said to lie in the file's first record", "ref", _entry(0x10, "Q", _of(SHREDS))
    ),
    _list(
        "list-to-other", "a part that is said to lie in another file's record", "ref", _entry(0x10, "Q", _of(BYSTANDER))
    ),
    _list(
        "list-to-free",
        "a part in an MFT record that is not in use",
        "ref",
        _entry(0x10, "Q", lambda _, dice, mft: _reference(free_record(dice, mft))),
    ),
    _list(
        "list-outside",
        "a part in an MFT record past the end of the table",
        "ref",
        _entry(0x10, "Q", lambda _, dice, mft: _reference(mft.count + dice.between(1, 1 << 40))),
    ),
    _list(
        "list-sequence",
        "a part in a record that was used anew since",
        "ref",
        _entry(0x10, "Q", lambda now, dice, _: now ^ dice.between(1, 0x7FFF) << 48),
    ),
    _list("list-of-lists", "an attribute list in an attribute list", "type", _entry(0, "I", lambda *_: ATTRIBUTE_LIST)),
    _list(
        "list-gap",
        "a hole in the parts of a file",
        "vcn",
        _entry(8, "Q", lambda now, dice, _: now + dice.between(1, 50)),
    ),
    _list(
        "list-overlap",
        "two parts of a file that overlap",
        "vcn",
        _entry(8, "Q", lambda now, dice, _: now - dice.between(1, 50)),
    ),
    _list(
        "list-same-part", "the first part of a file twice, the second not at all", "vcn", _entry(8, "Q", lambda *_: 0)
    ),
    _list("list-swapped", "the parts of a file in another order", "vcn", _swap),
    _list(
        "list-identity",
        "a part under a number that its record does not have",
        "id",
        _entry(0x18, "H", lambda now, dice, _: now + dice.between(0x100, 0x7000)),
    ),
    _list(
        "list-empty",
        "an attribute list of no entries",
        "the list's length",
        in_attribute(ATTRIBUTE_LIST, 0x30, "Q", 0),
        place=record(SHREDS),
    ),
)
