"""What the on-disk library packs comes out again, and what no one would write is refused."""

from __future__ import annotations

import hashlib
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.errors import ImageError
from lab.ntfs.ondisk import Run, attributes, extended_attribute, lzx, protect, reparse, runs, unprotect, wof, xpress
from lab.ntfs.ondisk.attribute import (
    ATTRIBUTE_LIST,
    DATA,
    FILE_NAME,
    STANDARD_INFORMATION,
    find,
    in_order,
    insert,
    replace,
    resident,
)
from lab.ntfs.ondisk.data_stream import with_flags, with_valid_size
from lab.ntfs.ondisk.extended_attribute import ExtendedAttribute
from lab.ntfs.ondisk.huffman import code_lengths, codes
from lab.ntfs.ondisk.index import slots
from lab.ntfs.ondisk.logfile import PAGE, Log, pages
from lab.ntfs.ondisk.reparse import ReparsePoint, Tag
from lab.ntfs.ondisk.runlist import pack
from lab.ntfs.ondisk.security import EVERYONE, FULL, Ace, descriptor, sid
from tests.unit.ntfs import unpacking

CHUNKS = st.one_of(
    st.binary(max_size=300),
    st.lists(st.sampled_from([b"abc", b"\xe8", b"\0" * 20, b"the same words ", b"\xff"]), max_size=400).map(b"".join),
)


@given(st.lists(st.tuples(st.none() | st.integers(0, 1 << 44), st.integers(1, 1 << 40)), max_size=12))
def test_runs_are_packed_and_unpacked(listed: list[tuple[int | None, int]]) -> None:
    meant = [Run(start, length) for start, length in listed]
    assert list(runs(pack(meant), place="r")) == meant


def test_a_run_without_length_cannot_be_packed() -> None:
    with pytest.raises(ValueError, match=r"^a run of 0 clusters$"):
        pack([Run(5, 0)])


@given(st.binary(min_size=2048, max_size=2048), st.integers(0, 0xFFFF))
def test_protection_keeps_every_byte_whatever_the_number(body: bytes, number: int) -> None:
    meant = bytearray(b"FILE" + struct.pack("<HHH", 0x30, 5, number) + body)[:2048]
    struct.pack_into("<HHH", meant, 4, 0x30, 5, number)
    got = unprotect(protect(bytes(meant), place="r"), place="r")
    assert got[:0x30] + got[0x3A:] == bytes(meant[:0x30] + meant[0x3A:])


@given(
    st.lists(
        st.builds(
            ExtendedAttribute,
            st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=60),
            st.binary(max_size=300),
            st.sampled_from([0, 0x80]),
        ),
        max_size=6,
    )
)
def test_extended_attributes_are_encoded_and_decoded(meant: list[ExtendedAttribute]) -> None:
    assert list(extended_attribute.decode(extended_attribute.encode(meant), place="ea")) == meant


@given(st.binary(max_size=60))
def test_any_bytes_give_extended_attributes_or_an_image_error(raw: bytes) -> None:
    try:
        found = list(extended_attribute.decode(raw, place="ea"))
    except ImageError:
        return
    assert len(found) <= len(raw)


@given(st.integers(0, 0xFFFFFFFF), st.binary(max_size=200))
def test_reparse_points_are_encoded_and_decoded(tag: int, buffer: bytes) -> None:
    point = ReparsePoint(tag, buffer)
    assert reparse.decode(reparse.encode(point), place="r") == point


def test_a_cut_reparse_point_is_refused() -> None:
    with pytest.raises(ImageError, match=r"^r: 3 bytes are too few for a reparse point$"):
        reparse.decode(b"abc", place="r")
    with pytest.raises(ImageError, match=r"^r: reparse point of 4 bytes in 3$"):
        reparse.decode(reparse.encode(ReparsePoint(1, b"abcd"))[:-1], place="r")


