"""Partition tables: sound ones are read as sfdisk reads them, those that lie are told of with their place."""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
from binascii import crc32
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lab.ntfs.images.partitions import partition_table
from lab.ntfs.images.table import Fault, Partition, Table
from tests.unit.ntfs.disks import edited, gpt, laid, mbr

SECTORS = 4096
MIB = 1 << 20


def table(disk: bytes, sector: int = 0) -> Table:
    found = partition_table(BytesIO(disk), len(disk), sector)
    assert found is not None
    return found


def disk_of(pieces: Mapping[int, bytes], size: int = SECTORS * 512) -> bytes:
    disk = bytearray(size)
    for at, piece in pieces.items():
        disk[at : at + len(piece)] = piece
    return bytes(disk)


def spans(found: Table, sector: int = 512) -> list[tuple[int, int, int]]:
    return [(one.number, one.offset // sector, one.size // sector) for one in found.partitions]


def test_logical_partitions_are_counted_from_five() -> None:
    found = table(
        disk_of(
            {
                0: mbr((0x07, 1, 5), (0x05, 10, 150)),
                10 * 512: mbr((0x07, 1, 3), (0x05, 20, 50)),
                30 * 512: mbr((0x07, 1, 4)),
            }
        )
    )
    assert found == Table(
        "MBR",
        (
            Partition(1, 512, 5 * 512, 0x1BE),
            Partition(5, 11 * 512, 3 * 512, 10 * 512 + 0x1BE),
            Partition(6, 31 * 512, 4 * 512, 30 * 512 + 0x1BE),
        ),
    )


def test_an_empty_link_is_not_counted() -> None:
    found = table(
        disk_of({0: mbr((0x0F, 10, 150)), 10 * 512: mbr((0, 0, 0), (0x05, 20, 50)), 30 * 512: mbr((7, 1, 4))})
    )
    assert (spans(found), found.faults) == ([(5, 31, 4)], ())


CHAIN = "the chain of logical partitions"


@pytest.mark.parametrize(
    ("pieces", "fault"),
    [
        ({30 * 512: mbr((7, 1, 4), (5, 20, 50))}, Fault(30 * 512 + 0x1CE, f"{CHAIN} comes back to sector 30")),
        ({30 * 512: mbr((7, 1, 4), (5, 0, 50))}, Fault(30 * 512 + 0x1CE, f"{CHAIN} comes back to sector 10")),
        ({}, Fault(10 * 512 + 0x1CE, f"{CHAIN} leads to sector 30, which is no link of it")),
        (
            {30 * 512: mbr((7, 1, 4), (5, 9000, 50))},
            Fault(30 * 512 + 0x1CE, f"{CHAIN} leads to sector 9010, and the disk has 4096"),
        ),
        (
            {30 * 512: mbr((7, 1, 4), (5, 600, 50))},
            Fault(30 * 512 + 0x1CE, f"{CHAIN} leads to sector 610, out of the extended partition"),
        ),
    ],
)
def test_a_chain_that_leads_astray_ends_there(pieces: Mapping[int, bytes], fault: Fault) -> None:
    start = {0: mbr((0x07, 1, 5), (0x05, 10, 150)), 10 * 512: mbr((0x07, 1, 3), (0x05, 20, 50))}
    found = table(disk_of({**start, **pieces}))
    assert spans(found)[:2] == [(1, 1, 5), (5, 11, 3)]
    assert found.faults == (fault,)


def test_a_chain_without_an_end_is_broken_off() -> None:
    links = {(10 + 2 * n) * 512: mbr((7, 1, 1), (5, 2 * n + 2, 2)) for n in range(300)}
    found = table(disk_of({0: mbr((0x05, 10, 4000)), **links}))
    assert len(found.partitions) == 256
    assert [fault.what for fault in found.faults] == [f"{CHAIN} has more than 256 links"]


def test_partitions_that_share_bytes_or_begin_behind_the_end_are_told_of() -> None:
    found = table(disk_of({0: mbr((7, 10, 1000), (7, 20, 10), (7, 1009, 5), (7, 5000, 9))}))
    assert [one.number for one in found.partitions] == [1, 2, 3, 4]
    assert found.faults == (
        Fault(0x1EE, "partition 4 begins at byte 2560000, and the disk has 2097152"),
        Fault(0x1CE, "partition 2 (bytes 10240 to 15359) overlaps partition 1 (bytes 5120 to 517119)"),
        Fault(0x1DE, "partition 3 (bytes 516608 to 519167) overlaps partition 1 (bytes 5120 to 517119)"),
    )


def test_a_partition_that_holds_its_own_table_is_none() -> None:
    found = table(disk_of({0: mbr((7, 0, 100), (7, 100, 5))}))
    assert spans(found) == [(2, 100, 5)]
    assert found.faults == (Fault(0x1BE, "partition 1 begins at sector 0, where the table itself is"),)


def test_the_boot_sector_of_a_volume_is_no_table() -> None:
    sector = bytearray(mbr((7, 10, 100)))
    sector[0x1BE + 32] = 0x6F
    assert partition_table(BytesIO(disk_of({0: bytes(sector)})), SECTORS * 512) is None
    assert partition_table(BytesIO(bytes(5000)), 5000) is None


@pytest.mark.parametrize("sector", [512, 4096])
@pytest.mark.parametrize("told", [False, True])
def test_a_gpt_is_read_whatever_the_sectors(sector: int, told: bool) -> None:  # noqa: FBT001 - a parameter of the test
    pieces = gpt(SECTORS, [(64, 163), None, (200, 200)], sector)
    found = table(disk_of(pieces, SECTORS * sector), sector if told else 0)
    assert (found.form, found.faults, found.notes) == ("GPT", (), ())
    assert spans(found, sector) == [(1, 64, 100), (3, 200, 1)]


@pytest.mark.parametrize(
    ("harm", "note"),
    [
        ({512: bytes(512)}, "its first partition table is gone; the second one is used"),
        ({0: bytes(512), 512: bytes(512)}, "its first partition table is gone; the second one is used"),
        ({512 + 60: b"x"}, "its first partition table is broken (the checksum of its header is "),
        ({1024 + 60: b"x"}, "its first partition table is broken (the checksum of its entries is "),
        ({512 + 12: b"\0"}, "its first partition table is broken (a header of 0 bytes)"),
    ],
)
def test_where_one_copy_of_a_gpt_is_broken_the_other_is_used(harm: Mapping[int, bytes], note: str) -> None:
    found = table(disk_of({**gpt(SECTORS, [(64, 163)]), **harm}))
    assert (spans(found), found.faults) == ([(1, 64, 100)], ())
    assert found.notes[0].startswith(note)


def sealed(header: bytes, *fields: tuple[int, str, int]) -> bytes:
    """A header with these fields, and a checksum that says that they are meant."""
    raw = bytearray(header)
    for at, form, value in fields:
        struct.pack_into(form, raw, at, value)
    struct.pack_into("<I", raw, 16, 0)
    struct.pack_into("<I", raw, 16, crc32(raw))
    return bytes(raw)


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        (((72, "<Q", 1 << 60),), f"its entries begin at sector {1 << 60}, and the disk has 4096"),
        (((84, "<I", 7),), "128 entries of 7 bytes"),
        (((80, "<I", 0xFFFFFFFF),), "4294967295 entries of 128 bytes"),
        (((24, "<Q", 9),), "it says that it is in sector 9, and is in 1"),
        (((88, "<I", 0),), "the checksum of its entries is 0x00000000, their bytes have "),
    ],
)
def test_a_gpt_without_a_sound_copy_is_told_of_with_its_place(
    fields: tuple[tuple[int, str, int], ...], what: str
) -> None:
    pieces = dict(gpt(SECTORS, [(64, 163)]))
    pieces[512] = sealed(pieces[512], *fields)
    pieces[(SECTORS - 1) * 512] = bytes(512)
    found = table(disk_of(pieces))
    assert found.partitions == ()
    assert [(fault.at, fault.what[: len(what)]) for fault in found.faults] == [(512, what)]


