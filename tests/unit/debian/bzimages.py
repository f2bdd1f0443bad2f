"""bzImages as the kernel's build lays them out, around a payload of our own."""

from __future__ import annotations

import gzip
import lzma
import struct
import subprocess

ELF = b"\x7fELF\x02\x01\x01" + b"the kernel " * 3000


def payload(form: str, content: bytes = ELF) -> bytes:
    """``content`` packed as the kernel's build packs it: all but gzip get the unpacked size appended in 4 bytes."""
    size = struct.pack("<I", len(content))
    match form:
        case "gzip":
            return gzip.compress(content)
        case "xz":
            return lzma.compress(content, check=lzma.CHECK_CRC32) + size
        case "zstd":
            return pack(("zstd", "-qc"), content) + size
        case "lz4":
            return pack(("lz4", "-lqc"), content) + size
        case _:
            raise AssertionError(form)


def pack(argv: tuple[str, ...], content: bytes) -> bytes:
    """What a program makes of ``content``."""
    return subprocess.run(argv, input=content, capture_output=True, check=True, timeout=20).stdout


def bzimage(packed: bytes, *, setup_sectors: int = 27, offset: int = 0x2CD, tail: bytes = b"\0" * 64) -> bytes:
    """Boot sector, setup code, then the protected-mode code with the payload ``offset`` bytes in (boot.rst)."""
    setup = bytearray((setup_sectors + 1) * 512)
    setup[0x1F1] = setup_sectors
    setup[0x202:0x206] = b"HdrS"
    struct.pack_into("<II", setup, 0x248, offset, len(packed))
    return bytes(setup) + b"\xfa" * offset + packed + tail
