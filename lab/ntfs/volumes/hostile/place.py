"""Where a structure lies on a volume, so that an edit can change it and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from lab.ntfs.ondisk import attribute, index
from lab.ntfs.ondisk.boot import BOOT_BYTES
from lab.ntfs.ondisk.index import lookup, nodes
from lab.ntfs.ondisk.mft import Mft
from lab.ntfs.ondisk.record import protect, unprotect
from lab.ntfs.ondisk.runlist import runs

__all__ = ["Place", "Site", "Span", "boot_sector", "index_block", "raw_index_block", "raw_record", "record", "stream"]

_MIRROR = 1
_PLACE = "hostile"

Span = tuple[int, int]
"""Offset and length in the volume, in bytes."""


@dataclass(frozen=True, slots=True)
class Site:
    """A structure of one volume: the bytes of ``spans`` in order, and the same again in ``copies``.

    With a ``magic`` it is a record with an update sequence, and is seen without it: whoever writes it cannot but make
    a valid one. Without, it is seen as it lies on disk, its update sequence included.
    """

    spans: tuple[Span, ...]
    copies: tuple[Span, ...] = ()
    magic: bytes = b""

    def load(self, mft: Mft) -> bytes:
        """The structure."""
        raw = b"".join(mft.read_at(0, offset, length) for offset, length in self.spans)
        return unprotect(raw, place=_PLACE, magic=self.magic) if self.magic else raw

    def store(self, mft: Mft, structure: bytes) -> None:
        """Put it back, and into its copies."""
        raw = protect(structure, place=_PLACE) if self.magic else structure
        for spans in (self.spans, self.copies):
            at = 0
            for offset, length in spans:
                mft.write_bytes(0, offset, raw[at : at + length])
                at += length


@dataclass(frozen=True, slots=True)
class Place:
    """A structure by what it is called, and how it is found on a volume that is still sound."""

    name: str
    find: Callable[[Mft], Site]


def boot_sector() -> Place:
    """The boot sector; its spare in the last sector stays as it is."""
    return Place("the boot sector", lambda _: Site(((0, BOOT_BYTES),)))


def _number(mft: Mft, which: str | int) -> int:
    return which if isinstance(which, int) else lookup(mft, which, place=_PLACE)


def _record_site(mft: Mft, which: str | int, magic: bytes) -> Site:
    number, size = _number(mft, which), mft.boot.record
    mirrored = attribute.find(mft.read(_MIRROR), attribute.DATA, place=_PLACE).size // size
    # ntfs-3g refuses a volume whose mirror differs, and would then never see what is wrong with the record.
    copy = mft.boot.mirror_cluster * mft.boot.cluster + number * size
    return Site(((mft.offset(number), size),), ((copy, size),) if number < mirrored else (), magic)


def _called(which: str | int) -> str:
    return f"MFT record {which}" if isinstance(which, int) else f"the MFT record of {which}"


def record(which: str | int) -> Place:
    """The MFT record of that number or of that name, without its update sequence."""
    return Place(_called(which), lambda mft: _record_site(mft, which, b"FILE"))


def raw_record(which: str | int) -> Place:
    """The same as it lies on disk."""
    return Place(f"{_called(which)}, raw", lambda mft: _record_site(mft, which, b""))


def _block_site(mft: Mft, folder: str, number: int, magic: bytes) -> Site:
    found = attribute.find(
        mft.read(lookup(mft, folder, place=_PLACE)), attribute.INDEX_ALLOCATION, place=_PLACE, name=index.NAME
    )
    node = list(nodes(mft, found, place=_PLACE))[number]
    return Site(((node.cluster * mft.boot.cluster + node.offset, mft.boot.index_block),), (), magic)


def index_block(folder: str, number: int) -> Place:
    """A block of a directory's index, without its update sequence."""
    return Place(f"index block {number} of {folder}", lambda mft: _block_site(mft, folder, number, b"INDX"))


def raw_index_block(folder: str, number: int) -> Place:
    """The same as it lies on disk."""
    return Place(f"index block {number} of {folder}, raw", lambda mft: _block_site(mft, folder, number, b""))


def stream(which: str | int, kind: int = attribute.DATA, name: str = "") -> Place:
    """The value of a non-resident attribute: all that its clusters hold, without its holes."""

    def find(mft: Mft) -> Site:
        found = attribute.find(mft.read(_number(mft, which)), kind, place=_PLACE, name=name)
        return Site(tuple(_extents(mft, found)))

    whose = f"MFT record {which}" if isinstance(which, int) else which
    return Place(f"the clusters of {whose}{f':{name}' if name else ''}, attribute {kind:#x}", find)


def _extents(mft: Mft, found: attribute.Attribute) -> Iterator[Span]:
    cluster = mft.boot.cluster
    for run in runs(found.runlist, place=_PLACE):
        if run.start is not None:
            yield run.start * cluster, run.length * cluster
