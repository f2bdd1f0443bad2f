"""The links of the lab's volumes: both of their names as Windows stores them, and that the judge takes either."""

from __future__ import annotations

import struct

import pytest

from lab.ntfs.difference import diff
from lab.ntfs.manifest import Entry, Feature, Kind, Manifest
from lab.ntfs.ondisk.reparse import ReparsePoint, Tag
from lab.ntfs.volumes import recipes
from lab.ntfs.volumes.tree import Directory, File

VOLUME = "Volume{01234567-89ab-cdef-0123-456789abcdef}"

NAMES = {
    "symlinks-absolute": {
        "drive": ("\\??\\C:\\dir\\target.txt", "C:\\dir\\target.txt"),
        "drive-lower": ("\\??\\d:\\dir\\target.txt", "d:\\dir\\target.txt"),
        "share": ("\\??\\UNC\\server\\share\\file.txt", "\\\\server\\share\\file.txt"),
        "volume": (f"\\??\\{VOLUME}\\dir", f"\\\\?\\{VOLUME}\\dir"),
        "rooted": ("\\dir\\target.txt", "\\dir\\target.txt"),
    },
    "junctions": {
        "same-drive": ("\\??\\C:\\dir", "C:\\dir"),
        "deep": ("\\??\\C:\\dir\\sub", "C:\\dir\\sub"),
        "other-drive": ("\\??\\E:\\elsewhere", "E:\\elsewhere"),
        "missing": ("\\??\\C:\\no\\such\\folder", "C:\\no\\such\\folder"),
        "unnamed": ("\\??\\C:\\dir", ""),
        "mounted": (f"\\??\\{VOLUME}\\", ""),
        "mounted-named": (f"\\??\\{VOLUME}\\", f"\\\\?\\{VOLUME}\\"),
    },
}
"""What counts, and what is shown, as others saw Windows write it: mklink has a link show what it was told, a volume's
name too (alphaleonis/AlphaFS#516); New-Item of PowerShell leaves that name of a junction empty
(microsoft/go-winio#340), and so does Sysinternals' junction (golang/go, src/os/os_windows_test.go).
"""


def links(name: str) -> dict[str, tuple[File | Directory, ReparsePoint]]:
    nodes = [item for item in recipes[name].items if isinstance(item, File | Directory)]
    return {item.path: (item, item.extras.reparse) for item in nodes if item.extras.reparse is not None}


def names_of(point: ReparsePoint) -> tuple[str, str]:
    path = point.buffer[12 if point.tag == Tag.SYMLINK else 8 :]
    first, first_size, second, second_size = struct.unpack_from("<HHHH", point.buffer)
    places = ((first, first_size), (second, second_size))
    substitute, printed = (path[at : at + size].decode("utf-16-le") for at, size in places)
    return substitute, printed


@pytest.mark.parametrize("name", NAMES)
def test_links_have_the_names_that_windows_gives_them(name: str) -> None:
    assert {path: names_of(point) for path, (_, point) in links(name).items()} == NAMES[name]


@pytest.mark.parametrize("name", [*NAMES, "symlinks-relative"])
def test_the_truth_of_a_link_is_the_name_that_counts(name: str) -> None:
    known = recipes[name].manifest().by_path
    for path, (_, point) in links(name).items():
        assert known[path].target == names_of(point)[0]
        assert known[path].kind is (Kind.SYMLINK if point.tag == Tag.SYMLINK else Kind.JUNCTION)


@pytest.mark.parametrize("name", [*NAMES, "symlinks-relative"])
def test_a_driver_may_show_either_name_with_slashes_but_no_other(name: str) -> None:
    truth = recipes[name].manifest()
    for path, (_, point) in links(name).items():
        for shown in filter(None, names_of(point)):
            seen = shown.replace("\\", "/")
            assert targets_that_differ(truth, path, seen) == []
            assert targets_that_differ(truth, path, seen.rstrip("/") + "x") == [path]


def targets_that_differ(truth: Manifest, path: str, target: str) -> list[str]:
    observed = Manifest((Entry(path, Kind.SYMLINK, target=target),), frozenset({Feature.NAMES, Feature.LINKS}))
    return [one.path for one in diff(truth, observed) if one.what == "target"]
