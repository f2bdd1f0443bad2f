from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from lab.ntfs.difference import Difference, diff
from lab.ntfs.filetime import UNIX_EPOCH, from_nanoseconds, show
from lab.ntfs.manifest import FEATURES, Attachment, Entry, Feature, Kind, Manifest, Reparse, Stream, Times, digest
from lab.ntfs.naming import shown


def file(path: str, content: bytes, **more: object) -> Entry:
    sha256, blocks = digest((content,), len(content))
    return dataclasses.replace(Entry(path, Kind.FILE, len(content), sha256, blocks), **more)  # type: ignore[arg-type]  # a test's shorthand


def between(
    left: Entry, right: Entry, *, sees: frozenset[Feature] = FEATURES
) -> list[tuple[str, str, str, str, int | None]]:
    found = diff(Manifest((left,)), Manifest((right,), sees))
    return [(one.stream, one.what, one.expected, one.observed, one.first_differing_byte) for one in found]


def test_equal_manifests_have_no_difference() -> None:
    assert between(file("a", b"x"), file("a", b"x")) == []


def test_missing_and_extra_names() -> None:
    found = diff(Manifest((file("a", b"xy"),)), Manifest((Entry("b", Kind.DIRECTORY),)))
    assert found == (
        Difference("a", "", "missing", "file of 2 bytes", ""),
        Difference("b", "", "extra", "", "directory"),
    )


def test_bytes_part_at_a_block() -> None:
    left = file("a", b"x" * 10_000)
    assert [one[4] for one in between(left, file("a", b"x" * 5_000 + b"y" + b"x" * 4_999))] == [4096]


def test_a_shorter_file_parts_where_it_ends() -> None:
    assert between(file("a", b"x" * 9_000), file("a", b"x" * 8_192)) == [("", "size", "9000", "8192", 8192)]


def test_an_unknown_field_is_compared_with_nothing() -> None:
    assert between(file("a", b"x"), file("a", b"y", sha256=None, blocks=None)) == []


@pytest.mark.parametrize("which", ["created", "modified", "changed", "accessed"])
def test_a_time_off_by_100_ns_is_a_difference(which: str) -> None:
    moment = from_nanoseconds(1_600_000_000_123_456_700)
    left, right = (file("a", b"", times=Times(**{which: value})) for value in (moment, moment + 1))
    expected = ("", which, "2020-09-13T12:26:40.1234567Z", "2020-09-13T12:26:40.1234568Z", None)
    assert between(left, right) == [expected]


def test_streams_are_compared_by_name_size_and_bytes() -> None:
    left = file("a", b"", streams=(Stream("gone", 1, "h"), Stream("long", 1, "h"), Stream("other", 2, "h")))
    right = file("a", b"", streams=(Stream("long", 3, "h"), Stream("new", 4, "h"), Stream("other", 2, "i")))
    assert between(left, right) == [
        ("gone", "missing", "stream of 1 bytes", "", None),
        ("long", "size", "1", "3", None),
        ("new", "extra", "", "stream of 4 bytes", None),
        ("other", "bytes", "h", "i", None),
    ]


def test_what_an_observer_cannot_see_is_no_difference() -> None:
    left = file("a", b"", streams=(Stream("s", 1, "h"),))
    assert between(left, file("a", b"", streams=()), sees=FEATURES - {Feature.STREAMS}) == []


def test_a_junction_may_be_shown_as_a_link_by_who_cannot_tell_them_apart() -> None:
    left, right = Entry("a", Kind.JUNCTION, target="x"), Entry("a", Kind.SYMLINK, target="y")
    assert between(left, right, sees=FEATURES - {Feature.REPARSE}) == [("", "target", "'x'", "'y'", None)]
    assert between(left, right) == [("", "kind", "junction", "symlink", None)]
    assert between(left, file("a", b""), sees=FEATURES - {Feature.LINKS}) == []


def test_a_hole_where_bytes_lie_is_a_lie_and_an_untold_hole_is_not() -> None:
    left = file("a", b"x" * 100, holes=((10, 20),))
    assert between(left, dataclasses.replace(left, holes=())) == []
    assert between(left, dataclasses.replace(left, holes=((15, 10),))) == []
    assert between(left, dataclasses.replace(left, holes=((15, 20),))) == [("", "hole", "10+20", "15+20", 15)]


def test_attributes_but_not_the_directory_bit() -> None:
    left = Entry("a", Kind.DIRECTORY, attributes=0x20)
    assert between(left, dataclasses.replace(left, attributes=0x30)) == []
    assert between(left, dataclasses.replace(left, attributes=0x22)) == [("", "attributes", "0x0020", "0x0022", None)]


