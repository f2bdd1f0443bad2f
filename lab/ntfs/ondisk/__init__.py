"""NTFS as it lies on disk, one structure a module, only as much as the lab reads or edits.

The words are those of the Linux kernel's ``fs/ntfs/layout.h`` (up to 6.8, and again from 7.1) and of
``fs/ntfs3/ntfs.h``, and of Microsoft's "Master File Table" and "[MS-FSCC]" pages.
"""

from __future__ import annotations

from lab.ntfs.ondisk.attribute import Attribute, attributes
from lab.ntfs.ondisk.boot import Boot
from lab.ntfs.ondisk.mft import Mft
from lab.ntfs.ondisk.record import protect, unprotect
from lab.ntfs.ondisk.runlist import Run, runs
from lab.ntfs.ondisk.volume_information import DIRTY, read_flags, write_flags

__all__ = [
    "DIRTY",
    "Attribute",
    "Boot",
    "Mft",
    "Run",
    "attributes",
    "protect",
    "read_flags",
    "runs",
    "unprotect",
    "write_flags",
]
