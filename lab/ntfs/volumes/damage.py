"""Volumes with damaged metadata: one thing each, and known which names it may cost.

What becomes of the damaged names is not laid down, beyond that a driver does not go mad; all else has to be right.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

from lab.ntfs.ondisk import attribute, index
from lab.ntfs.ondisk.attribute import Attribute, replace
from lab.ntfs.ondisk.index import Slot, edit_entries, lookup, nodes
from lab.ntfs.ondisk.mft import BITMAP, ROOT, UPCASE, Mft
from lab.ntfs.ondisk.runlist import Run, pack, runs
from lab.ntfs.volumes.content import random, text
from lab.ntfs.volumes.mixture import KIB, MIB, mixture
from lab.ntfs.volumes.recipe import Recipe, State, recipes
from lab.ntfs.volumes.tree import Directory, File, Item

__all__: list[str] = []

VICTIM = "victim.bin"
FOLDER = "broken"
INNER = "inner"

_TREE: tuple[Item, ...] = (
    *mixture(4 * KIB),
    File(VICTIM, random("victim", 80 * KIB)),
    File("bystander.bin", random("bystander", 80 * KIB)),
    Directory(FOLDER),
    Directory(f"{FOLDER}/{INNER}"),
    *(File(f"{FOLDER}/a name to fill a block, {number:03d}", text(f"{number}", 40)) for number in range(60)),
    Directory("packed", compressed=True),
    File("packed/text.txt", text("packed", 200 * KIB)),
)


def _on_victim(path: Path, change: Callable[[bytes, Attribute], bytes], name: str = VICTIM) -> None:
    """Pass the MFT record of a file and its $DATA through ``change``."""
    with Mft.open(path, write=True) as mft:
        number = lookup(mft, name, place=str(path))
        record = mft.read(number)
        mft.write(number, change(record, attribute.find(record, attribute.DATA, place=f"{path}: {name}")))


def _spoil_record(path: Path, at: int, raw: bytes) -> None:
    """Overwrite bytes of the victim's MFT record as it lies on disk, its protection included."""
    with Mft.open(path, write=True) as mft:
        mft.write_bytes(0, mft.offset(lookup(mft, VICTIM, place=str(path))) + at, raw)


def _torn_record(path: Path) -> None:
    _spoil_record(path, 1022, b"\xee\xee")


def _bad_magic(path: Path) -> None:
    _spoil_record(path, 0, b"BAAD")


def _endless_attribute(path: Path) -> None:
    """An attribute of no length: who walks on by it never ends."""
    _on_victim(path, lambda record, data: _patched(record, data.offset + 4, struct.pack("<I", 0)))


def _too_long(path: Path) -> None:
    """More bytes than clusters."""
    _on_victim(path, lambda record, data: _patched(record, data.offset + 0x30, struct.pack("<QQ", 1 << 30, 1 << 30)))


def _patched(record: bytes, at: int, raw: bytes) -> bytes:
    return record[:at] + raw + record[at + len(raw) :]


