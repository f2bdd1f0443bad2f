"""WofCompressedData: the stream in which the Windows Overlay Filter keeps a file ("system compression", CompactOS).

It is laid out like a non-solid resource of a WIM file (Microsoft's "Imaging format" white paper;
``attr_wof_frame_info`` in fs/ntfs3/attrib.c): the offset of each chunk but the first, 4 bytes each, counted from the
end of this table, then the chunks. One that would not shrink is stored as it is, which a reader knows by its length.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate

from lab.ntfs.ondisk import lzx, xpress

__all__ = ["FORMATS", "STREAM", "Format", "pack"]

STREAM = "WofCompressedData"


@dataclass(frozen=True, slots=True)
class Format:
    """``number`` is what the reparse point says."""

    number: int
    chunk: int
    compress: Callable[[bytes], bytes]


FORMATS = {
    "xpress4k": Format(0, 4096, xpress.compress),
    "lzx": Format(1, lzx.CHUNK, lzx.compress),
    "xpress8k": Format(2, 8192, xpress.compress),
    "xpress16k": Format(3, 16384, xpress.compress),
}


def pack(raw: bytes, form: Format) -> bytes:
    """The stream for a file of these bytes, fewer than 4 GiB."""
    chunks = []
    for at in range(0, len(raw), form.chunk):
        chunk = raw[at : at + form.chunk]
        packed = form.compress(chunk)
        chunks.append(packed if len(packed) < len(chunk) else chunk)
    ends = list(accumulate(map(len, chunks)))[:-1]
    return struct.pack(f"<{len(ends)}I", *ends) + b"".join(chunks)
