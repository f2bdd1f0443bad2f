"""Indexes of directories that cannot be walked, or that walk in circles."""

from __future__ import annotations

import struct
from itertools import pairwise

from lab.ntfs.ondisk import attribute
from lab.ntfs.ondisk.attribute import BITMAP, INDEX_ALLOCATION, INDEX_ROOT
from lab.ntfs.ondisk.index import NAME, Slot, lookup, slots
from lab.ntfs.ondisk.mft import Mft
from lab.ntfs.volumes.hostile.base import DEEP, FOLDER, INNER
from lab.ntfs.volumes.hostile.change import (
    BLOCK_HEADER,
    ROOT_HEADER,
    after_slots,
    either,
    field,
    free_record,
    in_attribute,
    in_slot,
    in_value,
    noise,
    of_attribute,
    one,
    put,
    register,
)
from lab.ntfs.volumes.hostile.dice import Dice
from lab.ntfs.volumes.hostile.mutation import Change, Good, Mutation
from lab.ntfs.volumes.hostile.place import Place, index_block, raw_index_block, record

__all__: list[str] = []

_ENTRY = "{} in struct NTFS_DE (fs/ntfs3/ntfs.h)"
_NAME = "{} in struct ATTR_FILE_NAME, the key of struct NTFS_DE (fs/ntfs3/ntfs.h)"
_HEADER = "{} in struct INDEX_HDR, checked by check_index_header (fs/ntfs3/fslog.c)"
_BUFFER = "{} in struct INDEX_BUFFER (fs/ntfs3/ntfs.h)"
_ROOT = "{} in struct INDEX_ROOT (fs/ntfs3/ntfs.h)"
_ATTRIBUTE = "{}, struct ATTRIB (fs/ntfs3/ntfs.h)"
_BLOCK = index_block(FOLDER, 1)


def _index(name: str, breaks: str, structure: str, change: Change, *, place: Place = _BLOCK) -> Mutation:
    return Mutation(name, breaks, structure, Good.ERROR, one(place, change), (FOLDER,), "index")


def _entry_long(slot: Slot, dice: Dice, _: Mft) -> int:
    return len(slot.raw) + 8 * dice.between(0x200, 0x1000)


def _key_long(slot: Slot, dice: Dice, _: Mft) -> int:
    return len(slot.raw) + dice.between(1, 0x7000)


def _free(_: Slot, dice: Dice, mft: Mft) -> int:
    return 1 << 48 | free_record(dice, mft)


def _outside(_: Slot, dice: Dice, mft: Mft) -> int:
    return 1 << 48 | mft.count + dice.between(1, 1 << 40)


def _own_child(raw: bytearray, _: Dice, __: Mft) -> None:
    """The last entry of a leaf gets a child: the leaf itself."""
    end = after_slots(bytes(raw), BLOCK_HEADER)
    (own,) = struct.unpack_from("<Q", raw, 0x10)
    struct.pack_into("<QHHHHQ", raw, end, 0, 0x18, 0, 3, 0, own)
    (used,) = struct.unpack_from("<I", raw, BLOCK_HEADER + 4)
    struct.pack_into("<I", raw, BLOCK_HEADER + 4, used + 8)
    raw[BLOCK_HEADER + 0x0C] |= 1


def _child_of_last(value: int) -> Change:
    """The child of the last entry in the directory's root, which leads to the last of its blocks."""

    def change(raw: bytearray, dice: Dice, _: Mft) -> None:
        found = of_attribute(raw, INDEX_ROOT, NAME)
        end = found.value_offset + after_slots(found.value, ROOT_HEADER)
        (length,) = struct.unpack_from("<H", raw, end + 8)
        put(raw, end + length - 8, "Q", value or dice.between(1 << 10, 1 << 50))

    return change