def test_what_a_sound_gpt_says_may_be_wrong_all_the_same() -> None:
    found = table(disk_of(gpt(SECTORS, [(64, 163), (163, 170), (300, 200), (9000, 9001)])))
    assert [one.number for one in found.partitions] == [1, 2, 4]
    assert found.faults == (
        Fault(1024 + 2 * 128, "partition 3 ends at sector 200, before its first one, 300"),
        Fault(1024 + 3 * 128, "partition 4 begins at byte 4608000, and the disk has 2097152"),
        Fault(1024 + 128, "partition 2 (bytes 83456 to 87551) overlaps partition 1 (bytes 32768 to 83967)"),
    )


def test_a_gpt_that_is_promised_and_not_there_is_a_fault_and_the_rest_is_read() -> None:
    found = table(disk_of({0: mbr((7, 10, 20), (0xEE, 1, 9))}))
    assert (spans(found), found.faults) == (
        [(1, 10, 20)],
        (Fault(0x1CE, "it says that there is a GPT, and there is none"),),
    )
    assert table(disk_of({0: mbr((0xEE, 1, 9))})).partitions == ()


def test_what_an_older_gpt_left_behind_does_not_count() -> None:
    assert table(disk_of({**gpt(SECTORS, [(64, 163)]), 0: mbr((7, 10, 20))})).form == "MBR"


