"""The boot sector: where everything else is found."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lab.errors import ImageError
from lab.ntfs.manifest import Geometry

__all__ = ["BOOT_BYTES", "Boot", "rewrite"]

BOOT_BYTES = 512
"""What is read of it; the fields end well before, whatever the sector size."""

_MAX_CLUSTER = 2 * 1024 * 1024
"""Windows 10 1709 and later; fs/ntfs3 takes the same limit."""


@dataclass(frozen=True, slots=True)
class Boot:
    """The geometry of a volume, all in bytes but ``total_sectors`` and the cluster numbers.

    Layout (``struct NTFS_BOOT`` in fs/ntfs3/ntfs.h)::

        0x03  8  system id "NTFS    "          0x30  8  first cluster of $MFT
        0x0b  2  bytes per sector              0x38  8  first cluster of $MFTMirr
        0x0d  1  sectors per cluster *         0x40  1  clusters per MFT record *
        0x28  8  total sectors, without the    0x44  1  clusters per index block *
                 spare boot sector at the end  0x48  8  serial number

    * as a record size, a byte of 0x80 and more is negative: 2 to the power of its negation in bytes. As sectors per
    cluster, 0x80 is still 128 sectors (64 KiB), and what is more, 2 to the power of its negation in sectors.
    """

    sector: int
    cluster: int
    record: int
    index_block: int
    total_sectors: int
    mft_cluster: int
    mirror_cluster: int
    serial: int

    @property
    def size(self) -> int:
        """The bytes the volume says it has (its spare boot sector, one sector more, not counted)."""
        return self.total_sectors * self.sector

    @property
    def geometry(self) -> Geometry:
        """As a manifest has it."""
        return Geometry(self.sector, self.cluster, self.record, self.index_block, self.size)

    @classmethod
    def parse(cls, raw: bytes, *, place: str) -> Boot:
        """The geometry in ``raw``, the first 512 bytes of a volume.

        Raises:
            ImageError: it is no NTFS boot sector, or a field cannot be; the message begins with ``place``.
        """
        if len(raw) < BOOT_BYTES:
            raise ImageError(f"{place}: {len(raw)} bytes are too few for a boot sector")
        if raw[3:11] != b"NTFS    ":
            raise ImageError(f"{place}+0x3: system id is {raw[3:11]!r}, not b'NTFS    '", hint="is it an NTFS volume?")
        sector, per_cluster = struct.unpack_from("<HB", raw, 0x0B)
        _power_of_two(sector, 256, 4096, f"{place}+0xb: bytes per sector")
        cluster = sector * (per_cluster if per_cluster <= 0x80 else 1 << (256 - per_cluster))
        _power_of_two(cluster, sector, _MAX_CLUSTER, f"{place}+0xd: bytes per cluster")
        total, mft, mirror = struct.unpack_from("<QQQ", raw, 0x28)
        record = _record_bytes(raw[0x40], cluster)
        _power_of_two(record, 512, 65536, f"{place}+0x40: bytes per MFT record")
        index_block = _record_bytes(raw[0x44], cluster)
        _power_of_two(index_block, 512, _MAX_CLUSTER, f"{place}+0x44: bytes per index block")
        if not total:
            raise ImageError(f"{place}+0x28: the volume has 0 sectors")
        for offset, number, name in ((0x30, mft, "$MFT"), (0x38, mirror, "$MFTMirr")):
            if number * cluster >= total * sector:
                raise ImageError(f"{place}+{offset:#x}: {name} starts at cluster {number}, past the end of the volume")
        (serial,) = struct.unpack_from("<Q", raw, 0x48)
        return cls(sector, cluster, record, index_block, total, mft, mirror, serial)


def _record_bytes(field: int, cluster: int) -> int:
    return field * cluster if field < 0x80 else 1 << min(256 - field, 63)


def _power_of_two(value: int, least: int, most: int, what: str) -> None:
    if not least <= value <= most or value & (value - 1):
        raise ImageError(f"{what} is {value}, not a power of two from {least} to {most}")


def rewrite(path: Path, change: Callable[[bytearray], None], *, main: bool = True, spare: bool = True) -> None:
    """Change the boot sector of a volume file, and its spare in the last sector, or only one of them.

    Raises:
        ImageError: the file is no NTFS volume.
    """
    with path.open("r+b") as file:
        boot = Boot.parse(file.read(BOOT_BYTES), place=str(path))
        for at, wanted in ((0, main), (boot.size, spare)):
            if wanted:
                file.seek(at)
                raw = bytearray(file.read(BOOT_BYTES))
                change(raw)
                file.seek(at)
                file.write(raw)
