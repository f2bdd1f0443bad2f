"""Large volumes that take little room: a short log, and holes instead of zeros in the file that holds them."""

from __future__ import annotations

import struct
from pathlib import Path

from lab.deadline import Deadline
from lab.ntfs.nonzero import nonzero_chunks
from lab.ntfs.ondisk import attribute
from lab.ntfs.ondisk.attribute import replace
from lab.ntfs.ondisk.mft import BITMAP, LOG_FILE, Mft
from lab.ntfs.ondisk.runlist import Run, pack

__all__ = ["compact", "shrink_log"]

_LOG = 2 << 20
"""The least that fs/ntfs3 and ntfs-3g do not complain about is well below; Windows makes none smaller than this."""
_SECONDS = 120.0
_ZEROS = bytes(1 << 20)


def shrink_log(path: Path) -> None:
    """Make $LogFile 2 MiB long; mkntfs makes it 64 MiB on large volumes, and fills it.

    Raises:
        ImageError: it is not in one run.
    """
    with Mft.open(path, write=True) as mft:
        place, cluster = f"{path}: $LogFile", mft.boot.cluster
        start, size = mft.first_run(LOG_FILE)
        kept = _LOG // cluster
        record = mft.read(LOG_FILE)
        old = attribute.find(record, attribute.DATA, place=place)
        runlist = pack((Run(start, kept),)).ljust(8, b"\0")
        head = bytearray(old.raw[:0x40])
        struct.pack_into("<I", head, 4, len(head) + len(runlist))
        struct.pack_into("<Q", head, 0x18, kept - 1)
        struct.pack_into("<H", head, 0x20, len(head))
        struct.pack_into("<3Q", head, 0x28, _LOG, _LOG, _LOG)
        mft.write(LOG_FILE, replace(record, old, bytes(head) + runlist, place=place))
        for at in range(_LOG, size, len(_ZEROS)):
            mft.write_bytes(start, at, _ZEROS[: size - at])
        _free(mft, start + kept, start + -(-size // cluster))


def _free(mft: Mft, first: int, end: int) -> None:
    """Clear the bits of these clusters in $Bitmap."""
    bitmap, _ = mft.first_run(BITMAP)
    low, high = first // 8, -(-end // 8)
    bits = int.from_bytes(mft.read_at(bitmap, low, high - low), "little")
    mask = ((1 << (end - first)) - 1) << (first - 8 * low)
    mft.write_bytes(bitmap, low, (bits & ~mask).to_bytes(high - low, "little"))


def compact(path: Path) -> None:
    """Turn zeros into holes.

    Raises:
        OSError: there is no room for the copy.
    """
    target = path.with_suffix(".compact")
    size = path.stat().st_size
    with path.open("rb") as source, target.open("wb") as file:
        file.truncate(size)
        for at, chunk in nonzero_chunks(source, 0, size, Deadline(_SECONDS)):
            for piece in range(0, len(chunk), 4096):
                if chunk[piece : piece + 4096].strip(b"\0"):
                    file.seek(at + piece)
                    file.write(chunk[piece : piece + 4096])
    target.replace(path)