def _first_child(raw: bytearray, _: Dice, __: Mft) -> None:
    """The last entry of the root leads where its first one does: some names twice, some not at all."""
    found = of_attribute(raw, INDEX_ROOT, NAME)
    first = next(iter(slots(found.value, ROOT_HEADER, place=FOLDER)))
    end = found.value_offset + after_slots(found.value, ROOT_HEADER)
    (length,) = struct.unpack_from("<H", raw, end + 8)
    raw[end + length - 8 : end + length] = first.raw[-8:]


def _no_last(raw: bytearray, _: Dice, __: Mft) -> None:
    put(raw, after_slots(bytes(raw), BLOCK_HEADER) + 0x0C, "H", 0)


def _swap(raw: bytearray, dice: Dice, _: Mft) -> None:
    """Two neighbours of the same length in the wrong order."""
    listed = list(slots(bytes(raw), BLOCK_HEADER, place=FOLDER))
    pairs = [(a, b) for a, b in pairwise(listed) if len(a.raw) == len(b.raw)]
    first, second = dice.pick(pairs)
    raw[first.offset : first.offset + len(first.raw)] = second.raw
    raw[second.offset : second.offset + len(second.raw)] = first.raw


def _no_blocks(raw: bytearray, _: Dice, __: Mft) -> None:
    found = of_attribute(raw, BITMAP, NAME)
    raw[found.value_offset : found.value_offset + found.size] = bytes(found.size)


def _to_parent(raw: bytearray, _: Dice, mft: Mft) -> None:
    """The entry of the innermost directory leads to the one above that which it is in."""
    found, name = of_attribute(raw, INDEX_ROOT, NAME), DEEP.rpartition("/")[2]
    slot = next(slot for slot in slots(found.value, ROOT_HEADER, place=INNER) if slot.name == name)
    parent = lookup(mft, FOLDER, place=INNER)
    (sequence,) = struct.unpack_from("<H", mft.read(parent), 0x10)
    put(raw, found.value_offset + slot.offset, "Q", sequence << 48 | parent)


def _no_allocation(raw: bytearray, _: Dice, __: Mft) -> None:
    raw[:] = attribute.replace(bytes(raw), of_attribute(raw, INDEX_ALLOCATION, NAME), b"", place=FOLDER)


