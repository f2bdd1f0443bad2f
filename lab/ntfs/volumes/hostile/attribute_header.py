"""Attribute records whose headers lead astray: lengths, names, values, sizes."""

from __future__ import annotations

from lab.ntfs.ondisk.attribute import DATA, STANDARD_INFORMATION
from lab.ntfs.ondisk.mft import Mft
from lab.ntfs.volumes.hostile.base import PACKED, SMALL, SPARSE, STREAMS, VICTIM
from lab.ntfs.volumes.hostile.change import (
    Field,
    Number,
    either,
    in_attribute,
    noise,
    of_attribute,
    one,
    put,
    register,
)
from lab.ntfs.volumes.hostile.dice import Dice
from lab.ntfs.volumes.hostile.mutation import Change, Good, Mutation
from lab.ntfs.volumes.hostile.place import record

__all__: list[str] = []

_STRUCTURE = "{} in struct {} (fs/ntfs3/ntfs.h), checked by mi_enum_attr (fs/ntfs3/record.c)"


def _header(  # noqa: PLR0913 - what is spoiled and where
    name: str,
    breaks: str,
    what: str,
    change: Change,
    *,
    struct: str = "ATTRIB",
    victim: str = VICTIM,
    base: str = "plain",
) -> Mutation:
    structure = _STRUCTURE.format(what, struct)
    return Mutation(name, breaks, structure, Good.ERROR, one(record(victim), change), (victim,), base)


def _data(at: int, form: str, value: Number) -> Change:
    return in_attribute(DATA, at, form, value)


def _nonresident(name: str, breaks: str, what: str, where: Field, value: Number) -> Mutation:
    return _header(name, breaks, what, _data(*where, value), struct="ATTR_NONRESIDENT")


def _resident(name: str, breaks: str, what: str, where: Field, value: Number) -> Mutation:
    return _header(name, breaks, what, _data(*where, value), struct="ATTR_RESIDENT", victim=SMALL)


def _unknown_type(raw: bytearray, dice: Dice, _: Mft) -> None:
    """$STANDARD_INFORMATION under a number below its own: the order by type stays."""
    put(raw, of_attribute(raw, STANDARD_INFORMATION).offset, "I", dice.between(1, 0xF))


def _endless(raw: bytearray, _: Dice, __: Mft) -> None:
    """The largest file that a signed 64-bit size can tell of."""
    at = of_attribute(raw, DATA).offset
    for offset, value in ((0x28, (1 << 63) - 0x10000), (0x30, (1 << 63) - 0x10001), (0x38, (1 << 63) - 0x10001)):
        put(raw, at + offset, "Q", value)


def _unaligned(dice: Dice, _: Mft) -> int:
    return 0x40 + 8 * dice.between(1, 2) - dice.between(1, 7)


register(
    _header(
        "attribute-too-long",
        "an attribute longer than its record",
        "size",
        _data(4, "I", lambda dice, _: 8 * dice.between(0x80, 1 << 20)),
    ),
    _header(
        "attribute-wraps",
        "an attribute whose end is before its start in 32 bits",
        "size",
        _data(4, "I", lambda dice, _: (1 << 32) - 8 * dice.between(1, 0x20)),
    ),
    _header(
        "attribute-unaligned", "an attribute of a length that is no multiple of 8", "size", _data(4, "I", _unaligned)
    ),
    _header(
        "attribute-type-unknown",
        "an attribute of an unknown type instead of $STANDARD_INFORMATION",
        "type",
        _unknown_type,
    ),
    _header(
        "attribute-name-outside",
        "a stream's name past the end of its attribute",
        "name_off",
        in_attribute(DATA, 0x0A, "H", noise(0x400, 0xFFFF), name="one"),
        victim=STREAMS,
        base="streams",
    ),
    _header(
        "attribute-name-long",
        "a stream's name longer than its attribute",
        "name_len",
        in_attribute(DATA, 9, "B", 255, name="one"),
        victim=STREAMS,
        base="streams",
    ),
    _header("resident-as-not", "a resident value that says it has clusters", "non_res", _data(8, "B", 1), victim=SMALL),
    _header("clusters-as-resident", "clusters that say they are a resident value", "non_res", _data(8, "B", 0)),
    _header("flags-unknown", "a way to compress that there is none of", "flags", _data(0x0C, "H", noise(2, 0xFF))),
    _resident(
        "value-too-long",
        "a resident value longer than its record",
        "data_size",
        (0x10, "I"),
        noise(0x400, (1 << 31) - 1),
    ),
    _resident(
        "value-wraps",
        "a resident value whose end is before its start in 32 bits",
        "data_size",
        (0x10, "I"),
        noise((1 << 32) - 0x18, (1 << 32) - 1),
    ),
    _resident(
        "value-outside", "a resident value past the end of its record", "data_off", (0x14, "H"), noise(0x400, 0xFFFF)
    ),
    _nonresident("vcn-backwards", "a first cluster behind the last", "svcn", (0x10, "Q"), noise(40, 1 << 40)),
    _nonresident(
        "vcn-not-first", "a first part that does not begin at the beginning", "svcn", (0x10, "Q"), noise(1, 10)
    ),
    _nonresident("vcn-huge", "a last cluster that no volume has", "evcn", (0x18, "Q"), noise(1 << 52, (1 << 63) - 2)),
    _nonresident(
        "runs-offset", "a runlist past the end of its attribute", "run_off", (0x20, "H"), noise(0x400, 0xFFFF)
    ),
    _nonresident("runs-in-header", "a runlist inside the header", "run_off", (0x20, "H"), either(0, 8, 0x10, 0x18)),
    _nonresident(
        "allocated-too-small", "fewer bytes allocated than are in use", "alloc_size", (0x28, "Q"), either(0, 4096, 8192)
    ),
    _nonresident("size-negative", "a negative size", "data_size", (0x30, "Q"), noise(1 << 63, (1 << 64) - 1)),
    _nonresident(
        "valid-too-long", "more bytes written than the file has", "valid_size", (0x38, "Q"), noise(1 << 20, 1 << 50)
    ),
    _header(
        "sparse-endless",
        "a sparse file of 8 EiB in runs of 256 KiB",
        "data_size",
        _endless,
        struct="ATTR_NONRESIDENT",
        victim=SPARSE,
        base="sparse",
    ),
    _header(
        "compression-unit",
        "a compression unit of 2 to the power of 255 clusters",
        "c_unit",
        _data(0x22, "B", 255),
        struct="ATTR_NONRESIDENT",
        victim=PACKED,
        base="packed",
    ),
    _header(
        "compression-unit-one",
        "a compression unit of one or two clusters",
        "c_unit",
        _data(0x22, "B", either(1, 2)),
        struct="ATTR_NONRESIDENT",
        victim=PACKED,
        base="packed",
    ),
)