def test_links_have_both_names_where_they_say() -> None:
    buffer = reparse.symlink("\\??\\C:\\a", "C:\\a", relative=False).buffer
    first, first_size, second, second_size, flags = struct.unpack_from("<HHHHI", buffer)
    names = buffer[12:]
    assert names[first : first + first_size].decode("utf-16-le") == "\\??\\C:\\a"
    assert names[second : second + second_size].decode("utf-16-le") == "C:\\a"
    assert flags == 0
    assert reparse.junction("x", "y").buffer == struct.pack("<HHHH", 0, 2, 4, 2) + b"x\0\0\0y\0\0\0"
    assert reparse.lx_symlink("a/b") == ReparsePoint(Tag.LX_SYMLINK, b"\2\0\0\0a/b")


def test_a_link_without_a_name_to_show_is_not_one_whose_name_was_left_open() -> None:
    substitute = "x".encode("utf-16-le")
    assert reparse.junction("x", "").buffer == struct.pack("<HHHH", 0, 2, 4, 0) + substitute + bytes(4)
    assert reparse.junction("x") == reparse.junction("x", "x")
    assert reparse.symlink("x", "", relative=True).buffer == struct.pack("<HHHHI", 0, 2, 2, 0, 1) + substitute
    assert reparse.symlink("x", relative=True) == reparse.symlink("x", "x", relative=True)


@settings(max_examples=60, deadline=None)
@given(CHUNKS.filter(bool))
def test_xpress_is_unpacked_by_who_reads_the_specification(raw: bytes) -> None:
    assert unpacking.xpress(xpress.compress(raw), len(raw)) == raw


@settings(max_examples=60, deadline=None)
@given(CHUNKS.filter(bool))
def test_lzx_is_unpacked_by_who_reads_the_specification(raw: bytes) -> None:
    assert unpacking.lzx(lzx.compress(raw), len(raw)) == raw


@pytest.mark.parametrize("size", [16384, 32768])
def test_whole_chunks_with_long_repetitions(size: int) -> None:
    dice = hashlib.shake_256(b"dice").digest(400)
    lengths = (1, 2, 300, 5000)
    raw = b"".join(dice[at : at + 1] * lengths[dice[at + 1] % 4] for at in range(0, 400, 2))[:size]
    assert unpacking.xpress(xpress.compress(raw), len(raw)) == raw
    assert unpacking.lzx(lzx.compress(raw), len(raw)) == raw


@given(st.dictionaries(st.integers(0, 99), st.integers(1, 1 << 30), max_size=100), st.integers(7, 16))
def test_codes_are_complete_and_never_too_long(counts: dict[int, int], longest: int) -> None:
    lengths = code_lengths(counts, 100, longest)
    assert max(lengths) <= longest
    assert sum(2.0**-length for length in lengths if length) == 1
    assert {symbol for symbol, length in enumerate(lengths) if length} >= set(counts)
    assert len({(code, length) for code, length in codes(lengths).values()}) == sum(map(bool, lengths))


def test_a_chunk_that_does_not_shrink_is_stored_as_it_is() -> None:
    form = wof.FORMATS["xpress4k"]
    noise = hashlib.shake_256(b"noise").digest(5000)
    packed = wof.pack(noise, form)
    assert packed == struct.pack("<I", 4096) + noise


def record(*attributes_: bytes) -> bytes:
    raw = bytearray(1024)
    raw[:4] = b"FILE"
    struct.pack_into("<HH", raw, 4, 0x30, 3)
    struct.pack_into("<H", raw, 0x14, 0x38)
    struct.pack_into("<I", raw, 0x18, 0x38 + 8)
    struct.pack_into("<I", raw, 0x38, 0xFFFFFFFF)
    whole = bytes(raw)
    for one in attributes_:
        whole = insert(whole, one, place="r")
    return whole


def test_attributes_are_inserted_by_type_and_numbered() -> None:
    whole = record(resident(DATA, b"abc"), resident(STANDARD_INFORMATION, bytes(48)), resident(DATA, b"", name="s"))
    found = list(attributes(whole, place="r"))
    assert [(one.type, one.name, one.value[:3]) for one in found] == [
        (STANDARD_INFORMATION, "", b"\0\0\0"),
        (DATA, "", b"abc"),
        (DATA, "s", b""),
    ]
    assert [struct.unpack_from("<H", one.raw, 0x0E)[0] for one in found] == [1, 0, 2]


