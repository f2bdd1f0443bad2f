"""Multi-sector records and their update sequence ("fixups"): how a torn write is noticed.

The last two bytes of each 512-byte stride hold the update sequence number; what belongs there is kept in the update
sequence array. Sources: ``ntfs_fix_post_read`` in fs/ntfs3/fsntfs.c, ``post_read_mst_fixup`` in fs/ntfs/mst.c. The
stride is 512 bytes whatever the sector size (NTFS_BLOCK_SIZE there).
"""

from __future__ import annotations

import struct

from lab.errors import ImageError

__all__ = ["STRIDE", "protect", "unprotect"]

STRIDE = 512


def unprotect(raw: bytes, *, place: str, magic: bytes = b"FILE") -> bytes:
    """The record as it is meant, its own bytes put back where the sequence number stood.

    Raises:
        ImageError: another magic, an impossible array, or a stride that was not written with the others.
    """
    if raw[:4] != magic:
        raise ImageError(f"{place}: record magic is {raw[:4]!r}, not {magic!r}")
    number, saved = _array(raw, place)
    record = bytearray(raw)
    for index, original in enumerate(saved):
        end = (index + 1) * STRIDE
        if record[end - 2 : end] != number:
            raise ImageError(f"{place}+{end - 2:#x}: torn write: {record[end - 2 : end].hex()}, not {number.hex()}")
        record[end - 2 : end] = original
    return bytes(record)


def protect(record: bytes, *, place: str) -> bytes:
    """The record ready for the disk, under the next sequence number (never 0, which means unused)."""
    offset, _ = struct.unpack_from("<HH", record, 4)
    number, saved = _array(record, place)
    following = struct.pack("<H", (int.from_bytes(number, "little") % 0xFFFE) + 1)
    raw = bytearray(record)
    raw[offset : offset + 2] = following
    for index in range(len(saved)):
        end = (index + 1) * STRIDE
        slot = offset + 2 * (index + 1)
        raw[slot : slot + 2] = raw[end - 2 : end]
        raw[end - 2 : end] = following
    return bytes(raw)


def _array(record: bytes, place: str) -> tuple[bytes, list[bytes]]:
    offset, count = struct.unpack_from("<HH", record, 4)
    end = offset + 2 * count
    if offset % 2 or count != len(record) // STRIDE + 1 or end > STRIDE - 2:
        raise ImageError(f"{place}+0x4: update sequence array of {count} at {offset:#x} in {len(record)} bytes")
    return record[offset : offset + 2], [record[at : at + 2] for at in range(offset + 2, end, 2)]
