"""$REPARSE_POINT: a tag and what the tag's owner wants to know.

Sources: [MS-FSCC] 2.1.2 (tags and buffers), 2.1.2.4 (symbolic links), 2.1.2.5 (mount points, which junctions are);
``struct REPARSE_POINT`` and the IO_REPARSE_TAG constants in fs/ntfs3/ntfs.h; ``WOF_EXTERNAL_INFO`` and
``FILE_PROVIDER_EXTERNAL_INFO_V1`` as the Windows SDK documents them.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum

from lab.errors import ImageError

__all__ = ["ReparsePoint", "Tag", "decode", "encode", "junction", "lx_symlink", "symlink", "wof"]


class Tag(IntEnum):
    """The tags that the lab's volumes use."""

    MOUNT_POINT = 0xA0000003
    SYMLINK = 0xA000000C
    DEDUP = 0x80000013
    WOF = 0x80000017
    LX_SYMLINK = 0xA000001D
    AF_UNIX = 0x80000023
    LX_FIFO = 0x80000024
    LX_CHR = 0x80000025
    LX_BLK = 0x80000026
    CLOUD_6 = 0x9000601A


@dataclass(frozen=True, slots=True)
class ReparsePoint:
    """Layout: tag (4 bytes), length of the buffer (2), unused (2), the buffer."""

    tag: int
    buffer: bytes


def encode(point: ReparsePoint) -> bytes:
    """The attribute's value."""
    return struct.pack("<IHH", point.tag, len(point.buffer), 0) + point.buffer


def decode(value: bytes, *, place: str) -> ReparsePoint:
    """What :func:`encode` undoes.

    Raises:
        ImageError: it is shorter than its header says.
    """
    if len(value) < 8:
        raise ImageError(f"{place}: {len(value)} bytes are too few for a reparse point")
    tag, length = struct.unpack_from("<IH", value)
    if len(value) < 8 + length:
        raise ImageError(f"{place}: reparse point of {length} bytes in {len(value) - 8}")
    return ReparsePoint(tag, value[8 : 8 + length])


def symlink(substitute: str, printed: str | None = None, *, relative: bool) -> ReparsePoint:
    """A symbolic link; ``substitute`` is what counts, ``printed`` what is shown: the same unless it is given."""
    names = _names(substitute, printed, end=b"")
    return ReparsePoint(Tag.SYMLINK, names[:8] + struct.pack("<I", relative) + names[8:])


def junction(substitute: str, printed: str | None = None) -> ReparsePoint:
    """A junction or, with a volume's name, a mounted folder. Both names end in a NUL here, unlike a link's."""
    return ReparsePoint(Tag.MOUNT_POINT, _names(substitute, printed, end=b"\0\0"))


def _names(substitute: str, printed: str | None, *, end: bytes) -> bytes:
    """A name to show that is empty is another thing than one that was not given."""
    names = (substitute, substitute if printed is None else printed)
    first, second = (name.encode("utf-16-le", "surrogatepass") for name in names)
    head = struct.pack("<HHHH", 0, len(first), len(first) + len(end), len(second))
    return head + first + end + second + end


def lx_symlink(target: str) -> ReparsePoint:
    """A symbolic link of the Windows Subsystem for Linux: version 2, then the target in UTF-8."""
    return ReparsePoint(Tag.LX_SYMLINK, struct.pack("<I", 2) + target.encode())


def wof(algorithm: int) -> ReparsePoint:
    """A file whose bytes the Windows Overlay Filter packed: WOF version 1, provider 2 (file), its version 1."""
    return ReparsePoint(Tag.WOF, struct.pack("<4I", 1, 2, 1, algorithm))