register(
    _index(
        "index-entry-zero",
        "an index entry of no length: who walks on by it never ends",
        _ENTRY.format("size"),
        in_slot(8, "H", lambda *_: 0),
    ),
    _index(
        "index-entry-long", "an index entry longer than its block", _ENTRY.format("size"), in_slot(8, "H", _entry_long)
    ),
    _index(
        "index-entry-short",
        "an index entry shorter than its name",
        _ENTRY.format("size"),
        in_slot(8, "H", lambda *_: 0x18),
    ),
    _index("index-key-long", "a key longer than its entry", _ENTRY.format("key_size"), in_slot(0x0A, "H", _key_long)),
    _index("index-key-zero", "a key of no length", _ENTRY.format("key_size"), in_slot(0x0A, "H", lambda *_: 0)),
    _index(
        "index-name-long", "a name longer than its entry", _NAME.format("name_len"), in_slot(0x50, "B", lambda *_: 255)
    ),
    _index(
        "index-name-short",
        "a name shorter than its key",
        _NAME.format("name_len"),
        in_slot(0x50, "B", lambda _, dice, __: dice.between(1, 9)),
    ),
    _index("index-name-empty", "a name of no characters", _NAME.format("name_len"), in_slot(0x50, "B", lambda *_: 0)),
    _index(
        "index-name-slash", "a name with a slash in it", _NAME.format("name"), in_slot(0x52, "H", lambda *_: ord("/"))
    ),
    _index("index-name-nul", "a name with a NUL in it", _NAME.format("name"), in_slot(0x54, "H", lambda *_: 0)),
    _index(
        "index-to-free", "an entry of an MFT record that is not in use", _ENTRY.format("ref"), in_slot(0, "Q", _free)
    ),
    _index(
        "index-to-outside",
        "an entry of an MFT record past the end of the table",
        _ENTRY.format("ref"),
        in_slot(0, "Q", _outside),
    ),
    _index("index-no-last", "a block without a last entry", _ENTRY.format("flags"), _no_last),
    _index("index-unsorted", "two names in the wrong order", _ENTRY.format("the order of entries"), _swap),
    _index(
        "index-start-outside",
        "entries that begin past the end of the block",
        _HEADER.format("de_off"),
        field(BLOCK_HEADER, "I", noise(0x1000, 1 << 31)),
    ),
    _index(
        "index-used-too-much",
        "more bytes in use than the block has",
        _HEADER.format("used"),
        field(BLOCK_HEADER + 4, "I", noise(0x1000, 1 << 31)),
    ),
    _index(
        "index-total-wrong",
        "an allocated size larger than the block",
        _HEADER.format("total"),
        field(BLOCK_HEADER + 8, "I", noise(0x2000, 1 << 31)),
    ),
    _index(
        "index-own-child",
        "a block that is its own child: who walks down never ends",
        _HEADER.format("flags"),
        _own_child,
    ),
    _index(
        "index-other-vcn",
        "a block that says it is another one",
        _BUFFER.format("vbn"),
        field(0x10, "Q", noise(1 << 10, 1 << 40)),
    ),
    _index(
        "index-magic",
        "a block that is no index",
        _BUFFER.format("rhdr.sign"),
        field(0, "I", 0x44414142),
        place=raw_index_block(FOLDER, 1),
    ),
    _index(
        "index-fixups",
        "a block with an update sequence of another length",
        _BUFFER.format("rhdr.fix_num"),
        field(6, "H", either(0, 2, 0x7FFF)),
        place=raw_index_block(FOLDER, 1),
    ),
    _index(
        "index-child-outside",
        "a child that the directory does not have",
        _ENTRY.format("the child's VCN"),
        _child_of_last(0),
        place=record(FOLDER),
    ),
    _index(
        "index-child-twice",
        "two entries with the same child",
        _ENTRY.format("the child's VCN"),
        _first_child,
        place=record(FOLDER),
    ),
    _index(
        "index-block-size",
        "index blocks of no bytes",
        _ROOT.format("index_block_size"),
        in_value(INDEX_ROOT, 8, "I", 0, name=NAME),
        place=record(FOLDER),
    ),
    _index(
        "index-rule",
        "names sorted as numbers are",
        _ROOT.format("rule"),
        in_value(INDEX_ROOT, 4, "I", 0x10, name=NAME),
        place=record(FOLDER),
    ),
    _index(
        "index-of-what",
        "an index of an attribute that is no name",
        _ROOT.format("type"),
        in_value(INDEX_ROOT, 0, "I", 0x80, name=NAME),
        place=record(FOLDER),
    ),
    _index(
        "index-root-used",
        "more bytes in use than the root has",
        _HEADER.format("used"),
        in_value(INDEX_ROOT, ROOT_HEADER + 4, "I", noise(0x400, 1 << 31), name=NAME),
        place=record(FOLDER),
    ),
    _index(
        "index-no-blocks",
        "a bitmap that says no block of the directory is in use",
        _ATTRIBUTE.format("$BITMAP of $I30"),
        _no_blocks,
        place=record(FOLDER),
    ),
    _index(
        "index-no-allocation",
        "a root with children, and no blocks",
        _ATTRIBUTE.format("$INDEX_ALLOCATION"),
        _no_allocation,
        place=record(FOLDER),
    ),
    _index(
        "index-size-odd",
        "blocks that end inside the last one",
        _ATTRIBUTE.format("data_size of $INDEX_ALLOCATION"),
        in_attribute(INDEX_ALLOCATION, 0x30, "Q", either(1, 4095, 4097), name=NAME),
        place=record(FOLDER),
    ),
    Mutation(
        "index-holds-parent",
        "a directory that holds the one it is in: who walks down never ends",
        _ENTRY.format("ref"),
        Good.ERROR,
        one(record(INNER), _to_parent),
        (DEEP,),
        "index",
    ),
)
