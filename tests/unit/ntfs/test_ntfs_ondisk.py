from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.errors import ImageError
from lab.ntfs.filetime import UNIX_EPOCH
from lab.ntfs.ondisk import DIRTY, Boot, Mft, Run, protect, read_flags, runs, unprotect, write_flags
from lab.ntfs.ondisk.attribute import attributes
from lab.ntfs.ondisk.boot import rewrite
from lab.ntfs.ondisk.index import lookup
from lab.ntfs.ondisk.mft import ROOT
from lab.ntfs.ondisk.standard_information import moments
from lab.ntfs.volumes import Volume
from lab.ntfs.volumes.settle import settle


def boot_sector(  # noqa: PLR0913 - one a field of the sector
    *, sector: int = 512, per_cluster: int = 8, total: int = 2048, mft: int = 4, record: int = 0xF6, index: int = 1
) -> bytes:
    raw = bytearray(512)
    raw[3:11] = b"NTFS    "
    struct.pack_into("<HB", raw, 0x0B, sector, per_cluster)
    struct.pack_into("<QQQBxxxBxxxQ", raw, 0x28, total, mft, 2, record, index, 7)
    return bytes(raw)


def test_a_boot_sector_gives_the_geometry() -> None:
    assert Boot.parse(boot_sector(), place="v") == Boot(512, 4096, 1024, 4096, 2048, 4, 2, 7)


def test_a_cluster_of_64_kib_is_128_sectors_and_no_shift() -> None:
    assert Boot.parse(boot_sector(per_cluster=0x80, total=1 << 20, mft=1), place="v").cluster == 64 << 10


def test_clusters_over_64_kib_are_written_as_a_negative_shift() -> None:
    boot = Boot.parse(boot_sector(per_cluster=0xF4, total=1 << 20, mft=1, record=0xF6), place="v")
    assert boot.cluster == 2 << 20


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"short", "v: 5 bytes are too few for a boot sector"),
        (bytes(512), "v+0x3: system id is b'\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00', not b'NTFS    '"),
        (boot_sector(sector=500), "v+0xb: bytes per sector is 500, not a power of two from 256 to 4096"),
        (boot_sector(per_cluster=127), "v+0xd: bytes per cluster is 65024, not a power of two from 512 to 2097152"),
        (boot_sector(record=48), "v+0x40: bytes per MFT record is 196608, not a power of two from 512 to 65536"),
        (boot_sector(index=7), "v+0x44: bytes per index block is 28672, not a power of two from 512 to 2097152"),
        (boot_sector(total=0), "v+0x28: the volume has 0 sectors"),
        (boot_sector(mft=256), "v+0x30: $MFT starts at cluster 256, past the end of the volume"),
    ],
)
def test_a_field_that_cannot_be_is_named_with_its_place(raw: bytes, message: str) -> None:
    with pytest.raises(ImageError) as refused:
        Boot.parse(raw, place="v")
    assert refused.value.message == message


