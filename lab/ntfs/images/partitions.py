"""Where the partitions of a whole disk lie, whichever table it has."""

from __future__ import annotations

from dataclasses import replace
from typing import BinaryIO

from lab.ntfs.images.gpt import read_gpt
from lab.ntfs.images.mbr import PROTECTIVE, read_mbr, slots
from lab.ntfs.images.table import Fault, Table

__all__ = ["partition_table"]


def partition_table(disk: BinaryIO, size: int, sector: int = 0) -> Table | None:
    """The table of a disk of ``size`` bytes, or None if it has none; ``sector`` is its sector size if that is known.

    A GPT counts where the MBR points to it, or where there is no MBR any more: what an older one left behind does not.
    """
    kinds = slots(disk)
    found = None
    if PROTECTIVE in kinds or not any(kinds):
        found = read_gpt(disk, size, sector)
    if found is not None or PROTECTIVE not in kinds:
        return found or read_mbr(disk, size, sector)
    lost = Fault(0x1BE + 16 * kinds.index(PROTECTIVE), "it says that there is a GPT, and there is none")
    hybrid = read_mbr(disk, size, sector) or Table("MBR")
    return replace(hybrid, faults=(lost, *hybrid.faults))