@pytest.mark.parametrize("told", [0, 4096])
def test_an_mbr_counts_in_the_sectors_of_its_disk(told: int) -> None:
    boot = bytes(510) + b"\x55\xaa"
    links = {0: mbr((7, 2, 10), (5, 100, 50)), 100 * 4096: mbr((7, 1, 3))}
    found = table(disk_of({**links, 2 * 4096: boot}, 200 * 4096), told)
    assert spans(found, 4096) == [(1, 2, 10), (5, 101, 3)]


@given(st.binary(max_size=3000), st.sampled_from([0, 512, 4096]))
@settings(deadline=None)
def test_any_bytes_have_a_table_or_none(raw: bytes, sector: int) -> None:
    found = partition_table(BytesIO(raw), len(raw), sector)
    assert found is None or len(found.partitions) <= 1000


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_a_table_with_a_few_wrong_bytes_never_surprises(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(["mbr", "gpt"]))
    pieces = (
        gpt(SECTORS, [(64, 163), (200, 300)])
        if kind == "gpt"
        else {0: mbr((7, 1, 5), (5, 10, 150)), 5120: mbr((7, 1, 3), (5, 20, 50)), 15360: mbr((7, 1, 4))}
    )
    disk = bytearray(disk_of(pieces))
    places = st.sampled_from([*range(0x1BE, 0x200), *range(512, 604), *range(1024, 1300), *range(5566, 5632)])
    for at, byte in data.draw(st.lists(st.tuples(places, st.integers(0, 255)), max_size=6)):
        disk[at] = byte
    found = partition_table(BytesIO(bytes(disk)), len(disk))
    for one in found.partitions if found else ():
        assert one.offset > 0
        assert one.size > 0


@st.composite
def scripts(draw: st.DrawFn) -> tuple[str, str]:
    """The words for sfdisk: a label, and partitions one behind the other, some of them logical."""
    label = draw(st.sampled_from(["dos", "gpt"]))
    sizes = draw(st.lists(st.integers(1, 400), min_size=1, max_size=7))
    gaps = draw(st.lists(st.integers(0, 50), min_size=len(sizes), max_size=len(sizes)))
    at, lines = 2048, [f"label: {label}"]
    for number, (size, gap) in enumerate(zip(sizes, gaps, strict=True), 1):
        if label == "dos" and number == 4:
            lines.append(f"start={at + gap}, size=10000, type=5")
        at += gap + (64 if label == "dos" and number >= 4 else 0)
        lines.append(f"start={at}, size={size}" + ("" if label == "gpt" else ", type=7"))
        at += size
    return label, "\n".join(lines) + "\n"


@given(scripts())
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_sfdisk_and_the_lab_see_the_same(tmp_path: Path, script: tuple[str, str]) -> None:
    if not shutil.which("sfdisk"):
        pytest.skip("sfdisk (package fdisk) is not installed")
    disk = laid(tmp_path / "disk.img", 8 * MIB, {})
    subprocess.run(("sfdisk", "-q", "--no-reread", disk), input=script[1].encode(), check=True, capture_output=True)
    said = json.loads(subprocess.run(("sfdisk", "--json", disk), check=True, capture_output=True).stdout)
    theirs = [
        (int(one["node"].removeprefix(str(disk))), one["start"], one["size"])
        for one in said["partitiontable"]["partitions"]
        if one["type"] not in {"5", "f"}
    ]
    with disk.open("rb") as file:
        found = partition_table(file, 8 * MIB)
    assert found is not None
    assert (found.form, sorted(spans(found)), found.faults) == (
        {"dos": "MBR", "gpt": "GPT"}[script[0]],
        sorted(theirs),
        (),
    )


def test_sfdisk_agrees_that_the_tables_of_these_tests_are_what_they_say(tmp_path: Path) -> None:
    """The maker of the other tests' tables is an oracle only if it is right itself."""
    if not shutil.which("sfdisk"):
        pytest.skip("sfdisk (package fdisk) is not installed")
    disk = laid(tmp_path / "disk.img", SECTORS * 512, gpt(SECTORS, [(64, 163), None, (200, 200)]))
    assert subprocess.run(("sfdisk", "-V", disk), capture_output=True, check=False).returncode == 0
    edited(disk, {512 + 60: b"x"})
    assert b"corrupt" in subprocess.run(("sfdisk", "-V", disk), capture_output=True, check=False).stderr
