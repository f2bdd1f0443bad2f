from __future__ import annotations

import shutil
import struct
import subprocess
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.deadline import Deadline
from lab.errors import ImageError
from lab.ntfs.image import open_image, sniff, state_of
from lab.ntfs.partitions import Partition, partitions
from lab.ntfs.volumes import State, Volume

MIB = 1 << 20


def refused(path: Path, work: Path) -> ImageError:
    with pytest.raises(ImageError) as caught:
        open_image(path, work, Deadline(30))
    return caught.value


def mbr(*slots: tuple[int, int, int]) -> bytearray:
    sector = bytearray(512)
    for index, (kind, first, count) in enumerate(slots):
        struct.pack_into("<BII", sector, 0x1BE + 16 * index + 4, kind, 0, 0)
        struct.pack_into("<II", sector, 0x1BE + 16 * index + 8, first, count)
    sector[510:] = b"\x55\xaa"
    return sector


def test_a_raw_volume_is_found_at_its_start_and_copied_whole(built: Mapping[str, Volume], tmp_path: Path) -> None:
    path = built["clean"].path
    (found,) = open_image(path, tmp_path, Deadline(30))
    assert (found.name, found.raw, found.offset, found.partition) == ("clean.img", path, 0, 0)
    assert found.boot is not None
    assert (found.boot.sector, found.boot.cluster, found.boot.record) == (512, 4096, 1024)
    copy = found.copy(tmp_path, Deadline(30))
    assert copy.stat().st_blocks * 512 < 16 * MIB
    assert copy.read_bytes() == path.read_bytes()[: found.boot.size + 512]