def test_below_an_unsure_path_nothing_counts() -> None:
    left = Manifest((file("a/b", b"x"), file("ab", b"x")), unsure=frozenset({"a"}))
    assert [one.path for one in diff(left, Manifest(()))] == ["ab"]


def test_a_difference_reads_like_a_sentence() -> None:
    found = Difference("n" * 200, "s", "bytes", "1", "", 4096)
    half = "n" * 46
    assert str(found) == f"'{half}...{'n' * 44}:s': bytes from byte 4096: expected 1, observed nothing"


def test_names_that_do_not_print_are_escaped() -> None:
    assert shown("a\nb\ud800\u6f22") == "'a\\nb\\ud800\u6f22'"


def test_times_out_of_pythons_reach_are_still_shown() -> None:
    assert show(2**63) == str(2**63)
    assert show(UNIX_EPOCH) == "1970-01-01T00:00:00.0000000Z"


@pytest.mark.parametrize(
    ("field", "left", "right", "found"),
    [
        ("security", "aa", "bb", ("security", "aa", "bb")),
        ("object_id", "aa", "bb", ("object-id", "aa", "bb")),
        ("short_name", "A~1", "A~2", ("short-name", "A~1", "A~2")),
        ("names", 2, 1, ("name-count", "2", "1")),
        ("reparse", Reparse(1, "aa"), Reparse(2, None), ("reparse-data", "0x00000001 aa", "0x00000002")),
        ("reparse", Reparse(1, "aa"), Reparse(1, "bb"), ("reparse-data", "0x00000001 aa", "0x00000001 bb")),
        ("eas", (Attachment("N", 1, "aa"),), (), ("ea", "N of 1 bytes, aa", "")),
        ("eas", (), (Attachment("N", 1, "aa"),), ("ea", "", "N of 1 bytes, aa")),
    ],
)
def test_metadata_that_parts_is_named(field: str, left: Any, right: Any, found: tuple[str, str, str]) -> None:
    one, other = (file("a", b"", **{field: value}) for value in (left, right))
    assert between(one, other) == [("", *found, None)]
    assert between(one, one) == []
    assert between(one, file("a", b"")) == []
    assert between(one, other, sees=frozenset({Feature.NAMES})) == []


def test_a_reparse_point_of_which_only_the_tag_is_known() -> None:
    left, right = (file("a", b"", reparse=Reparse(1, digest)) for digest in ("aa", None))
    assert between(left, right) == []


def test_an_alias_may_count_as_a_name() -> None:
    left, right = (file("a", b"", names=count, short_name="A~1") for count in (1, 2))
    assert between(left, right) == []


def test_a_stream_that_is_only_known_to_be_there() -> None:
    left = file("a", b"", streams=(Stream("s", 100_000, "h"),))
    assert between(left, file("a", b"", streams=(Stream("s", None, None),))) == []
    assert between(file("a", b"", streams=()), file("a", b"", streams=(Stream("s", None, None),))) == [
        ("s", "extra", "", "stream", None)
    ]


@pytest.mark.parametrize(
    ("expected", "observed", "same"),
    [
        ("dir\\file", "dir/file", True),
        ("dir\\file", "dir/other", False),
        ("..\\file", "file", False),
        ("\\??\\C:\\dir", "/mnt/dir", True),
        ("\\??\\C:\\dir", "/mnt/.NTFS-3G/C:/dir", True),
        ("\\??\\C:\\dir", "/mnt/dirt", False),
        ("\\??\\C:\\dir", "unsupported reparse tag 0xa0000003", False),
        ("\\??\\C:\\dir", "C:/dir", True),
        ("\\??\\C:\\", "./", True),
        ("\\??\\UNC\\server\\share", "//server/share", True),
        ("\\??\\UNC\\server\\share", "//other/share", False),
        ("\\??\\Volume{0}\\dir", "//?/Volume{0}/dir", True),
        ("\\??\\Volume{0}\\dir", "//?/Volume{1}/dir", False),
        ("\\??\\Volume{0}\\dir", "Volume{0}/dir", False),
        ("\\??\\Volume{0}\\", "/??/Volume{0}/", True),
        ("\\??\\Volume{0}\\", "//?/Volume{0}/", True),
        ("\\??\\Volume{0}\\", "/mnt/.NTFS-3G/Volume{0}", True),
        ("\\??\\Volume{0}\\", "//?/Volume{1}/", False),
        ("\\dir\\file", "/mnt/dir/file", True),
    ],
)
def test_a_target_may_be_shown_below_a_mount_point_but_not_lose_its_path(
    expected: str, observed: str, *, same: bool
) -> None:
    left, right = (Entry("a", Kind.SYMLINK, target=target) for target in (expected, observed))
    assert (between(left, right) == []) is same
