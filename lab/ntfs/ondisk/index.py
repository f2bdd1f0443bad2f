"""The index of a directory ($I30): its entries, in $INDEX_ROOT and in the blocks of $INDEX_ALLOCATION.

Sources: ``struct INDEX_ROOT``, ``INDEX_HDR``, ``INDEX_BUFFER``, ``NTFS_DE`` and ``ATTR_FILE_NAME`` in fs/ntfs3/ntfs.h.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from lab.errors import ImageError
from lab.ntfs.ondisk import attribute
from lab.ntfs.ondisk.attribute import Attribute
from lab.ntfs.ondisk.mft import ROOT, Mft
from lab.ntfs.ondisk.record import protect, unprotect
from lab.ntfs.ondisk.runlist import runs

__all__ = ["DOS", "NAME", "Edit", "Node", "Slot", "children", "edit_entries", "lookup", "nodes", "slots"]

NAME = "$I30"
"""What the index of a directory is called."""
DOS = 2
"""The name space of an 8.3 alias that stands beside a long name."""

_ROOT_HEADER = 0x10
_BLOCK_HEADER = 0x18
_CHILD = 1
_LAST = 2
_KEY = 0x10
_LEAST_NAME = 0x42
"""The bytes of a ``struct ATTR_FILE_NAME`` before the name; a shorter key is that of another index."""


@dataclass(frozen=True, slots=True)
class Slot:
    """One entry that names a file; ``offset`` is its place in what :func:`slots` was given.

    Layout (``struct NTFS_DE``, its key a ``struct ATTR_FILE_NAME``)::

        0x00  6  record number      0x10  8  parent            0x48  4  file attributes
        0x06  2  its sequence       0x18 32  four times        0x50  1  length of the name
        0x08  2  length of this     0x38  8  allocated size    0x51  1  name space
        0x0a  2  length of the key  0x40  8  real size         0x52     the name, UTF-16
        0x0c  2  flags (1 has a child, 2 the last of its node)
    """

    offset: int
    record: int
    name: str
    space: int
    raw: bytes

    @property
    def unpadded(self) -> bytes:
        """The entry with zeros behind its key, up to the number of its child or to its end."""
        key, flags = struct.unpack_from("<HH", self.raw, 0x0A)
        end = len(self.raw) - (8 if flags & _CHILD else 0)
        return self.raw[: _KEY + key].ljust(end, b"\0") + self.raw[end:]


def slots(block: bytes, header: int, *, place: str) -> Iterator[Slot]:
    """The entries of one node, whose ``struct INDEX_HDR`` stands at ``header``.

    Raises:
        ImageError: an entry runs over the end of its node, or a key over that of its entry.
    """
    first, used = struct.unpack_from("<II", block, header)
    at, end = header + first, header + used
    while at + _KEY <= min(end, len(block)):
        reference, length, key, flags = struct.unpack_from("<QHHH", block, at)
        if length < _KEY or at + length > end:
            raise ImageError(f"{place}+{at:#x}: index entry of {length} bytes does not fit its node")
        if flags & _LAST:
            return
        if key >= _LEAST_NAME:
            if _KEY + key > length:
                raise ImageError(f"{place}+{at:#x}: key of {key} bytes in an index entry of {length}")
            raw = block[at : at + length]
            count, space = raw[_KEY + 0x40], raw[_KEY + 0x41]
            name = raw[_KEY + 0x42 : _KEY + 0x42 + 2 * count].decode("utf-16-le", "surrogatepass")
            yield Slot(at, reference & 0xFFFF_FFFF_FFFF, name, space, raw)
        at += length
    raise ImageError(f"{place}: the index node has no last entry")


@dataclass(frozen=True, slots=True)
class Node:
    """A block of $INDEX_ALLOCATION, unprotected, and the first cluster and byte in it where it lies."""

    cluster: int
    offset: int
    raw: bytes


def nodes(mft: Mft, allocation: Attribute, *, place: str) -> Iterator[Node]:
    """The blocks of an $INDEX_ALLOCATION that were ever written, in order.

    Raises:
        ImageError: a broken runlist, or a torn block.
    """
    size = mft.boot.index_block
    for run in runs(allocation.runlist, place=place):
        if run.start is None:
            continue
        whole = mft.read_at(run.start, 0, run.length * mft.boot.cluster)
        for at in range(0, len(whole) - size + 1, size):
            if whole[at : at + 4] == b"INDX":
                block = unprotect(whole[at : at + size], place=f"{place}+{at:#x}", magic=b"INDX")
                yield Node(run.start + at // mft.boot.cluster, at % mft.boot.cluster, block)


Edit = Callable[[Slot], bytes]
"""What is to stand in an entry's place; of the same length."""


def edit_entries(mft: Mft, number: int, record: bytes, edit: Edit, *, place: str) -> bytes:
    """Pass each entry of the $I30 parts in MFT record ``number`` through ``edit``; blocks are written at once.

    What is left over behind a block's last entry becomes zeros. Returns the record as it is to be, which only the
    caller writes. An extension record holds the blocks of its part.
    """
    changed = record
    for found in attribute.attributes(record, place=place):
        if found.name != NAME:
            continue
        if found.type == attribute.INDEX_ROOT:
            value = _edited(found.value, _ROOT_HEADER, edit, place)
            at = found.value_offset
            changed = changed[:at] + value + changed[at + len(value) :]
        elif found.type == attribute.INDEX_ALLOCATION:
            for node in nodes(mft, found, place=f"{place}: record {number}"):
                (used,) = struct.unpack_from("<I", node.raw, _BLOCK_HEADER + 4)
                block = _edited(node.raw, _BLOCK_HEADER, edit, place)
                block = block[: _BLOCK_HEADER + used].ljust(len(block), b"\0")
                if block != node.raw:
                    mft.write_bytes(node.cluster, node.offset, protect(block, place=place))
    return changed


def _edited(block: bytes, header: int, edit: Edit, place: str) -> bytes:
    changed = bytearray(block)
    for slot in slots(block, header, place=place):
        changed[slot.offset : slot.offset + len(slot.raw)] = edit(slot)
    return bytes(changed)


def lookup(mft: Mft, path: str, *, place: str) -> int:
    """The number of the MFT record that ``path`` names, by exact case.

    Raises:
        ImageError: there is no such name.
    """
    number = ROOT
    for part in path.split("/"):
        following = next((slot.record for slot in children(mft, number, place=place) if slot.name == part), None)
        if following is None:
            raise ImageError(f"{place}: no name {part!a} on the way to {path!a}")
        number = following
    return number


def children(mft: Mft, number: int, *, place: str) -> Iterator[Slot]:
    """The entries of the directory in MFT record ``number``, node by node; aliases are among them.

    Raises:
        ImageError: a node is torn or broken.
    """
    record = mft.read(number)
    for found in attribute.attributes(record, place=place):
        if found.name != NAME:
            continue
        if found.type == attribute.INDEX_ROOT:
            yield from slots(found.value, _ROOT_HEADER, place=place)
        elif found.type == attribute.INDEX_ALLOCATION:
            for node in nodes(mft, found, place=place):
                yield from slots(node.raw, _BLOCK_HEADER, place=place)
