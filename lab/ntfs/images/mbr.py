"""The partition table of a PC's master boot record, with its chain of logical partitions.

Layout, at 0x1be of the first sector, four times (block/partitions/msdos.c of the kernel)::

    0x0  1  0x80 if it boots, else 0     0x8  4  first sector
    0x4  1  type; 0 is none              0xc  4  sectors

An extended partition holds a chain of such sectors; each has a logical partition, relative to itself, and the next
link, relative to the first.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import BinaryIO

from lab.ntfs.images.table import Fault, Partition, Table, faults_of, take

__all__ = ["PROTECTIVE", "read_mbr", "slots"]

PROTECTIVE = 0xEE
"""The type that says: look for a GPT."""

_SLOTS = range(0x1BE, 0x1FE, 16)
_EXTENDED = frozenset({0x05, 0x0F, 0x85})
_UNITS = (512, 4096)
_MOST = 256
"""More links are a damaged chain."""


@dataclass(frozen=True, slots=True)
class _Slot:
    at: int
    kind: int
    first: int
    count: int

    @property
    def is_extended(self) -> bool:
        return self.kind in _EXTENDED and self.count > 0

    @property
    def is_partition(self) -> bool:
        return self.kind not in {0, PROTECTIVE, *_EXTENDED} and self.count > 0


def slots(disk: BinaryIO) -> tuple[int, ...]:
    """The types of the four entries, or nothing where the first sector holds no table."""
    return tuple(slot.kind for slot in _slots(disk, 0))


def read_mbr(disk: BinaryIO, size: int, sector: int = 0) -> Table | None:
    """The table of a disk of ``size`` bytes, or None if it has none.

    ``sector`` is the sector size if it is known. Where it is not, and no partition begins as file systems do with one
    of 512 bytes but some do with 4096, it is 4096: the table does not say in what it counts.
    """
    found = [slot for slot in _slots(disk, 0) if slot.is_partition or slot.is_extended]
    if not found:
        return None
    walk = _Walk(disk, size, sector or _unit(disk, found))
    for number, slot in enumerate(_slots(disk, 0), 1):
        if slot.is_partition:
            walk.keep(number, slot, 0)
    for slot in found:
        if slot.is_extended:
            walk.follow(slot)
    faults = (*walk.faults, *faults_of(walk.partitions, size))
    return Table("MBR", tuple(walk.partitions), faults)


def _slots(disk: BinaryIO, at: int) -> tuple[_Slot, ...]:
    raw = take(disk, at, 512)
    if raw[510:] != b"\x55\xaa":
        return ()
    # What boots is 0x80, what does not is 0: anything else is the code of a volume's boot sector.
    if not at and any(raw[slot] & 0x7F for slot in _SLOTS):
        return ()
    # Of a link only the first two count; what some tools leave in the others is rubbish.
    used = _SLOTS[:2] if at else _SLOTS
    return tuple(_Slot(at + slot, raw[slot + 4], *struct.unpack_from("<II", raw, slot + 8)) for slot in used)


def _unit(disk: BinaryIO, found: list[_Slot]) -> int:
    def begins(unit: int) -> bool:
        return any(take(disk, slot.first * unit + 510, 2) == b"\x55\xaa" for slot in found if slot.first)

    return next((unit for unit in _UNITS if begins(unit)), 512)


@dataclass(slots=True)
class _Walk:
    """Through all links of all chains; ``partitions`` and ``faults`` are what was met."""

    disk: BinaryIO
    size: int
    unit: int
    partitions: list[Partition] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    seen: set[int] = field(default_factory=set)
    logical: int = 5

    def keep(self, number: int, slot: _Slot, base: int) -> None:
        first = base + slot.first
        if first == 0:
            self.faults.append(Fault(slot.at, f"partition {number} begins at sector 0, where the table itself is"))
            return
        self.partitions.append(Partition(number, first * self.unit, slot.count * self.unit, slot.at))

    def follow(self, start: _Slot) -> None:
        """The chain of one extended partition, link by link."""
        link, told = start.first, start.at
        while (fault := self._wrong(link, start)) == "":
            self.seen.add(link)
            entries = _slots(self.disk, link * self.unit)
            if not entries:
                fault = f"the chain of logical partitions leads to sector {link}, which is no link of it"
                break
            for slot in entries:
                if slot.is_partition:
                    self.keep(self.logical, slot, link)
                    self.logical += 1
            following = next((slot for slot in entries if slot.is_extended), None)
            if following is None:
                return
            link, told = start.first + following.first, following.at
        self.faults.append(Fault(told, fault))

    def _wrong(self, link: int, start: _Slot) -> str:
        chain = "the chain of logical partitions"
        if link in self.seen:
            return f"{chain} comes back to sector {link}"
        if len(self.seen) >= _MOST:
            return f"{chain} has more than {_MOST} links"
        if link * self.unit >= self.size:
            return f"{chain} leads to sector {link}, and the disk has {self.size // self.unit}"
        if not start.first <= link < start.first + start.count:
            return f"{chain} leads to sector {link}, out of the extended partition"
        return ""