def test_an_attribute_is_replaced_and_the_rest_moves() -> None:
    whole = record(resident(FILE_NAME, b"name"), resident(DATA, b"abc"))
    longer = replace(whole, find(whole, FILE_NAME, place="r"), resident(FILE_NAME, b"a much longer name"), place="r")
    assert find(longer, DATA, place="r").value == b"abc"
    assert find(longer, FILE_NAME, place="r").value == b"a much longer name"
    gone = replace(longer, find(longer, FILE_NAME, place="r"), b"", place="r")
    assert [one.type for one in attributes(gone, place="r")] == [DATA]


def test_names_come_in_the_order_of_their_values_and_numbers_in_that_of_the_record() -> None:
    whole = record(resident(DATA, b"d"), resident(FILE_NAME, b"b"), resident(FILE_NAME, b"a"))
    found = list(attributes(in_order(whole, place="r"), place="r"))
    assert [(one.type, one.value) for one in found] == [(FILE_NAME, b"a"), (FILE_NAME, b"b"), (DATA, b"d")]
    assert [struct.unpack_from("<H", one.raw, 0x0E)[0] for one in found] == [0, 1, 2]
    listed = insert(whole, resident(ATTRIBUTE_LIST, bytes(32)), place="r")
    assert in_order(listed, place="r") == listed


def test_a_record_takes_no_more_than_it_holds() -> None:
    with pytest.raises(ImageError, match=r"^r: 1088 bytes of attributes do not fit a record of 1024$"):
        record(resident(DATA, bytes(1000)))


def test_a_valid_length_needs_a_stream_that_is_as_long() -> None:
    with pytest.raises(ImageError, match=r"^r: \$DATA of 3 bytes cannot have a valid length of 2$"):
        with_valid_size(record(resident(DATA, b"abc")), 2, place="r")
    flagged = with_flags(record(resident(DATA, b"abc")), 0x4000, place="r")
    assert find(flagged, DATA, place="r").flags == 0x4000


def test_an_index_entry_that_does_not_fit_is_refused() -> None:
    node = struct.pack("<II", 16, 64) + bytes(8) + struct.pack("<QHHH", 5, 500, 80, 0) + bytes(40)
    with pytest.raises(ImageError, match=r"^i\+0x10: index entry of 500 bytes does not fit its node$"):
        list(slots(node, 0, place="i"))
    with pytest.raises(ImageError, match=r"^i: the index node has no last entry$"):
        list(slots(struct.pack("<II", 16, 16) + bytes(8), 0, place="i"))


@pytest.mark.parametrize(("major", "first"), [(1, 4), (2, 34)])
@pytest.mark.parametrize("clean", [True, False])
def test_a_log_says_how_it_was_left(major: int, first: int, *, clean: bool) -> None:
    log = Log(2 << 20, clean, major)
    found = dict(pages(log))
    assert set(found) == {0, PAGE, first * PAGE}
    restart = unprotect(found[0], place="l", magic=b"RSTR")
    in_use, flags = struct.unpack_from("<HH", restart, 0x30 + 0x0C)
    assert (in_use, flags) == ((0xFFFF, 2) if clean else (0, 0))
    lsn, bits = struct.unpack_from("<Q8xI", restart, 0x30)
    assert (lsn & (1 << (64 - bits)) - 1) << 3 == first * PAGE + 0x40
    page = unprotect(found[first * PAGE], place="l", magic=b"RCRD")
    assert struct.unpack_from("<Q", page, 0x40) == (lsn,)


def test_a_descriptor_says_where_its_parts_are() -> None:
    owner, group = sid(5, 18), sid(5, 32, 545)
    raw = descriptor(owner, group, (Ace(EVERYONE, FULL),), (Ace(EVERYONE, FULL, kind=2, flags=0x40),))
    control, owner_at, group_at, system, access = struct.unpack_from("<HIIII", raw, 2)
    assert control == 0x8014
    assert raw[owner_at : owner_at + len(owner)] == owner
    assert raw[group_at:] == group
    assert raw[access:owner_at] == struct.pack("<BBHHHBBHI", 2, 0, 28, 1, 0, 0, 0, 20, FULL) + EVERYONE
    assert system == 0x14