def test_a_whole_disk_gives_the_ntfs_partitions_only(built: Mapping[str, Volume], tmp_path: Path) -> None:
    disk = tmp_path / "disk.img"
    volume = built["streams"].path.read_bytes()
    table = mbr((0x83, 2048, 2048), (0x07, 4096, len(volume) // 512))
    disk.write_bytes(bytes(table).ljust(4096 * 512, b"\0") + volume)
    (found,) = open_image(disk, tmp_path, Deadline(30))
    assert (found.name, found.offset, found.partition) == ("disk.img:p2", 4096 * 512, 2)
    assert found.copy(tmp_path, Deadline(30)).name == "disk.img-p2.raw"
    assert state_of(found.copy(tmp_path, Deadline(30))) is State.CLEAN


def test_a_partition_longer_than_the_disk_is_truncated(built: Mapping[str, Volume], tmp_path: Path) -> None:
    disk = tmp_path / "disk.img"
    volume = built["streams"].path.read_bytes()[: 4 * MIB]
    disk.write_bytes(bytes(mbr((0x07, 8, 16 * MIB // 512))).ljust(8 * 512, b"\0") + volume)
    error = refused(disk, tmp_path)
    size = 16 * MIB - 512
    message = f"{disk}:p1: truncated: the volume has {size} bytes by its boot sector, {4 * MIB} are there"
    assert (error.message, error.hint) == (message, "copy it again, whole")


def test_a_gpt_disk_is_read(built: Mapping[str, Volume], tmp_path: Path) -> None:
    disk = tmp_path / "gpt.img"
    volume = built["streams"].path.read_bytes()
    header = bytearray(512)
    header[:8] = b"EFI PART"
    struct.pack_into("<QII", header, 72, 2, 4, 128)
    entries = bytearray(4 * 128)
    entries[128:144] = b"\x01" * 16
    struct.pack_into("<QQ", entries, 128 + 32, 64, 64 + len(volume) // 512 - 1)
    head = bytes(mbr((0xEE, 1, 0xFFFFFFFF))) + bytes(header) + bytes(entries)
    disk.write_bytes(head.ljust(64 * 512, b"\0") + volume)
    (found,) = open_image(disk, tmp_path, Deadline(30))
    assert (found.partition, found.offset) == (2, 64 * 512)


@pytest.mark.parametrize(
    ("form", "more"), [("qcow2", ()), ("vpc", ()), ("vpc", ("-o", "subformat=fixed")), ("vhdx", ()), ("vmdk", ())]
)
def test_other_formats_are_converted_to_a_copy(
    built: Mapping[str, Volume], tmp_path: Path, form: str, more: tuple[str, ...]
) -> None:
    if not shutil.which("qemu-img"):
        pytest.skip("qemu-img is not installed")
    image = tmp_path / f"volume.{form}"
    subprocess.run(("qemu-img", "convert", "-O", form, *more, built["streams"].path, image), check=True)
    before = image.read_bytes()
    (found,) = open_image(image, tmp_path, Deadline(60))
    assert (found.name, found.raw, found.origin) == (f"volume.{form}", tmp_path / f"volume.{form}.whole.raw", image)
    assert image.read_bytes() == before


def test_a_broken_image_of_another_format_is_refused(tmp_path: Path) -> None:
    if not shutil.which("qemu-img"):
        pytest.skip("qemu-img is not installed")
    image = tmp_path / "x.qcow2"
    image.write_bytes(b"QFI\xfb" + bytes(200))
    error = refused(image, tmp_path)
    assert error.message.startswith(f"{image}: qemu-img cannot convert it from qcow2: qemu-img: Could not open ")


def test_a_truncated_volume_is_told_with_both_sizes(built: Mapping[str, Volume], tmp_path: Path) -> None:
    image = tmp_path / "cut.img"
    image.write_bytes(built["clean"].path.read_bytes()[: 10 * MIB])
    error = refused(image, tmp_path)
    size = 48 * MIB - 512
    message = f"{image}: truncated: the volume has {size} bytes by its boot sector, {10 * MIB} are there"
    assert str(error) == f"{message}\n  hint: copy it again, whole"


def test_an_empty_file_a_missing_one_and_a_folder(tmp_path: Path) -> None:
    empty = tmp_path / "empty.img"
    empty.touch()
    assert str(refused(empty, tmp_path)) == f"{empty}: empty: 0 bytes\n  hint: was it copied whole?"
    assert refused(tmp_path / "none", tmp_path).message == f"{tmp_path}/none: No such file or directory"
    assert refused(tmp_path, tmp_path).message == f"{tmp_path}: Is a directory"


def test_a_file_without_ntfs_is_told_what_would_do(tmp_path: Path) -> None:
    noise = tmp_path / "noise.img"
    noise.write_bytes(b"not a disk " * 1000)
    error = refused(noise, tmp_path)
    assert error.message == f"{noise}: no NTFS volume in 11000 bytes (raw), neither at its start nor in a partition"
    assert error.hint == "name a raw volume, a whole disk, or a qcow2, vhd, vhdx, vmdk or vdi image"


def test_a_device_that_is_no_disk_is_refused(tmp_path: Path) -> None:
    assert refused(Path("/dev/null"), tmp_path).message == "/dev/null: neither a file nor a block device"


def streams_with(built: Mapping[str, Volume], *edits: tuple[int, bytes]) -> bytes:
    """A volume of 16 MiB with these bytes at these places; places below zero count from the end."""
    raw = bytearray(built["streams"].path.read_bytes())
    for at, content in edits:
        start = at if at >= 0 else len(raw) + at
        raw[start : start + len(content)] = content
    return bytes(raw)


BAD_SECTOR = (0x0B, struct.pack("<H", 500))
TOO_LONG = (0x28, struct.pack("<Q", 1 << 40))
WIPED = (0, bytes(512))
NO_SPARE = (-512, bytes(512))


@pytest.mark.parametrize(
    ("edit", "fault"),
    [
        (BAD_SECTOR, "+0xb: bytes per sector is 500, not a power of two from 256 to 4096"),
        (WIPED, f"+0x3: system id is {bytes(8)!r}, not b'NTFS    '"),
        (
            TOO_LONG,
            f"+0x28: the volume has {512 << 40} bytes by its boot sector, {16 * MIB - 512} by the spare one",
        ),
    ],
)
def test_a_broken_boot_sector_is_told_with_its_place_and_the_spare_one_taken(
    built: Mapping[str, Volume], tmp_path: Path, edit: tuple[int, bytes], fault: str
) -> None:
    image = tmp_path / "boot.img"
    image.write_bytes(streams_with(built, edit))
    (whole,) = open_image(built["streams"].path, tmp_path, Deadline(30))
    (found,) = open_image(image, tmp_path, Deadline(30))
    assert (found.fault, found.boot, found.sector, whole.fault) == (f"{image}{fault}", whole.boot, 512, "")
    (tmp_path / "copy").mkdir()
    # What drivers get is the broken one.
    assert found.copy(tmp_path / "copy", Deadline(30)).read_bytes() == image.read_bytes()


def test_without_a_spare_one_either_all_that_is_there_is_the_volume(
    built: Mapping[str, Volume], tmp_path: Path
) -> None:
    disk = tmp_path / "disk.img"
    volume = streams_with(built, BAD_SECTOR, NO_SPARE)
    table = bytes(mbr((0x07, 8, len(volume) // 512 + 4)))
    disk.write_bytes(table.ljust(8 * 512, b"\0") + volume + b"x" * 9000)
    (found,) = open_image(disk, tmp_path, Deadline(30))
    assert state_of(found.copy(tmp_path, Deadline(30))) is State.DAMAGED
    assert found.fault == f"{disk}:p1+0xb: bytes per sector is 500, not a power of two from 256 to 4096"
    assert (found.boot, found.sector, found.size) == (None, 512, len(volume) + 4 * 512)
    assert found.copy(tmp_path, Deadline(30)).read_bytes() == volume + b"x" * 4 * 512


@pytest.mark.parametrize("edits", [(WIPED, NO_SPARE), (WIPED, (512, bytes(12 * MIB)))], ids=["gone", "formatted anew"])
def test_what_nothing_but_a_spare_boot_sector_calls_ntfs_is_none(
    built: Mapping[str, Volume], tmp_path: Path, edits: tuple[tuple[int, bytes], ...]
) -> None:
    image = tmp_path / "boot.img"
    image.write_bytes(streams_with(built, *edits))
    assert refused(image, tmp_path).message == (
        f"{image}: no NTFS volume in {16 * MIB} bytes (raw), neither at its start nor in a partition"
    )


def test_logical_partitions_are_counted_from_five_and_a_circle_ends() -> None:
    disk = bytearray(200 * 512)
    disk[:512] = mbr((0x07, 1, 5), (0x05, 10, 150))
    disk[10 * 512 : 11 * 512] = mbr((0x07, 1, 3), (0x05, 20, 50))
    disk[30 * 512 : 31 * 512] = mbr((0x07, 1, 4), (0x05, 20, 50))
    found = partitions(BytesIO(bytes(disk)))
    assert found == (
        Partition(1, 512, 5 * 512),
        Partition(5, 11 * 512, 3 * 512),
        Partition(6, 31 * 512, 4 * 512),
    )


@given(st.binary(max_size=2048))
def test_any_bytes_have_a_format_and_partitions_or_none(raw: bytes) -> None:
    assert sniff(BytesIO(raw)) in {"raw", "qcow2", "vpc", "vhdx", "vmdk", "vdi"}
    assert len(partitions(BytesIO(raw))) <= 300
