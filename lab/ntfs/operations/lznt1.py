"""LZNT1, NTFS' own compression, undone.

Source: [MS-XCA] 2.5. A chunk is a header of two bytes (bits 0-11 its length less 1, bit 15 whether it is compressed)
and its bytes, which stand for 4096 or, the last one, fewer. Compressed, they are groups of a byte of flags and eight
elements, each a byte that stands for itself or two that say from how far back how much is to be repeated.
"""

from __future__ import annotations

from lab.errors import ImageError

__all__ = ["unpack"]

_CHUNK = 4096
_COMPRESSED = 0x8000
_LENGTH = 0x0FFF


def unpack(packed: bytes, size: int) -> bytes:
    """The first ``size`` bytes; what the chunks do not say is zeros.

    Raises:
        ImageError: a chunk ends too early, or repeats what is not there.
    """
    whole = bytearray()
    at = 0
    while at + 2 <= len(packed) and len(whole) < size:
        header = int.from_bytes(packed[at : at + 2], "little")
        if not header:
            break
        raw = packed[at + 2 : at + 3 + (header & _LENGTH)]
        at += 3 + (header & _LENGTH)
        chunk = _chunk(raw) if header & _COMPRESSED else raw
        whole += chunk if len(whole) + len(chunk) >= size else chunk.ljust(_CHUNK, b"\0")
    return bytes(whole[:size].ljust(size, b"\0"))


def _chunk(raw: bytes) -> bytes:
    found = bytearray()
    at = 0
    while at < len(raw):
        flags = raw[at]
        at += 1
        for bit in range(8):
            if at >= len(raw):
                break
            if not flags >> bit & 1:
                found.append(raw[at])
                at += 1
                continue
            if at + 2 > len(raw):
                raise ImageError("LZNT1: a chunk ends inside an element")
            _repeat(found, int.from_bytes(raw[at : at + 2], "little"))
            at += 2
    return bytes(found)


def _repeat(found: bytearray, element: int) -> None:
    """The further the chunk, the more bits say how far back, and the fewer how much."""
    bits = 12 - max(0, (len(found) - 1).bit_length() - 4)
    back, length = (element >> bits) + 1, (element & (1 << bits) - 1) + 3
    if back > len(found):
        raise ImageError(f"LZNT1: {back} bytes back from byte {len(found)} of a chunk")
    for _ in range(length):
        found.append(found[-back])
