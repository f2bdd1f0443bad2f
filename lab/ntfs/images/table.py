"""A partition table as a value, and how one is found wanting."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO

__all__ = ["Fault", "Partition", "Table", "faults_of", "take"]


@dataclass(frozen=True, slots=True)
class Partition:
    """One partition, in bytes. ``number`` is that of Linux: logical ones count from 5. ``at`` is where its entry is."""

    number: int
    offset: int
    size: int
    at: int = 0

    @property
    def end(self) -> int:
        """The first byte behind it."""
        return self.offset + self.size


@dataclass(frozen=True, slots=True)
class Fault:
    """What a table says that cannot be. ``at`` is the byte of the disk where it says so."""

    at: int
    what: str


@dataclass(frozen=True, slots=True)
class Table:
    """A partition table: ``form`` is ``GPT`` or ``MBR``, ``notes`` is what was odd about it and does no harm."""

    form: str
    partitions: tuple[Partition, ...] = ()
    faults: tuple[Fault, ...] = ()
    notes: tuple[str, ...] = ()


def take(disk: BinaryIO, offset: int, size: int) -> bytes:
    """Exactly ``size`` bytes; what is past the end reads as zeros."""
    disk.seek(offset)
    return disk.read(size).ljust(size, b"\0")


def faults_of(partitions: Sequence[Partition], size: int) -> Iterator[Fault]:
    """Partitions that do not begin on a disk of ``size`` bytes, and those that share a byte with another.

    One that begins on the disk and ends behind it is none yet: its volume may be smaller.
    """
    for one in partitions:
        if one.offset >= size:
            yield Fault(one.at, f"partition {one.number} begins at byte {one.offset}, and the disk has {size}")
    ordered = sorted(partitions, key=lambda each: (each.offset, each.number))
    last: Partition | None = None
    for one in ordered:
        if last is not None and one.offset < last.end:
            yield Fault(
                one.at, f"partition {one.number} ({_span(one)}) overlaps partition {last.number} ({_span(last)})"
            )
        if last is None or one.end > last.end:
            last = one


def _span(one: Partition) -> str:
    return f"bytes {one.offset} to {one.end - 1}"
