"""NTFS' own files, without which the rest cannot be found, compared or trusted."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import replace

from lab.ntfs.ondisk import attribute
from lab.ntfs.ondisk.attribute import BITMAP, DATA, INDEX_ROOT, STANDARD_INFORMATION, VOLUME_INFORMATION
from lab.ntfs.ondisk.index import lookup
from lab.ntfs.ondisk.logfile import Log, pages
from lab.ntfs.ondisk.mft import BITMAP as CLUSTER_BITMAP
from lab.ntfs.ondisk.mft import LOG_FILE, ROOT, UPCASE, VOLUME, Mft
from lab.ntfs.ondisk.runlist import Run, pack, runs
from lab.ntfs.volumes.hostile.base import GUARDED
from lab.ntfs.volumes.hostile.change import (
    ROOT_HEADER,
    beyond_volume,
    field,
    in_value,
    noise,
    of_attribute,
    one,
    put,
    register,
)
from lab.ntfs.volumes.hostile.dice import Dice
from lab.ntfs.volumes.hostile.mutation import Change, Good, Mutation
from lab.ntfs.volumes.hostile.place import Place, raw_record, record, stream

__all__: list[str] = []

_MFT, _DEFINITIONS, _SECURE = 0, 4, 9
_SDS, _SII = "$SDS", "$SII"
_LOG = "{} in {} (fs/ntfs3/fslog.c), read by log_replay"
_CLIENT = 0x60
"""Where the first client stands in a page: restart area at 0x30, clients 0x30 into it."""


def _system(name: str, breaks: str, structure: str, place: Place, change: Change) -> Mutation:
    return Mutation(name, breaks, structure, Good.REFUSE, one(place, change))


def _harmless(name: str, breaks: str, structure: str, place: Place, change: Change) -> Mutation:
    """What only a driver that writes has to look at."""
    return replace(_system(name, breaks, structure, place, change), good=Good.NOTHING)


def _sizes(allocated: int, size: int) -> Change:
    def change(raw: bytearray, _: Dice, __: Mft) -> None:
        at = of_attribute(raw, DATA).offset
        for offset, value in ((0x28, allocated), (0x30, size), (0x38, size)):
            put(raw, at + offset, "Q", value)

    return change


def _shuffled(raw: bytearray, dice: Dice, _: Mft) -> None:
    """Every letter has some capital letter."""
    raw[:] = dice.bytes(len(raw))


def _zeros(raw: bytearray, _: Dice, __: Mft) -> None:
    raw[:] = bytes(len(raw))


def _table_outside(raw: bytearray, dice: Dice, mft: Mft) -> None:
    """The first records, which hold NTFS' own files, stay where they are; the rest is past the end of the volume."""
    old = of_attribute(raw, DATA)
    first = next(iter(runs(old.runlist, place="$MFT")))
    kept = -(-32 * mft.boot.record // mft.boot.cluster)
    runlist = pack((Run(first.start, kept), Run(beyond_volume(dice, mft), first.length - kept)))
    (at,) = struct.unpack_from("<H", old.raw, 0x20)
    head = bytearray(old.raw[:at])
    runlist = runlist.ljust(-(-len(runlist) // 8) * 8, b"\0")
    put(head, 4, "I", at + len(runlist))
    raw[:] = attribute.replace(bytes(raw), old, bytes(head) + runlist, place="$MFT")


def _without_information(raw: bytearray, _: Dice, __: Mft) -> None:
    raw[:] = attribute.replace(bytes(raw), of_attribute(raw, VOLUME_INFORMATION), b"", place="$Volume")


def _security_id(mft: Mft) -> int:
    found = attribute.find(mft.read(lookup(mft, GUARDED, place=GUARDED)), STANDARD_INFORMATION, place=GUARDED)
    return int(struct.unpack_from("<I", found.value, 0x34)[0])


def _entries(value: bytes) -> Iterator[int]:
    """Where the entries of an $INDEX_ROOT stand in its value, the last one not among them."""
    (first,) = struct.unpack_from("<I", value, ROOT_HEADER)
    at = ROOT_HEADER + first
    while not struct.unpack_from("<H", value, at + 0x0C)[0] & 2:
        yield at
        at += struct.unpack_from("<H", value, at + 8)[0]


def _in_sii(at: int, form: str, low: int, high: int) -> Change:
    """Set a field of the entry by which the guarded file's descriptor is found."""

    def change(raw: bytearray, dice: Dice, mft: Mft) -> None:
        found, wanted = of_attribute(raw, INDEX_ROOT, _SII), _security_id(mft)
        for entry in _entries(found.value):
            if struct.unpack_from("<I", found.value, entry + 0x10)[0] == wanted:
                put(raw, found.value_offset + entry + at, form, dice.between(low, high))

    return change


def _in_sds(raw: bytearray, dice: Dice, mft: Mft) -> None:
    """A descriptor's own header says it is longer than all there are."""
    wanted, at = _security_id(mft), 0
    while struct.unpack_from("<I", raw, at + 4)[0] != wanted:
        at += -(-struct.unpack_from("<I", raw, at + 0x10)[0] // 16) * 16
    put(raw, at + 0x10, "I", dice.between(1 << 20, (1 << 32) - 1))


def _security(name: str, breaks: str, structure: str, place: Place, change: Change) -> Mutation:
    edits, forgets = one(place, change), ((GUARDED, "security"),)
    return Mutation(
        name, breaks, f"{structure} (fs/ntfs3/ntfs.h)", Good.ERROR, edits, (GUARDED,), "guarded", forgets=forgets
    )


def _noise_log(raw: bytearray, dice: Dice, _: Mft) -> None:
    """Both restart pages: the magic, and noise."""
    for at in (0, 4096):
        raw[at : at + 4096] = b"RSTR" + dice.bytes(4092)


def _log(at: int, form: str, value: int) -> Change:
    """A sound log of a system that was not shut down, but for one field in both restart pages."""

    def change(raw: bytearray, _: Dice, __: Mft) -> None:
        for offset, page in pages(Log(len(raw), clean=False)):
            raw[offset : offset + len(page)] = page
        for page_at in (0, 4096):
            put(raw, page_at + at, form, value)

    return change


_LOG_PLACE = stream(LOG_FILE)

register(
    _harmless(
        "mft-bitmap-zero",
        "no MFT record is in use, by the bitmap",
        "$BITMAP of $MFT, read by wnd_init (fs/ntfs3/bitmap.c)",
        stream(_MFT, BITMAP),
        _zeros,
    ),
    _system(
        "mft-outside",
        "all but the first of the MFT past the end of the volume",
        "packed runs of $MFT, unpacked by run_unpack (fs/ntfs3/run.c)",
        record(_MFT),
        _table_outside,
    ),
    _system(
        "mft-size-huge",
        "an MFT of 1 PiB",
        "data_size of $MFT, struct ATTR_NONRESIDENT (fs/ntfs3/ntfs.h)",
        record(_MFT),
        _sizes(1 << 50, 1 << 50),
    ),
    _system(
        "bitmap-short",
        "a bitmap of 8 clusters",
        "data_size of $Bitmap, struct ATTR_NONRESIDENT (fs/ntfs3/ntfs.h)",
        record(CLUSTER_BITMAP),
        _sizes(4096, 1),
    ),
    _system(
        "upcase-short",
        "a table of 50 capital letters",
        "data_size of $UpCase, struct ATTR_NONRESIDENT (fs/ntfs3/ntfs.h)",
        record(UPCASE),
        _sizes(4096, 100),
    ),
    _system(
        "upcase-noise",
        "capital letters that are noise",
        "$UpCase, 65536 UTF-16 units, read by ntfs_fill_super (fs/ntfs3/super.c)",
        stream(UPCASE),
        _shuffled,
    ),
    _system(
        "definitions-huge",
        "a table of attribute types of 1 TiB",
        "data_size of $AttrDef, struct ATTR_NONRESIDENT (fs/ntfs3/ntfs.h)",
        record(_DEFINITIONS),
        _sizes(1 << 40, 1 << 40),
    ),
    _system(
        "volume-gone",
        "no $Volume",
        "rhdr.sign in struct MFT_REC (fs/ntfs3/ntfs.h)",
        raw_record(VOLUME),
        field(0, "I", 0),
    ),
    _system(
        "volume-no-information",
        "a $Volume that does not say which NTFS it is",
        "struct VOLUME_INFO (fs/ntfs3/ntfs.h)",
        record(VOLUME),
        _without_information,
    ),
    _system(
        "volume-version",
        "NTFS of a version that there is none of",
        "major_ver in struct VOLUME_INFO (fs/ntfs3/ntfs.h)",
        record(VOLUME),
        in_value(VOLUME_INFORMATION, 8, "B", noise(4, 255)),
    ),
    _system(
        "root-gone",
        "a root directory whose record is not in use",
        "flags in struct MFT_REC (fs/ntfs3/ntfs.h)",
        record(ROOT),
        field(0x16, "H", 2),
    ),
    _system(
        "root-is-file",
        "a root directory that says it is none",
        "flags in struct MFT_REC (fs/ntfs3/ntfs.h)",
        record(ROOT),
        field(0x16, "H", 1),
    ),
    _harmless(
        "log-noise",
        "restart pages that are noise",
        _LOG.format("all", "struct RESTART_HDR"),
        _LOG_PLACE,
        _noise_log,
    ),
    _harmless(
        "log-area-outside",
        "a restart area past the end of its page",
        _LOG.format("ra_off", "struct RESTART_HDR"),
        _LOG_PLACE,
        _log(0x18, "H", 0xFFF8),
    ),
    _harmless(
        "log-page-zero",
        "log pages of no bytes",
        _LOG.format("page_size", "struct RESTART_HDR"),
        _LOG_PLACE,
        _log(0x14, "I", 0),
    ),
    _harmless(
        "log-client-loop",
        "a client of the log that follows itself: who walks the list never ends",
        _LOG.format("next_client", "struct CLIENT_REC"),
        _LOG_PLACE,
        _log(_CLIENT + 0x12, "H", 0),
    ),
    _security(
        "secure-outside",
        "a security descriptor past the end of all of them",
        "sec_hdr.off in struct NTFS_DE_SII",
        record(_SECURE),
        _in_sii(0x1C, "Q", 1 << 30, 1 << 62),
    ),
    _security(
        "secure-long",
        "a security descriptor longer than there may be",
        "sec_hdr.size in struct NTFS_DE_SII",
        record(_SECURE),
        _in_sii(0x24, "I", 1 << 24, (1 << 32) - 1),
    ),
    _security(
        "secure-header-long",
        "a stored descriptor that says it is longer than all of them",
        "size in struct SECURITY_HDR",
        stream(_SECURE, DATA, _SDS),
        _in_sds,
    ),
    _security(
        "secure-zeros",
        "zeros instead of all security descriptors",
        "$SDS, struct SECURITY_HDR",
        stream(_SECURE, DATA, _SDS),
        _zeros,
    ),
)
