"""The GUID partition table (UEFI 2.10, chapter 5.3).

Layout of its header, in the second sector, and again in the last one::

    0x00  8  "EFI PART"                   0x48  8  first sector of the entries
    0x0c  4  bytes of the header          0x50  4  how many entries
    0x10  4  CRC-32 of the header *       0x54  4  bytes of an entry
    0x18  8  the sector it is in          0x58  4  CRC-32 of the entries

* with this field as zero. An entry has its type at 0x00 (16 bytes, zero for none), the first sector at 0x20, and the
last one at 0x28.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO
from zlib import crc32

from lab.ntfs.images.table import Fault, Partition, Table, faults_of, take

__all__ = ["read_gpt"]

_SECTORS = (512, 4096)
_SIGNATURE = b"EFI PART"
_MOST_BYTES = 1 << 20
"""Of entries: 128 of 128 bytes is what all the world makes."""


@dataclass(frozen=True, slots=True)
class _Copy:
    """A header that is there, with its ``fault`` if it cannot be believed."""

    at: int
    sector: int
    entries: bytes = b""
    table: int = 0
    step: int = 0
    fault: str = ""


def read_gpt(disk: BinaryIO, size: int, sector: int = 0) -> Table | None:
    """The table of a disk of ``size`` bytes, or None if there is not even half of one.

    ``sector`` is the sector size if it is known. Where the first copy is broken, the second one is taken.
    """
    found = [
        copy
        for each in ((sector,) if sector else _SECTORS)
        for at in (each, (size // each - 1) * each)
        if (copy := _copy(disk, at, each, size)) is not None
    ]
    if not found:
        return None
    whole = next((copy for copy in found if not copy.fault), None)
    if whole is None:
        return Table("GPT", faults=tuple(Fault(copy.at, copy.fault) for copy in found))
    partitions, wrong = _partitions(whole)
    return Table("GPT", partitions, (*wrong, *faults_of(partitions, size)), tuple(_notes(whole, found[0])))


def _notes(used: _Copy, first: _Copy) -> Iterator[str]:
    if used.at != used.sector:
        why = f"is broken ({first.fault})" if first.fault else "is gone"
        yield f"its first partition table {why}; the second one is used"


def _copy(disk: BinaryIO, at: int, sector: int, size: int) -> _Copy | None:
    header = take(disk, at, 512) if at > 0 else b""
    if header[:8] != _SIGNATURE:
        return None
    table, count, step = struct.unpack_from("<QII", header, 72)
    fault = _wrong_header(header, at // sector) or _wrong_place(table, count, step, size // sector, sector)
    if fault:
        return _Copy(at, sector, fault=fault)
    entries = take(disk, table * sector, count * step)
    (checksum,) = struct.unpack_from("<I", header, 88)
    if (seen := crc32(entries)) != checksum:
        return _Copy(
            at, sector, fault=f"the checksum of its entries is {checksum:#010x}, their bytes have {seen:#010x}"
        )
    return _Copy(at, sector, entries, table * sector, step)


def _wrong_header(header: bytes, place: int) -> str:
    length, checksum = struct.unpack_from("<II", header, 12)
    (own,) = struct.unpack_from("<Q", header, 24)
    if not 92 <= length <= 512:
        return f"a header of {length} bytes"
    if (seen := crc32(header[:16] + bytes(4) + header[20:length])) != checksum:
        return f"the checksum of its header is {checksum:#010x}, its bytes have {seen:#010x}"
    return "" if own == place else f"it says that it is in sector {own}, and is in {place}"


def _wrong_place(table: int, count: int, step: int, sectors: int, sector: int) -> str:
    if step < 128 or step % 8 or count * step > _MOST_BYTES:
        return f"{count} entries of {step} bytes"
    if table * sector + count * step > sectors * sector:
        return f"its entries begin at sector {table}, and the disk has {sectors}"
    return ""


def _partitions(copy: _Copy) -> tuple[tuple[Partition, ...], list[Fault]]:
    found, wrong = list[Partition](), list[Fault]()
    for number, at in enumerate(range(0, len(copy.entries), copy.step), 1):
        entry = copy.entries[at : at + copy.step]
        first, last = struct.unpack_from("<QQ", entry, 32)
        if not any(entry[:16]):
            continue
        if last < first:
            what = f"partition {number} ends at sector {last}, before its first one, {first}"
            wrong.append(Fault(copy.table + at, what))
            continue
        found.append(Partition(number, first * copy.sector, (last - first + 1) * copy.sector, copy.table + at))
    return tuple(found), wrong
