"""The state that a volume was left in, read from its structures: what makes a driver right to keep its hands off it.

Sources: fs/ntfs3/fslog.c for the restart pages, ntfs-3g(8) on hibernation (``hibr`` and ``HIBR`` begin the file of a
Windows that sleeps; it is zeroed when that one is resumed).
"""

from __future__ import annotations

import struct
from contextlib import suppress
from pathlib import Path

from lab.errors import ImageError
from lab.ntfs.ondisk import attribute
from lab.ntfs.ondisk.index import lookup
from lab.ntfs.ondisk.mft import LOG_FILE, Mft
from lab.ntfs.ondisk.record import unprotect
from lab.ntfs.ondisk.runlist import runs
from lab.ntfs.ondisk.volume_information import DIRTY, read_flags
from lab.ntfs.volumes.recipe import State

__all__ = ["state_of"]

_HIBERNATED = frozenset({b"hibr", b"HIBR"})
_PAGE = 4096
_NO_CLIENT = 0xFFFF
_LEFT_CLEANLY = 2


def state_of(volume: Path) -> State:
    """The gravest state that the structures of a raw volume tell of; damaged if not even its flags can be read."""
    try:
        if read_flags(volume) & DIRTY:
            return State.DIRTY
        with Mft.open(volume) as mft:
            if _is_hibernated(mft):
                return State.HIBERNATED
            return State.UNCLEAN_LOG if _was_in_use(mft) else State.CLEAN
    except (ImageError, struct.error):
        return State.DAMAGED


def _is_hibernated(mft: Mft) -> bool:
    with suppress(ImageError, struct.error):  # there is none, or it is so broken that nobody could resume from it
        return _first_bytes(mft, lookup(mft, "hiberfil.sys", place="hiberfil.sys"), 4) in _HIBERNATED
    return False


def _was_in_use(mft: Mft) -> bool:
    """By the newer of the two restart pages. A log that was never used, or that chkdsk has emptied, has none."""
    newest = (-1, False)
    with suppress(ImageError, struct.error):
        log = _first_bytes(mft, LOG_FILE, 2 * _PAGE)
        for at in (0, _PAGE):
            if log[at : at + 4] == b"RSTR":
                newest = max(newest, _restart(log[at : at + _PAGE]))
    return newest[1]


def _restart(page: bytes) -> tuple[int, bool]:
    """Its log sequence number, and whether somebody has the volume mounted."""
    raw = unprotect(page, place="$LogFile", magic=b"RSTR")
    (area,) = struct.unpack_from("<H", raw, 0x18)
    number, _, _, in_use, flags = struct.unpack_from("<QHHHH", raw, area)
    return number, in_use != _NO_CLIENT and not flags & _LEFT_CLEANLY


def _first_bytes(mft: Mft, number: int, length: int) -> bytes:
    found = attribute.find(mft.read(number), attribute.DATA, place=f"MFT record {number}")
    if found.resident:
        return found.value[:length]
    raw = b""
    for run in runs(found.runlist, place=f"MFT record {number}"):
        if run.start is None or len(raw) >= length:
            break
        raw += mft.read_at(run.start, 0, min(length - len(raw), run.length * mft.boot.cluster))
    return raw[:length]
