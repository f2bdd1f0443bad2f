"""What is not NTFS is called by its name, whoever made it."""

from __future__ import annotations

import gzip
import io
import shutil
import struct
import subprocess
import tarfile
import zipfile
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.ntfs.images.signature import Kind, recognise
from tests.unit.ntfs.disks import laid

MIB = 1 << 20


def kind_of(*pieces: tuple[int, bytes], offset: int = 0) -> Kind | None:
    disk = bytearray(offset + MIB)
    for at, piece in pieces:
        disk[offset + at : offset + at + len(piece)] = piece
    return recognise(BytesIO(bytes(disk)), offset, MIB)


FAT32 = (510, b"\x55\xaa"), (0x52, b"FAT32   ")
EXT = (0x438, b"\x53\xef"), (0x44C, b"\1")


@pytest.mark.parametrize("offset", [0, 4096])
@pytest.mark.parametrize(
    ("pieces", "name", "hides"),
    [
        ([(0, b"\xeb\x58\x90-FVE-FS-")], "BitLocker", True),
        ([(0x1A8, bytes.fromhex("3bd66749292ed84a8399f6a339e3d001")), *FAT32], "BitLocker", True),
        ([(0, b"LUKS\xba\xbe\0\2")], "LUKS", False),
        ([(3, b"ReFS\0\0\0\0")], "ReFS", False),
        ([(3, b"EXFAT   ")], "exFAT", False),
        (FAT32, "FAT", False),
        ([(510, b"\x55\xaa"), (0x36, b"FAT16   ")], "FAT", False),
        ([(510, b"\x55\xaa"), (0x36, b"FAT     ")], "FAT", False),
        (EXT, "ext2", False),
        ([*EXT, (0x45C, b"\4")], "ext3", False),
        ([*EXT, (0x45C, b"\4"), (0x460, b"\x40")], "ext4", False),
        ([(0, b"XFSB\0\0\x10\0")], "XFS", False),
        ([(0x10040, b"_BHRfS_M")], "Btrfs", False),
        ([(512, b"LABELONE"), (512 + 24, b"LVM2 001")], "LVM", False),
        ([(4096 - 10, b"SWAPSPACE2")], "swap space", False),
        ([(65536 - 10, b"SWAPSPACE2")], "swap space", False),
        ([(4096, b"\xfc\x4e\x2b\xa9\1\0\0\0")], "a part of a software RAID", False),
        ([(32, b"NXSB")], "APFS", False),
        ([(1024, b"H+\0\4")], "HFS+", False),
        ([(0x8001, b"CD001")], "an ISO 9660 file system", False),
        ([(3072, b"PRIVHEAD")], "a dynamic disk of Windows", True),
        ([(0, b"\0ntfsclone-image\x10")], "an image of ntfsclone", True),
        ([(0, b"EVF\x09\x0d\x0a\xff\0\1")], "an image of EnCase (E01)", True),
        ([(0, b"MSWIM\0\0\0")], "a WIM archive", False),
    ],
)
def test_a_kind_is_known_by_its_signature(
    pieces: list[tuple[int, bytes]],
    name: str,
    hides: bool,  # noqa: FBT001 - a parameter of the test
    offset: int,
) -> None:
    found = kind_of(*pieces, offset=offset)
    assert found is not None
    assert (found.name, found.hides, found.sentence) == (name, hides, f"this is {name}, not NTFS")
    # What may hide a volume always says how to get at it.
    assert found.hint or not found.hides


@pytest.mark.parametrize(
    "pieces",
    [
        [],
        [(0x438, b"\x53\xef"), (0x418, b"\x07")],  # the mark of ext alone, with blocks of 128 KiB
        [(0x52, b"FAT32   ")],
        [(512, b"LABELONE")],
        [(MIB - 10, b"SWAPSPACE2")],
    ],
)
def test_half_a_signature_is_none(pieces: list[tuple[int, bytes]]) -> None:
    assert kind_of(*pieces) is None


def test_nothing_is_read_beyond_the_room() -> None:
    assert recognise(BytesIO(bytes(3) + b"EXFAT   "), 0, 10) is None


@given(st.binary(max_size=2048), st.integers(0, 100))
@settings(deadline=None)
def test_any_bytes_are_of_a_kind_or_of_none(raw: bytes, offset: int) -> None:
    assert recognise(BytesIO(raw), offset, max(0, len(raw) - offset)) is None or raw


def made(path: Path, *words: str) -> Kind | None:
    if not shutil.which(words[0]):
        pytest.skip(f"{words[0]} is not installed")
    laid(path, 64 * MIB, {})
    subprocess.run((*words, path), check=True, capture_output=True)
    with path.open("rb") as file:
        return recognise(file, 0, 64 * MIB)


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (("mkfs.ext2", "-qF"), "ext2"),
        (("mkfs.ext3", "-qF"), "ext3"),
        (("mkfs.ext4", "-qF"), "ext4"),
        (("mkswap", "-q"), "swap"),
        (("mkfs.fat", "-F", "16"), "vfat"),
        (("mkfs.fat", "-F", "32"), "vfat"),
        (("mkfs.exfat",), "exfat"),
        (("mkfs.btrfs", "-q"), "btrfs"),
        (("mkfs.f2fs", "-q"), "f2fs"),
    ],
)
def test_blkid_calls_what_its_own_maker_made_the_same(tmp_path: Path, words: tuple[str, ...], name: str) -> None:
    found = made(tmp_path / "image", *words)
    said = subprocess.run(
        ("blkid", "-p", "-s", "TYPE", "-o", "value", tmp_path / "image"), capture_output=True, check=True
    )
    ours = {"swap space": "swap", "FAT": "vfat"}
    assert found is not None
    assert (ours.get(found.name, found.name.lower()), said.stdout.decode().strip()) == (name, name)


def test_ntfs_itself_is_none_of_them(tmp_path: Path) -> None:
    assert made(tmp_path / "image", "mkntfs", "-qQF") is None


def packed(how: str) -> bytes:
    out = io.BytesIO()
    if how == "gzip":
        return gzip.compress(bytes(100))
    if how == "zip":
        with zipfile.ZipFile(out, "w") as archive:
            archive.writestr("disk.img", bytes(100))
    else:
        with tarfile.open(fileobj=out, mode="w") as bundle:
            bundle.addfile(tarfile.TarInfo("disk.img"))
    return out.getvalue()


@pytest.mark.parametrize(
    ("how", "name"), [("gzip", "packed with gzip"), ("zip", "a ZIP archive"), ("tar", "a tar archive")]
)
def test_what_is_packed_is_to_be_unpacked(how: str, name: str) -> None:
    raw = packed(how)
    found = recognise(BytesIO(raw), 0, len(raw))
    assert found == Kind(name, "unpack it first, then name what was in it", hides=True)


def test_a_superblock_is_told_by_more_than_its_mark() -> None:
    block = bytearray(1024)
    struct.pack_into("<H", block, 0x38, 0xEF53)
    struct.pack_into("<I", block, 0x4C, 7)
    assert kind_of((1024, bytes(block))) is None
