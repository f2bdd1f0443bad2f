"""The ELF kernel inside a bzImage.

libxl unpacks a bzImage in dom0, which takes 7-18 s under emulation; given the ELF, a guest starts in 2 s.
"""

from __future__ import annotations

import lzma
import struct
import zlib
from pathlib import Path
from typing import Protocol

from lab.deadline import Deadline
from lab.errors import ImageError
from lab.process import run

__all__ = ["extract_vmlinux"]

# Linux Documentation/arch/x86/boot.rst: setup_sects is at 0x1f1, "HdrS" at 0x202, payload_offset at 0x248 and
# payload_length at 0x24c; the offset counts from the protected-mode code, i.e. after (setup_sects + 1) * 512 bytes.
_SETUP_SECTS, _MAGIC, _PAYLOAD = 0x1F1, 0x202, 0x248


def extract_vmlinux(bzimage: Path, into: Path, *, deadline: Deadline) -> None:
    """Write the uncompressed ELF of ``bzimage`` to ``into``.

    Raises:
        ImageError: it is not a bzImage, its payload is in an unknown format, or cut off.
        CommandError: zstd or lz4 could not unpack it.
    """
    image = bzimage.read_bytes()
    if image[_MAGIC : _MAGIC + 4] != b"HdrS" or len(image) < _PAYLOAD + 8:
        raise ImageError(f"{bzimage}: no Linux boot header at {_MAGIC:#x}: not a bzImage")
    offset, length = struct.unpack_from("<II", image, _PAYLOAD)
    start = (image[_SETUP_SECTS] + 1) * 512 + offset
    elf = _unpack(image[start : start + length], bzimage, deadline)
    if elf[:4] != b"\x7fELF":
        raise ImageError(f"{bzimage}: its payload unpacks to something that is no ELF")
    into.write_bytes(elf)


def _unpack(payload: bytes, bzimage: Path, deadline: Deadline) -> bytes:
    # Behind all but gzip, which ends with it anyway, the build appends the unpacked size in 4 bytes, which are not part
    # of the stream (arch/x86/boot/compressed/Makefile, size_append).
    if payload.startswith(b"\xfd7zXZ"):
        return _stream(lzma.LZMADecompressor(), payload, bzimage)
    if payload.startswith(b"\x1f\x8b"):
        return _stream(zlib.decompressobj(wbits=31), payload, bzimage)
    if payload.startswith(b"\x28\xb5\x2f\xfd"):
        return run("zstd", "-dc", stdin=payload[:-4], deadline=deadline).check().stdout
    if payload.startswith(b"\x02\x21\x4c\x18"):
        # The legacy LZ4 frame, which Debian's cloud kernels of bookworm use.
        return run("lz4", "-dc", stdin=payload[:-4], deadline=deadline).check().stdout
    raise ImageError(f"{bzimage}: payload begins with {payload[:6].hex()}: not gzip, XZ, LZ4 or Zstandard")


class _Stream(Protocol):
    @property
    def eof(self) -> bool: ...
    def decompress(self, compressed: bytes, /) -> bytes: ...


def _stream(stream: _Stream, payload: bytes, bzimage: Path) -> bytes:
    try:
        unpacked = stream.decompress(payload)
    except (lzma.LZMAError, zlib.error) as broken:
        raise ImageError(f"{bzimage}: its payload cannot be unpacked: {broken}") from broken
    if not stream.eof:
        raise ImageError(f"{bzimage}: its payload ends in the middle of the compressed stream")
    return unpacked
