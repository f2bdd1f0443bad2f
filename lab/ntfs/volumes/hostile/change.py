"""The changes that mutations are made of: a field of a structure set to what it must never be."""

from __future__ import annotations

import struct
from collections.abc import Callable

from lab.ntfs.ondisk import attribute
from lab.ntfs.ondisk.attribute import Attribute
from lab.ntfs.ondisk.index import Slot, slots
from lab.ntfs.ondisk.mft import USER, Mft
from lab.ntfs.volumes.hostile.dice import Dice
from lab.ntfs.volumes.hostile.mutation import Change, Edit, Mutation, mutations
from lab.ntfs.volumes.hostile.place import Place

__all__ = [
    "BLOCK_HEADER",
    "ROOT_HEADER",
    "Field",
    "Number",
    "after_slots",
    "beyond_volume",
    "either",
    "field",
    "free_record",
    "in_attribute",
    "in_slot",
    "in_value",
    "noise",
    "number",
    "of_attribute",
    "one",
    "put",
    "register",
    "signed",
    "total_clusters",
]

Field = tuple[int, str]
"""Where a field stands in its structure, and its form: a letter of :mod:`struct`."""

Number = int | Callable[[Dice, Mft], int]
"""A value, or how it is found by chance and by what the volume holds."""

ROOT_HEADER, BLOCK_HEADER = 0x10, 0x18
"""Where ``struct INDEX_HDR`` stands in the value of an $INDEX_ROOT and in an index block."""

_PLACE = "hostile"


def one(place: Place, change: Change) -> tuple[Edit, ...]:
    """The edits of a mutation that spoils one structure."""
    return (Edit(place, change),)


def register(*made: Mutation) -> None:
    """Add the mutations of a module."""
    for each in made:
        mutations.add(each)


def number(value: Number, dice: Dice, mft: Mft) -> int:
    """The value for this volume."""
    return value(dice, mft) if callable(value) else value


def either(*values: int) -> Number:
    """One of them, by chance."""
    return lambda dice, _: dice.pick(values)


def noise(low: int, high: int) -> Number:
    """Anything from ``low`` to ``high``."""
    return lambda dice, _: dice.between(low, high)


def signed(value: int, size: int = 8) -> int:
    """A negative number as an unsigned field of ``size`` bytes holds it."""
    return value % (1 << 8 * size)


def total_clusters(mft: Mft) -> int:
    """How many clusters the volume has."""
    return mft.boot.size // mft.boot.cluster


def beyond_volume(dice: Dice, mft: Mft) -> int:
    """A cluster that the volume does not have, somewhere behind it."""
    return total_clusters(mft) + dice.between(1 << 8, 1 << 30)


def free_record(dice: Dice, mft: Mft) -> int:
    """The number of an MFT record that is in the table and not in use."""
    used = {found for found, _ in mft.used()}
    return dice.pick([each for each in range(USER, mft.count) if each not in used])


def put(raw: bytearray, at: int, form: str, value: int) -> None:
    """Set a little-endian field; a value that is too large loses what does not fit."""
    size = struct.calcsize(f"<{form}")
    raw[at : at + size] = (value % (1 << 8 * size)).to_bytes(size, "little")


def field(at: int, form: str, value: Number) -> Change:
    """Set a field at a fixed place of the structure; ``form`` is a letter of :mod:`struct`."""

    def change(raw: bytearray, dice: Dice, mft: Mft) -> None:
        put(raw, at, form, number(value, dice, mft))

    return change


def of_attribute(raw: bytearray, kind: int, name: str = "") -> Attribute:
    """An attribute of an MFT record."""
    return attribute.find(bytes(raw), kind, place=_PLACE, name=name)


def in_attribute(kind: int, at: int, form: str, value: Number, *, name: str = "") -> Change:
    """Set a field of an attribute's header, in its MFT record."""

    def change(raw: bytearray, dice: Dice, mft: Mft) -> None:
        put(raw, of_attribute(raw, kind, name).offset + at, form, number(value, dice, mft))

    return change


def in_value(kind: int, at: int, form: str, value: Number, *, name: str = "") -> Change:
    """Set a field of an attribute's resident value."""

    def change(raw: bytearray, dice: Dice, mft: Mft) -> None:
        put(raw, of_attribute(raw, kind, name).value_offset + at, form, number(value, dice, mft))

    return change


def in_slot(at: int, form: str, value: Callable[[Slot, Dice, Mft], int]) -> Change:
    """Set a field of some entry of an index block, but neither of its first nor of its last one."""

    def change(raw: bytearray, dice: Dice, mft: Mft) -> None:
        slot = dice.pick(list(slots(bytes(raw), BLOCK_HEADER, place=_PLACE))[1:-1])
        put(raw, slot.offset + at, form, value(slot, dice, mft))

    return change


def after_slots(raw: bytes, header: int) -> int:
    """Where the last entry of a node stands, the one without a name."""
    *_, last = slots(raw, header, place=_PLACE)
    return last.offset + len(last.raw)
