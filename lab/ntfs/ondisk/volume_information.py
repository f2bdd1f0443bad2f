"""$VOLUME_INFORMATION of $Volume: the NTFS version and the volume flags.

Layout (``struct VOLUME_INFO`` in fs/ntfs3/ntfs.h): 8 bytes unused, major and minor version (1 byte each), flags (2).
"""

from __future__ import annotations

import struct
from pathlib import Path

from lab.ntfs.ondisk import attribute
from lab.ntfs.ondisk.mft import VOLUME, Mft

__all__ = ["DIRTY", "read_flags", "write_flags"]

DIRTY = 0x0001
"""chkdsk is to run at the next boot; set by Windows while a volume is mounted, left behind by a pulled plug."""

_FLAGS = 10


def read_flags(path: Path) -> int:
    """The volume flags of the volume file ``path``.

    Raises:
        ImageError: it is no NTFS volume, or its $Volume record is broken.
    """
    with Mft.open(path) as mft:
        found = attribute.find(mft.read(VOLUME), attribute.VOLUME_INFORMATION, place=f"{path}: $Volume")
        return int(struct.unpack_from("<H", found.value, _FLAGS)[0])


def write_flags(path: Path, flags: int) -> None:
    """Set the volume flags, in $MFT and in $MFTMirr.

    Raises:
        ImageError: as :func:`read_flags`.
    """
    with Mft.open(path, write=True) as mft:
        record = bytearray(mft.read(VOLUME))
        found = attribute.find(bytes(record), attribute.VOLUME_INFORMATION, place=f"{path}: $Volume")
        struct.pack_into("<H", record, found.value_offset + _FLAGS, flags)
        mft.write(VOLUME, bytes(record))
