from __future__ import annotations

import os
import struct
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lab.deadline import Deadline
from lab.errors import ImageError, UsageError
from lab.ntfs.condition import state_of
from lab.ntfs.images.busy import Machine
from lab.ntfs.images.image import Disk, open_image
from lab.ntfs.volumes import State, Volume
from tests.unit.ntfs.disks import edited, gpt, laid, mbr

MIB = 1 << 20


def refused(path: Path, work: Path) -> ImageError:
    with pytest.raises(ImageError) as caught:
        open_image(path, work, Deadline(30))
    return caught.value


def test_a_raw_volume_is_found_at_its_start_and_copied_whole(built: Mapping[str, Volume], tmp_path: Path) -> None:
    path = built["clean"].path
    (found,) = open_image(path, tmp_path, Deadline(30)).volumes
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
    (found,) = open_image(disk, tmp_path, Deadline(30)).volumes
    assert (found.name, found.offset, found.partition) == ("disk.img:p2", 4096 * 512, 2)
    assert found.copy(tmp_path, Deadline(30)).name == "volume-p2.raw"
    assert state_of(found.copy(tmp_path, Deadline(30))) is State.CLEAN


def test_a_volume_that_is_cut_off_is_told_and_takes_no_other_with_it(
    built: Mapping[str, Volume], tmp_path: Path
) -> None:
    volume = built["streams"].path.read_bytes()
    start, room = 64 + len(volume) // 512, 4 * MIB
    table = mbr((0x07, 64, len(volume) // 512), (0x07, start, 16 * MIB // 512))
    disk = laid(tmp_path / "disk.img", 0, {0: table, 64 * 512: volume, start * 512: volume[:room]})
    found = open_image(disk, tmp_path, Deadline(30))
    assert [(one.name, one.is_cut, one.size) for one in found.volumes] == [
        ("disk.img:p1", False, len(volume)),
        ("disk.img:p2", True, room),
    ]
    said = f"{disk}:p2: truncated: the volume has {16 * MIB - 512} bytes by its boot sector, {room} are there"
    assert found.notes == (f"{said}; copy it again, whole, if you can",)
    assert (found.volumes[1].fault, found.troubles) == (found.notes[0], ())


def test_several_volumes_of_one_disk_and_what_is_left_out(built: Mapping[str, Volume], tmp_path: Path) -> None:
    volume = built["streams"].path.read_bytes()
    count = len(volume) // 512
    spans = [(2048, 2047 + count), (40000, 40099), (50000, 50099), (100000, 99999 + count)]
    pieces = {**gpt(200_000, spans), 2048 * 512: volume, 40000 * 512 + 3: b"EXFAT   ", 100000 * 512: volume}
    found = open_image(laid(tmp_path / "gpt.img", 200_000 * 512, pieces), tmp_path, Deadline(30))
    assert [(one.name, one.offset) for one in found.volumes] == [
        ("gpt.img:p1", 2048 * 512),
        ("gpt.img:p4", 100000 * 512),
    ]
    assert found.troubles == ()
    assert found.notes == (f"{tmp_path}/gpt.img: no NTFS: p2 is exFAT, p3 is nothing known",)


def test_what_may_hide_a_volume_is_a_trouble_beside_those_that_do_not(
    built: Mapping[str, Volume], tmp_path: Path
) -> None:
    volume = built["streams"].path.read_bytes()
    table = mbr((7, 64, 100), (7, 2048, len(volume) // 512))
    disk = laid(tmp_path / "disk.img", 0, {0: table, 64 * 512 + 3: b"-FVE-FS-", 2048 * 512: volume})
    found = open_image(disk, tmp_path, Deadline(30))
    assert [one.partition for one in found.volumes] == [2]
    (trouble,) = found.troubles
    assert trouble.partition == 1
    assert str(trouble.error) == (
        f"{disk}:p1: this is BitLocker, not NTFS\n"
        "  hint: unlock it first (`cryptsetup open --type bitlk DEVICE NAME`), then name /dev/mapper/NAME"
    )


def test_a_table_that_lies_is_told_and_its_volumes_are_found(built: Mapping[str, Volume], tmp_path: Path) -> None:
    volume = built["streams"].path.read_bytes()
    count = len(volume) // 512
    table = mbr((7, 64, count), (7, 100, 10), (7, 1 << 30, 9), (7, 64 + count, 9999))
    disk = laid(tmp_path / "disk.img", (64 + count + 50) * 512, {0: table, 64 * 512: volume})
    found = open_image(disk, tmp_path, Deadline(30))
    size, end = disk.stat().st_size, (64 + count) * 512
    assert [one.partition for one in found.volumes] == [1]
    assert [one.error.args[0] for one in found.troubles] == [
        f"{disk}+0x1de: partition 3 begins at byte {512 << 30}, and the disk has {size}",
        f"{disk}+0x1ce: partition 2 (bytes 51200 to 56319) overlaps partition 1 (bytes 32768 to {end - 1})",
        f"{disk}:p4: truncated: it ends at byte {end + 9999 * 512}, and the disk has {size}",
    ]
    assert {one.error.hint for one in found.troubles} == {
        "the other partitions are tried; `sfdisk --verify` on a copy says more",
        "copy it again, whole",
    }


def test_a_disk_with_other_things_alone_is_refused_with_what_they_are(tmp_path: Path) -> None:
    disk = laid(tmp_path / "disk.img", 9 * MIB, {0: mbr((7, 64, 100), (0x82, 2048, 99)), 64 * 512: b"XFSB"})
    error = refused(disk, tmp_path)
    assert error.message == f"{disk}: no NTFS volume in its partitions (MBR): p1 is XFS, p2 is nothing known"
    assert error.hint == "name a raw volume, a whole disk, or either as qcow2, VHD, VHDX, VMDK or VDI"


def test_what_is_no_ntfs_as_a_whole_is_named(tmp_path: Path) -> None:
    disk = laid(tmp_path / "disk.img", MIB, {0: b"\x1f\x8b\x08"})
    assert str(refused(disk, tmp_path)) == (
        f"{disk}: this is packed with gzip, not NTFS\n  hint: unpack it first, then name what was in it"
    )


def test_a_volume_that_was_formatted_anew_as_something_else_is_that(
    built: Mapping[str, Volume], tmp_path: Path
) -> None:
    """The old spare boot sector is still there, and so is most of the old $MFT."""
    image = tmp_path / "anew.img"
    image.write_bytes(streams_with(built, (3, b"EXFAT   ")))
    assert refused(image, tmp_path).message == f"{image}: this is exFAT, not NTFS"


def mounts(tmp_path: Path, *lines: str) -> Machine:
    (tmp_path / "mountinfo").write_text("".join(f"{line}\n" for line in lines))
    return Machine(tmp_path / "mountinfo", tmp_path / "sys")


def test_a_volume_that_is_mounted_for_writing_is_not_taken_unless_that_is_meant(
    built: Mapping[str, Volume], tmp_path: Path
) -> None:
    path = built["streams"].path
    line = f"42 27 0:39 / /mnt/a\\040b {{}},relatime - fuse {path} {{}},user_id=0"
    writable, readable = mounts(tmp_path, "torn", line.format("rw", "rw")), mounts(tmp_path, line.format("ro", "ro"))
    (tmp_path / "mountinfo").write_text(line.format("ro", "ro"))
    assert [one.mounted for one in open_image(path, tmp_path, Deadline(30), machine=readable).volumes] == [""]
    # A read-only bind of what is mounted for writing elsewhere: the file system counts.
    (tmp_path / "mountinfo").write_text(line.format("ro", "rw"))
    found = open_image(path, tmp_path, Deadline(30), machine=writable)
    assert found.volumes == ()
    (trouble,) = found.troubles
    assert isinstance(trouble.error, UsageError)
    assert str(trouble.error) == (
        f"{path}: mounted for writing at /mnt/a b: what is in it changes while it is copied\n"
        "  hint: unmount it, or mount it read-only; --allow-mounted takes it as it is, half-written or not"
    )
    (taken,) = open_image(path, tmp_path, Deadline(30), allow_mounted=True, machine=writable).volumes
    assert taken.mounted == "/mnt/a b"


def test_a_copy_that_does_not_fit_says_so(built: Mapping[str, Volume], tmp_path: Path) -> None:
    (found,) = open_image(built["streams"].path, tmp_path, Deadline(30)).volumes
    with pytest.raises(ImageError) as caught:
        found.copy(tmp_path / "nowhere", Deadline(30))
    assert str(caught.value) == (
        f"{built['streams'].path}: cannot be copied: No such file or directory\n"
        "  hint: free some space in the cache folder, or name another one with LAB_CACHE"
    )


def test_a_sparse_terabyte_is_copied_as_what_is_stored(built: Mapping[str, Volume], tmp_path: Path) -> None:
    volume = built["streams"].path.read_bytes()
    disk = laid(tmp_path / "big.img", 1 << 40, {0: mbr((7, 1 << 30, len(volume) // 512)), 1 << 39: volume})
    (found,) = open_image(disk, tmp_path, Deadline(60)).volumes
    copy = found.copy(tmp_path, Deadline(60))
    assert copy.read_bytes() == volume
    alone = laid(tmp_path / "alone.img", 1 << 40, {0: volume[:512], 0x28: struct.pack("<Q", (1 << 31) - 8)})
    (found,) = open_image(alone, tmp_path, Deadline(60)).volumes
    copy = found.copy(tmp_path, Deadline(60))
    assert (copy.stat().st_size, copy.stat().st_blocks * 512 < MIB * 2) == ((1 << 40) - 7 * 512, True)


def test_a_truncated_volume_is_told_with_both_sizes(built: Mapping[str, Volume], tmp_path: Path) -> None:
    image = tmp_path / "cut.img"
    image.write_bytes(built["clean"].path.read_bytes()[: 10 * MIB])
    disk = open_image(image, tmp_path, Deadline(30))
    (found,) = disk.volumes
    said = f"{image}: truncated: the volume has {48 * MIB - 512} bytes by its boot sector, {10 * MIB} are there"
    assert (found.fault, found.size, found.is_cut) == (f"{said}; copy it again, whole, if you can", 10 * MIB, True)
    assert disk.notes == (found.fault,)
    assert found.copy(tmp_path, Deadline(30)).read_bytes() == image.read_bytes()


def test_what_the_lab_has_unpacked_is_called_as_the_user_knows_it(built: Mapping[str, Volume], tmp_path: Path) -> None:
    image = tmp_path / "unpacked.img"
    image.write_bytes(streams_with(built, BAD_SECTOR))
    known = Path("/home/me/disks.tar/disk.img")
    (found,) = open_image(image, tmp_path, Deadline(30), origin=known).volumes
    assert (found.name, found.raw, found.fault.partition("+")[0]) == ("disk.img", image, str(known))


def test_a_file_without_ntfs_is_told_what_would_do(tmp_path: Path) -> None:
    noise = tmp_path / "noise.img"
    noise.write_bytes(b"not a disk " * 1000)
    error = refused(noise, tmp_path)
    assert error.message == f"{noise}: no NTFS volume in 11000 bytes (raw), neither at its start nor in a partition"
    assert error.hint == "name a raw volume, a whole disk, or either as qcow2, VHD, VHDX, VMDK or VDI"


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
    (whole,) = open_image(built["streams"].path, tmp_path, Deadline(30)).volumes
    (found,) = open_image(image, tmp_path, Deadline(30)).volumes
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
    (found,) = open_image(disk, tmp_path, Deadline(30)).volumes
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


def boot_sector(sectors: int, mft: int = 4) -> bytes:
    """As much of a volume as it takes to be taken for one."""
    boot = bytearray(512)
    boot[3:11] = b"NTFS    "
    struct.pack_into("<HB", boot, 0x0B, 512, 1)
    struct.pack_into("<QQQ", boot, 0x28, sectors, mft, mft + 2)
    boot[0x40], boot[0x44] = 0xF6, 0xF6
    return bytes(boot)


@given(st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_is_wrong_with_a_disk_it_is_an_error_of_the_family_or_none(
    tmp_path: Path, data: st.DataObject
) -> None:
    kind = data.draw(st.sampled_from(["mbr", "gpt", "alone"]))
    pieces = {
        "mbr": {0: mbr((7, 64, 200), (5, 300, 300)), 300 * 512: mbr((7, 10, 100))},
        "gpt": gpt(2000, [(64, 263), (310, 409)]),
        "alone": {0: boot_sector(1990), 1999 * 512: boot_sector(1999)},
    }[kind]
    if kind != "alone":
        pieces = {**pieces, 64 * 512: boot_sector(190), 310 * 512: boot_sector(90)}
    disk = laid(tmp_path / "disk.img", 2000 * 512, pieces)
    places = sorted({at + offset for at in pieces for offset in range(600)})
    for at, byte in data.draw(st.lists(st.tuples(st.sampled_from(places), st.integers(0, 255)), max_size=8)):
        edited(disk, {at: bytes([byte])})
    if data.draw(st.booleans()):
        os.truncate(disk, data.draw(st.integers(1, 2000 * 512)))
    found, told = Disk(()), list[str]()
    try:
        found = open_image(disk, tmp_path, Deadline(30))
    except (ImageError, UsageError) as refusal:
        told.append(refusal.message)
    told += (trouble.error.message for trouble in found.troubles)
    assert [message for message in told if not message.startswith(str(disk))] == []
    for volume in found.volumes:
        assert volume.offset + volume.size <= disk.stat().st_size
        assert state_of(volume.copy(tmp_path, Deadline(30))) is State.DAMAGED
