"""What lies where NTFS was looked for: other file systems, locked and packed ones, by their signatures.

Sources: the layouts in the kernel (fs/fat, fs/exfat, fs/ext4, fs/xfs, fs/btrfs, fs/hfsplus, fs/squashfs,
include/linux/swap.h, drivers/md), cryptsetup's LUKS and BITLK formats, LVM2's label format, [MS-REFS], libewf's and
wimlib's descriptions of their formats.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO

__all__ = ["Kind", "recognise"]


@dataclass(frozen=True, slots=True)
class Kind:
    """Something that is not NTFS. ``hint`` is what to do about it, or empty.

    ``hides`` says that there is likely an NTFS volume in it that cannot be seen from outside: what Windows makes, and
    what images are packed in. Beside NTFS partitions, that is worth an error.
    """

    name: str
    hint: str = ""
    hides: bool = False

    @property
    def sentence(self) -> str:
        """For a message, after its place."""
        return f"this is {self.name}, not NTFS"


_UNLOCK = "unlock it first (`cryptsetup open --type {} DEVICE NAME`), then name /dev/mapper/NAME"
_UNPACK = "unpack it first, then name what was in it"


def _image(program: str, hint: str) -> Kind:
    return Kind(f"an image of {program}", hint, hides=True)


_BITLOCKER = Kind("BitLocker", _UNLOCK.format("bitlk"), hides=True)
_SWAP = Kind("swap space")

_SIGNATURES: tuple[tuple[int, bytes, Kind], ...] = (
    (3, b"-FVE-FS-", _BITLOCKER),
    # BitLocker To Go looks like FAT but for this GUID, 4967d63b-2e29-4ad8-8399-f6a339e3d001.
    (0x1A8, bytes.fromhex("3bd66749292ed84a8399f6a339e3d001"), _BITLOCKER),
    (0, b"LUKS\xba\xbe", Kind("LUKS", _UNLOCK.format("luks"))),
    (3, b"ReFS\0\0\0\0", Kind("ReFS")),
    (3, b"EXFAT   ", Kind("exFAT")),
    (0, b"XFSB", Kind("XFS")),
    (0x10040, b"_BHRfS_M", Kind("Btrfs")),
    (32, b"NXSB", Kind("APFS")),
    (1024, b"H+\0\x04", Kind("HFS+")),
    (1024, b"HX\0\x05", Kind("HFS+")),
    (0x8001, b"CD001", Kind("an ISO 9660 file system")),
    (0, b"hsqs", Kind("squashfs")),
    (1024, b"\x10\x20\xf5\xf2", Kind("F2FS")),
    (0, b"\0ntfsclone-image", _image("ntfsclone", "`ntfsclone --restore-image --output FILE IMAGE` unpacks it")),
    (0, b"partclone-image", _image("partclone", "`partclone.restore -C -s IMAGE -o FILE` unpacks it")),
    (0, b"EVF\x09\x0d\x0a\xff\0", _image("EnCase (E01)", "`ewfexport` unpacks it, `ewfmount` shows it")),
    (0, b"EVF2\r\n\x81\0", _image("EnCase (Ex01)", "`ewfexport` unpacks it, `ewfmount` shows it")),
    (0, b"MSWIM\0\0\0", Kind("a WIM archive", "it holds files, no volume; `wimapply` puts them on one")),
    (0, b"\x1f\x8b\x08", Kind("packed with gzip", _UNPACK, hides=True)),
    (0, b"\xfd7zXZ\0", Kind("packed with xz", _UNPACK, hides=True)),
    (0, b"\x28\xb5\x2f\xfd", Kind("packed with zstd", _UNPACK, hides=True)),
    (0, b"BZh", Kind("packed with bzip2", _UNPACK, hides=True)),
    (0, b"PK\x03\x04", Kind("a ZIP archive", _UNPACK, hides=True)),
    (0, b"7z\xbc\xaf\x27\x1c", Kind("a 7z archive", _UNPACK, hides=True)),
    (257, b"ustar", Kind("a tar archive", _UNPACK, hides=True)),
    (6 * 512, b"PRIVHEAD", Kind("a dynamic disk of Windows", "name its volume, as `ldmtool` shows it", hides=True)),
    *((page - 10, text, _SWAP) for page in (4096, 8192, 16384, 65536) for text in (b"SWAPSPACE2", b"SWAP-SPACE")),
)  # fmt: skip
"""Offset, bytes, what it is."""


def recognise(file: BinaryIO, offset: int, room: int) -> Kind | None:
    """What the ``room`` bytes at ``offset`` are, if it is one of those known here; the first kind that fits."""

    def at(place: int, size: int) -> bytes:
        if place < 0 or place + size > room:
            return b""
        file.seek(offset + place)
        return file.read(size)

    for place, text, kind in _SIGNATURES:
        if at(place, len(text)) == text:
            return kind
    return next((found for look in (_lvm, _raid, _ext, _fat) if (found := look(at))), None)


_At = Callable[[int, int], bytes]


def _lvm(at: _At) -> Kind | None:
    """A physical volume has its label in one of the first four sectors."""
    for sector in range(0, 4 * 512, 512):
        if at(sector, 8) == b"LABELONE" and at(sector + 24, 8) == b"LVM2 001":
            return Kind("LVM", "activate it (`vgchange -ay`), then name a logical volume")
    return None


def _raid(at: _At) -> Kind | None:
    """Linux software RAID with its superblock in front; where it is at the end, what is in front is the content."""
    found = any(at(place, 4) == b"\xfc\x4e\x2b\xa9" and at(place + 4, 4) == b"\1\0\0\0" for place in (0, 4096))
    hint = "assemble it (`mdadm --assemble --scan`), then name /dev/mdN"
    return Kind("a part of a software RAID", hint) if found else None


def _ext(at: _At) -> Kind | None:
    """Two bytes are no proof: the block size and the revision must be possible, too."""
    block = at(1024, 1024)
    if block[0x38:0x3A] != b"\x53\xef":
        return None
    size, revision, compat, incompat = (struct.unpack_from("<I", block, place)[0] for place in (0x18, 0x4C, 0x5C, 0x60))
    if size > 6 or revision > 1:
        return None
    journal, extents = compat & 0x4, incompat & 0x2C0  # extents, 64 bits, flexible groups: only ext4 has them
    return Kind("ext4" if extents else "ext3" if journal else "ext2")


def _fat(at: _At) -> Kind | None:
    boot = at(0, 512)
    if boot[510:] == b"\x55\xaa" and (boot[0x36:0x39] == b"FAT" or boot[0x52:0x57] == b"FAT32"):
        return Kind("FAT")
    return None
