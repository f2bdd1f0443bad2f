"""How a volume stores each of its files, read from its structures: what makes one worth writing to.

A manifest says what a file holds, not where: that one lies in its MFT record and another in forty pieces is no
difference to who reads, and all the difference to who writes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from lab.deadline import Deadline
from lab.errors import ImageError
from lab.ntfs.ondisk import attribute
from lab.ntfs.ondisk.index import DOS, NAME, children
from lab.ntfs.ondisk.mft import BITMAP, ROOT, Mft
from lab.ntfs.ondisk.runlist import runs
from lab.ntfs.ondisk.standard_information import REPARSE

__all__ = ["Layout", "Terrain", "terrain_of"]

_PIECES = 4
"""More runs than that, and a file counts as fragmented."""

_COMPRESSED, _ENCRYPTED, _SPARSE = 1, 0x4000, 0x8000
_CHUNK = 1 << 20
_FILE_ATTRIBUTES = 0x20
"""Where $STANDARD_INFORMATION has them."""


@dataclass(frozen=True, slots=True)
class Layout:
    """``number`` is that of the MFT record; ``kind`` is how $DATA is stored, or for a directory how its names are.

    Of files: resident, non-resident, fragmented, attribute-list, sparse, compressed, valid-length, or encrypted; of
    directories: small, indexed, or compressed-directory, as what is made in it will be. An empty kind is that of what
    is neither, such as a link.
    """

    number: int
    kind: str


@dataclass(frozen=True, slots=True)
class Terrain:
    """A volume as a plan of operations finds it: its sizes in bytes, and the layouts by path."""

    cluster: int
    record: int
    free: int
    layouts: Mapping[str, Layout] = field(repr=False)
    unlisted: frozenset[str] = frozenset()
    """Directories that cannot be listed, or not whole."""


def terrain_of(path: Path, deadline: Deadline) -> Terrain:
    """Read it from a volume file. What is broken is left out.

    Raises:
        ImageError: it is no NTFS volume.
        DeadlineError: it was not done in time.
    """
    with Mft.open(path) as mft:
        free = 0
        with suppress(ImageError, struct.error):
            free = _free(mft) * mft.boot.cluster
        found: dict[str, Layout] = {}
        unlisted: set[str] = set()
        for folder, number in _directories(found, deadline):
            try:
                found.update(_names_in(mft, folder, number))
            except (ImageError, struct.error):
                unlisted.add(folder)
        return Terrain(mft.boot.cluster, mft.boot.record, free, found, frozenset(unlisted))


def _directories(found: Mapping[str, Layout], deadline: Deadline) -> Iterator[tuple[str, int]]:
    """Each directory, and then those that came to be in ``found`` below it; none is gone into from within itself."""
    pending: list[tuple[str, int, frozenset[int]]] = [("", ROOT, frozenset())]
    while pending:
        deadline.check("reading the volume's directories")
        path, number, above = pending.pop()
        known = len(found)
        yield path, number
        above |= {number}
        for name, layout in list(found.items())[known:]:
            if layout.kind in _DIRECTORIES and layout.number not in above:
                pending.append((name, layout.number, above))


_DIRECTORIES = frozenset({"small", "indexed", "compressed-directory"})


def _names_in(mft: Mft, path: str, number: int) -> Iterator[tuple[str, Layout]]:
    for slot in children(mft, number, place=path):
        if slot.space != DOS and slot.record > ROOT:
            yield f"{path}/{slot.name}" if path else slot.name, Layout(slot.record, _kind(mft, slot.record))


def _kind(mft: Mft, number: int) -> str:
    try:
        record = mft.read(number)
        listed = list(attribute.attributes(record, place=""))
    except (ImageError, struct.error):
        return ""
    # Where the record has an attribute list, the reparse point may be in another record; the bit is always in this one.
    if any(one.type == attribute.STANDARD_INFORMATION and _is_reparse(one) for one in listed):
        return ""
    if any(one.type == attribute.INDEX_ROOT and one.name == NAME for one in listed):
        return _kind_of_directory(listed)
    if any(one.type == attribute.ATTRIBUTE_LIST for one in listed):
        return "attribute-list"
    found = next((one for one in listed if one.type == attribute.DATA and not one.name), None)
    return "" if found is None else _kind_of_data(found)


def _is_reparse(information: attribute.Attribute) -> bool:
    return bool(int(struct.unpack_from("<I", information.value, _FILE_ATTRIBUTES)[0]) & REPARSE)


def _kind_of_directory(listed: list[attribute.Attribute]) -> str:
    root = next(one for one in listed if one.type == attribute.INDEX_ROOT and one.name == NAME)
    if root.flags & _COMPRESSED:
        return "compressed-directory"
    return "indexed" if any(one.type == attribute.INDEX_ALLOCATION for one in listed) else "small"


def _kind_of_data(found: attribute.Attribute) -> str:
    flagged = ((_ENCRYPTED, "encrypted"), (_COMPRESSED, "compressed"), (_SPARSE, "sparse"))
    for bit, kind in flagged:
        if found.flags & bit:
            return kind
    if found.resident:
        return "resident"
    if found.valid_size < found.size:
        return "valid-length"
    try:
        pieces = sum(1 for _ in runs(found.runlist, place=""))
    except ImageError:
        return ""
    return "fragmented" if pieces > _PIECES else "non-resident"


def _free(mft: Mft) -> int:
    """Clusters that $Bitmap says nobody has."""
    found = attribute.find(mft.read(BITMAP), attribute.DATA, place="$Bitmap")
    clusters = mft.boot.size // mft.boot.cluster
    left, used = -(-clusters // 8), 0
    for run in () if found.resident else runs(found.runlist, place="$Bitmap"):
        size = min(left, run.length * mft.boot.cluster)
        for at in range(0, size, _CHUNK):
            raw = b"" if run.start is None else mft.read_at(run.start, at, min(_CHUNK, size - at))
            used += int.from_bytes(raw, "little").bit_count()
        left -= size
    if found.resident:
        used = int.from_bytes(found.value, "little").bit_count()
    return max(0, clusters - used)