def _with_runs(record: bytes, data: Attribute, listed: tuple[Run, ...], place: str) -> bytes:
    head = bytearray(data.raw[:0x40])
    runlist = pack(listed)
    runlist = runlist.ljust(-(-len(runlist) // 8) * 8, b"\0")
    struct.pack_into("<I", head, 4, len(head) + len(runlist))
    struct.pack_into("<H", head, 0x20, len(head))
    return replace(record, data, bytes(head) + runlist, place=place)


def _runs_outside(path: Path) -> None:
    """Clusters past the end of the volume."""
    _on_victim(path, lambda record, data: _with_runs(record, data, (Run(1 << 30, 20),), str(path)))


def _cross_linked(path: Path) -> None:
    """The victim in the clusters of its neighbour."""
    with Mft.open(path) as mft:
        record = mft.read(lookup(mft, "bystander.bin", place=str(path)))
        listed = tuple(runs(attribute.find(record, attribute.DATA, place=str(path)).runlist, place=str(path)))
    _on_victim(path, lambda record, data: _with_runs(record, data, listed, str(path)))


def _bad_lznt1(path: Path) -> None:
    """Chunks that say they are compressed and are not."""
    with Mft.open(path, write=True) as mft:
        record = mft.read(lookup(mft, "packed/text.txt", place=str(path)))
        listed = tuple(runs(attribute.find(record, attribute.DATA, place=str(path)).runlist, place=str(path)))
        first = next(run.start for run in listed if run.start is not None)
        mft.write_bytes(first, 0, b"\xff\xbf" + b"\xff" * 2000)


def _torn_index(path: Path) -> None:
    with Mft.open(path, write=True) as mft:
        record = mft.read(lookup(mft, FOLDER, place=str(path)))
        found = attribute.find(record, attribute.INDEX_ALLOCATION, place=str(path), name=index.NAME)
        node = list(nodes(mft, found, place=str(path)))[1]
        mft.write_bytes(node.cluster, node.offset + 510, b"\xee\xee")


def _point_entry(mft: Mft, folder: int, name: str, reference: int) -> None:
    """Have the entry ``name`` of the directory in MFT record ``folder`` point to another file."""

    def pointed(slot: Slot) -> bytes:
        return struct.pack("<Q", reference) + slot.raw[8:] if slot.name == name else slot.raw

    mft.write(folder, edit_entries(mft, folder, mft.read(folder), pointed, place=name))


def _own_parent(path: Path) -> None:
    """A directory in itself: who walks down never ends."""
    with Mft.open(path, write=True) as mft:
        folder = lookup(mft, FOLDER, place=str(path))
        (sequence,) = struct.unpack_from("<H", mft.read(folder), 0x10)
        _point_entry(mft, folder, INNER, sequence << 48 | folder)


def _stale_entry(path: Path) -> None:
    """An entry whose sequence number is not that of the record: the file is another one by now."""
    with Mft.open(path, write=True) as mft:
        _point_entry(mft, ROOT, VICTIM, 0x7777 << 48 | lookup(mft, VICTIM, place=str(path)))


def _zeroed(number: int, path: Path) -> None:
    """Zeros instead of the $DATA of one of NTFS' own files."""
    with Mft.open(path, write=True) as mft:
        start, size = mft.first_run(number)
        mft.write_bytes(start, 0, bytes(size))


def _no_bitmap(path: Path) -> None:
    _zeroed(BITMAP, path)


def _no_upcase(path: Path) -> None:
    _zeroed(UPCASE, path)


def _no_mirror(path: Path) -> None:
    with Mft.open(path, write=True) as mft:
        mft.write_bytes(mft.boot.mirror_cluster, 0, bytes(mft.boot.cluster))


def _no_first_record(path: Path) -> None:
    """$MFT's own record is gone; only the mirror has it."""
    with Mft.open(path, write=True) as mft:
        mft.write_bytes(mft.boot.mft_cluster, 0, bytes(mft.boot.record))


_ALL = ""
_DAMAGE: dict[str, tuple[str, Callable[[Path], None], tuple[str, ...]]] = {
    "torn-record": ("half of a file's MFT record is of another time", _torn_record, (VICTIM,)),
    "bad-record": ("a file's MFT record was given up as bad", _bad_magic, (VICTIM,)),
    "endless-attribute": ("an attribute of no length in a file's MFT record", _endless_attribute, (VICTIM,)),
    "too-long": ("a file of 1 GiB by its size in 80 KiB of clusters", _too_long, (VICTIM,)),
    "runs-outside": ("a file whose clusters lie past the end of the volume", _runs_outside, (VICTIM,)),
    "cross-linked": ("two files in the same clusters", _cross_linked, (VICTIM,)),
    "bad-lznt1": ("a compressed file whose first unit cannot be unpacked", _bad_lznt1, ("packed/text.txt",)),
    "torn-index": ("a block of a directory is torn", _torn_index, (FOLDER,)),
    "own-parent": ("a directory that is its own parent", _own_parent, (f"{FOLDER}/{INNER}",)),
    "stale-entry": ("a name whose file has become another one", _stale_entry, (VICTIM,)),
    "no-bitmap": ("every cluster is free, by the bitmap", _no_bitmap, ()),
    "no-upcase": ("the table of capital letters is zeros", _no_upcase, (_ALL,)),
    "no-mirror": ("the copy of the first MFT records is zeros", _no_mirror, ()),
    "no-first-record": ("$MFT's own record is zeros, but not its copy", _no_first_record, (_ALL,)),
}
"""What is damaged, how, and the names that this may cost."""

for _name, (_what, _edit, _unsure) in _DAMAGE.items():
    recipes.add(
        Recipe(
            f"damaged-{_name}",
            _what,
            _TREE,
            state=State.DAMAGED,
            size=24 * MIB,
            edits=(_edit,),
            unsure=frozenset(_unsure),
        )
    )
