"""$LogFile: the restart pages, which say whether the volume was left cleanly.

Layout (``struct RESTART_HDR``, ``RESTART_AREA``, ``CLIENT_REC``, ``RECORD_PAGE_HDR``, ``LFS_RECORD_HDR`` and
``NTFS_RESTART`` in fs/ntfs3/fslog.c; fs/ntfs/logfile.h)::

    0x0000  restart page: header 0x30, restart area 0x30, one client of 0xa0
    0x1000  the same again
    0x2000  pages for the last records (2 in version 1.1, 32 in 2.0), unused here
    then    record pages; the first holds one record, the client's restart record (a checkpoint without tables)
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from lab.ntfs.ondisk.record import protect

__all__ = ["PAGE", "Log", "pages"]

PAGE = 4096
_AREA = 0x30
_CLIENTS = 0x30
"""From the start of the restart area."""
_CLIENT_BYTES = 0xA0
_RECORD_HEADER = 0x30
_FIRST_RECORD = 0x40
"""In a record page: its header of 0x28 and the update sequence array, rounded up."""
_CLEAN = 2
_NONE = 0xFFFF
_TAIL_PAGES = {1: 2, 2: 32}
_CHECKPOINT = 0x40
_CLIENT_RESTART = 2


@dataclass(frozen=True, slots=True)
class Log:
    """A log of ``size`` bytes. Windows up to 7 writes version 1.1, Windows 8 and later may leave 2.0 behind."""

    size: int
    clean: bool
    major: int = 1

    @property
    def _sequence_bits(self) -> int:
        return 67 - self.size.bit_length()

    @property
    def first_page(self) -> int:
        """Where record pages begin."""
        return PAGE * (2 + _TAIL_PAGES[self.major])

    def lsn(self, offset: int) -> int:
        """A log sequence number: how often the log went round (once), then the offset in 8-byte steps."""
        return 1 << (64 - self._sequence_bits) | offset >> 3


def pages(log: Log) -> tuple[tuple[int, bytes], ...]:
    """(offset, page) of what is to be written; the rest of the log is as an unused one has it (0xff)."""
    restart = _page(b"RSTR", _restart(log), array=0x1E)
    record = _page(b"RCRD", _record(log), array=0x28)
    return (0, restart), (PAGE, restart), (log.first_page, record)


def _page(magic: bytes, body: bytes, *, array: int) -> bytes:
    raw = bytearray((magic + struct.pack("<HH", array, PAGE // 512 + 1) + body[8:]).ljust(PAGE, b"\0"))
    return protect(bytes(raw), place="$LogFile")


def _restart(log: Log) -> bytes:
    lsn = log.lsn(log.first_page + _FIRST_RECORD)
    head = bytes(8) + struct.pack("<QIIHHH", 0, PAGE, PAGE, _AREA, 1 if log.major == 1 else 0, log.major)
    free, in_use, flags = (0, _NONE, _CLEAN) if log.clean else (_NONE, 0, 0)
    area = struct.pack("<QHHHH", lsn, 1, free, in_use, flags)
    area += struct.pack("<IHHQ", log._sequence_bits, _CLIENTS + _CLIENT_BYTES, _CLIENTS, log.size)  # noqa: SLF001 - ours
    area += struct.pack("<IHHII", _CHECKPOINT, _RECORD_HEADER, _FIRST_RECORD, 1, 0)
    name = "NTFS".encode("utf-16-le")
    client = struct.pack("<QQHHH6xI", lsn, lsn, _NONE, _NONE, 0, len(name)) + name
    return head.ljust(_AREA, b"\0") + area + client.ljust(_CLIENT_BYTES, b"\0")


def _record(log: Log) -> bytes:
    lsn = log.lsn(log.first_page + _FIRST_RECORD)
    following = _FIRST_RECORD + _RECORD_HEADER + _CHECKPOINT
    page = bytes(8) + struct.pack("<QIHHH6xQ", lsn, 1, 1, 1, following, lsn)
    record = struct.pack("<QQQIHHIIH6x", lsn, 0, 0, _CHECKPOINT, 0, 0, _CLIENT_RESTART, 0, 0)
    checkpoint = struct.pack("<IIQ", 1, 0, lsn).ljust(_CHECKPOINT, b"\0")
    # A page of version 2 says where in the log it belongs: its last copies may stand in the pages before.
    page = page.ljust(_FIRST_RECORD - 4, b"\0") + struct.pack("<I", log.first_page if log.major > 1 else 0)
    return page + record + checkpoint