def record(size: int = 1024) -> bytes:
    raw = bytearray(bytes(range(256)) * (size // 256))
    raw[:4] = b"FILE"
    struct.pack_into("<HHHH", raw, 4, 0x30, size // 512 + 1, 0, 0)
    return bytes(raw)


@pytest.mark.parametrize("size", [1024, 4096])
def test_protecting_is_undone_by_unprotecting(size: int) -> None:
    meant = record(size)
    raw = protect(meant, place="r")
    assert raw[510:512] == raw[1022:1024] == raw[0x30:0x32]
    got = unprotect(raw, place="r")
    array = slice(0x30, 0x30 + 2 * (size // 512 + 1))
    assert got[: array.start] + got[array.stop :] == meant[: array.start] + meant[array.stop :]


def test_a_torn_record_is_noticed() -> None:
    raw = bytearray(protect(record(), place="r"))
    raw[1022:1024] = b"??"
    with pytest.raises(ImageError, match=r"^r\+0x3fe: torn write: 3f3f, not 3131$"):
        unprotect(bytes(raw), place="r")


def test_another_magic_and_an_impossible_array_are_refused() -> None:
    with pytest.raises(ImageError, match=r"^r: record magic is b'BAAD', not b'FILE'$"):
        unprotect(b"BAAD" + record()[4:], place="r")
    broken = bytearray(record())
    struct.pack_into("<H", broken, 6, 9)
    with pytest.raises(ImageError, match=r"^r\+0x4: update sequence array of 9 at 0x30 in 1024 bytes$"):
        unprotect(bytes(broken), place="r")


def test_an_attribute_that_does_not_fit_is_refused() -> None:
    raw = bytearray(1024)
    struct.pack_into("<H", raw, 0x14, 0x38)
    struct.pack_into("<II", raw, 0x38, 0x10, 5000)
    with pytest.raises(ImageError, match=r"^r\+0x38: attribute 0x10 of 5000 bytes does not fit its record$"):
        list(attributes(bytes(raw), place="r"))


def test_a_header_that_is_cut_short_is_refused() -> None:
    """A driver wrote such a one over the record of $MFT itself."""
    raw = bytearray(1024)
    struct.pack_into("<H", raw, 0x14, 0x38)
    struct.pack_into("<IIB", raw, 0x38, 0x80, 0x18, 1)
    with pytest.raises(ImageError, match=r"^r\+0x38: attribute 0x80 of 24 bytes does not fit its record$"):
        list(attributes(bytes(raw), place="r"))


def test_runs_are_relative_and_may_be_holes() -> None:
    packed = bytes.fromhex("21 18 34 56 01 04 11 02 fe 00".replace(" ", ""))
    assert list(runs(packed, place="r")) == [Run(0x5634, 0x18), Run(None, 4), Run(0x5632, 2)]


@pytest.mark.parametrize(
    ("packed", "message"),
    [
        ("1105", "r+0x0: broken run 1105"),
        ("110580", "r+0x0: run at cluster -128, before the volume"),
        ("110510", "r: the runlist has no end"),
    ],
)
def test_broken_runs_are_refused(packed: str, message: str) -> None:
    with pytest.raises(ImageError) as refused:
        list(runs(bytes.fromhex(packed), place="r"))
    assert refused.value.message == message


@given(st.binary(max_size=64))
def test_any_bytes_give_runs_or_an_image_error(packed: bytes) -> None:
    try:
        found = list(runs(packed, place="r"))
    except ImageError:
        return
    assert all(run.length > 0 for run in found)


def test_flags_are_written_to_the_table_and_its_mirror(built: Mapping[str, Volume], tmp_path: Path) -> None:
    copy = tmp_path / "v.img"
    copy.write_bytes(built["streams"].path.read_bytes())
    assert read_flags(copy) == 0
    write_flags(copy, DIRTY | 0x8000)
    assert read_flags(copy) == DIRTY | 0x8000
    with Mft.open(copy) as mft:
        start = mft.boot.mirror_cluster * mft.boot.cluster + 3 * mft.boot.record
        raw = copy.read_bytes()
        assert raw[start : start + 1024] == raw[mft.offset(3) : mft.offset(3) + 1024]


def test_a_mirror_of_a_large_cluster_keeps_more_than_four_records(built: Mapping[str, Volume], tmp_path: Path) -> None:
    copy = tmp_path / "v.img"
    copy.write_bytes(built["cluster-16k"].path.read_bytes())
    with Mft.open(copy, write=True) as mft:
        mft.write(ROOT, mft.read(ROOT))
        start, size = mft.boot.mirror_cluster * mft.boot.cluster, 16 * mft.boot.record
        table = mft.offset(0)
    raw = copy.read_bytes()
    assert raw[start : start + size] == raw[table : table + size]
    assert raw != built["cluster-16k"].path.read_bytes()


def test_a_value_in_several_runs_has_no_first_one(built: Mapping[str, Volume]) -> None:
    path = built["fragmented"].path
    with Mft.open(path) as mft:
        number = lookup(mft, "single-a.bin", place=str(path))
        with pytest.raises(ImageError, match=rf"^{path}: MFT record {number}: \$DATA is in \d+ runs, not in one$"):
            mft.first_run(number)


def test_a_boot_sector_is_changed_with_or_without_its_spare(built: Mapping[str, Volume], tmp_path: Path) -> None:
    copy = tmp_path / "v.img"
    copy.write_bytes(built["streams"].path.read_bytes())
    size = copy.stat().st_size

    def mark(raw: bytearray) -> None:
        raw[0x48:0x50] = b"SERIALNO"

    rewrite(copy, mark, main=False)
    assert [copy.read_bytes()[at + 0x48 : at + 0x50] == b"SERIALNO" for at in (0, size - 512)] == [False, True]
    rewrite(copy, mark, spare=False)
    assert copy.read_bytes()[0x48:0x50] == b"SERIALNO"
    assert copy.stat().st_size == size


def test_settling_makes_times_known_everywhere(built: Mapping[str, Volume], tmp_path: Path) -> None:
    copy = tmp_path / "v.img"
    copy.write_bytes(built["streams"].path.read_bytes())
    settle(copy, serial=7, changed={"folder/a.txt": 5})
    with Mft.open(copy) as mft:
        assert mft.boot.serial == 7
        created, modified, changed, accessed = moments(mft.read(lookup(mft, "folder/a.txt", place="")), place="")
        wanted = built["streams"].manifest.by_path["folder/a.txt"].times
        assert (created, modified, changed, accessed) == (wanted.created, wanted.modified, 5, wanted.accessed)
        packed = struct.pack("<4Q", created, modified, changed, accessed)
        folder = mft.read(lookup(mft, "folder", place=""))
        assert packed in folder
        assert set(moments(mft.read(ROOT), place="")) == {UNIX_EPOCH}


def test_a_record_past_the_table_is_refused(built: Mapping[str, Volume]) -> None:
    path = built["streams"].path
    with Mft.open(path) as mft, pytest.raises(ImageError) as refused:
        mft.read(1 << 30)
    assert refused.value.message == f"{path}: MFT record 1073741824 is past the end of the table"


def test_a_missing_file_is_an_image_error(tmp_path: Path) -> None:
    with pytest.raises(ImageError) as refused:
        read_flags(tmp_path / "none")
    assert refused.value.message == f"{tmp_path}/none: No such file or directory"
