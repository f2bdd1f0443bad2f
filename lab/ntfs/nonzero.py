"""Reading only what is not zero: images of disks are mostly holes, and a terabyte of zeros takes hours to read."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from typing import BinaryIO

from lab.deadline import Deadline

__all__ = ["digest", "nonzero_chunks"]

_CHUNK = 1 << 20
_ZEROS = bytes(_CHUNK)


def digest(file: BinaryIO, start: int, length: int, deadline: Deadline) -> str:
    """A digest, in hex, of a stretch of a file.

    It covers every byte, but is not the SHA-256 of them: pieces that are all zero add nothing to it.

    Raises:
        DeadlineError: it was not done in time.
    """
    made = hashlib.sha256()
    for offset, chunk in nonzero_chunks(file, start, length, deadline):
        made.update(offset.to_bytes(8, "little"))
        made.update(chunk)
    return made.hexdigest()


def nonzero_chunks(file: BinaryIO, start: int, length: int, deadline: Deadline) -> Iterator[tuple[int, bytes]]:
    """(offset from ``start``, bytes) of every piece of up to 1 MiB that is not all zero, in order.

    The pieces depend on the content alone, not on where the file system happens to keep holes, so that what is made
    of them (a copy, a digest) is the same for equal bytes.

    Raises:
        DeadlineError: it was not done in time.
    """
    end = min(start + length, file.seek(0, os.SEEK_END))
    at = start
    while at < end:
        deadline.check(f"reading {file.name}")
        following = _next_data(file, at, end)
        if following >= end:
            return
        at += (following - at) // _CHUNK * _CHUNK
        file.seek(at)
        chunk = file.read(min(_CHUNK, end - at))
        if not chunk:
            return
        if chunk != _ZEROS[: len(chunk)]:
            yield at - start, chunk
        at += len(chunk)


def _next_data(file: BinaryIO, at: int, end: int) -> int:
    """Where the next bytes lie that are not in a hole; holes are skipped unread where the file can tell them."""
    try:
        return os.lseek(file.fileno(), at, os.SEEK_DATA)
    except OSError:  # ENXIO: a hole up to the end; EINVAL: a device, which has none
        return at if stat.S_ISBLK(os.fstat(file.fileno()).st_mode) else end
