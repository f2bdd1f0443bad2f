"""MFT records larger than a sector: mkntfs makes none, Windows does where a disk of 4 KiB sectors was copied."""

from __future__ import annotations

import struct
from pathlib import Path

from lab.ntfs.ondisk.boot import BOOT_BYTES, Boot

__all__ = ["keep_sector_size"]


def keep_sector_size(path: Path, sector: int) -> None:
    """Turn a volume made for larger sectors into one of ``sector`` bytes; records and everything else stay as they are.

    All structures are protected in strides of 512 bytes whatever the sector (see :mod:`lab.ntfs.ondisk.record`): only
    the boot sector knows of sectors. Its spare moves to what is now the last one.
    """
    with path.open("r+b") as file:
        raw = bytearray(file.read(BOOT_BYTES))
        boot = Boot.parse(bytes(raw), place=str(path))
        size = boot.size + boot.sector
        struct.pack_into("<HB", raw, 0x0B, sector, boot.cluster // sector)
        struct.pack_into("<Q", raw, 0x28, size // sector - 1)
        for at, content in ((boot.size, bytes(boot.sector)), (0, raw), (size - sector, raw)):
            file.seek(at)
            file.write(content)
