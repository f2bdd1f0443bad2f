"""Folders of images: what is taken for one, what is passed over and said so."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lab.errors import UsageError
from lab.ntfs.images.folder import look_below

BOOT = b"\xeb\x52\x90NTFS    " + bytes(501)
DISK = bytes(510) + b"\x55\xaa"
TAR = bytes(257).replace(b"\0", b"x", 1) + b"ustar" + bytes(250)


def test_images_are_found_by_their_names_or_by_how_they_begin(tmp_path: Path) -> None:
    images = {
        "a.img": b"",
        "b/disk.RAW": b"x",
        "b/c/d.tar.zst": b"x",
        "b/e.tgz": b"x",
        "b/f.img.gz": b"x",
        "g": BOOT,
        "h.bin": DISK,
        "i.backup": b"QFI\xfb",
        "j": TAR,
    }
    others = {"MANIFEST.tsv": b"a\tb", "b/make.sh": b"#!/bin/sh", "b/old.log.gz": b"\x1f\x8b\x08", "readme.txt": b""}
    for name, content in {**images, **others}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    os.mkfifo(tmp_path / "pipe.img")
    (tmp_path / "gone.img").symlink_to("nowhere")
    (tmp_path / "loop").symlink_to(tmp_path)
    below = look_below(tmp_path)
    assert {str(path.relative_to(tmp_path)) for path in below.images} == set(images)
    assert {str(path.relative_to(tmp_path)) for path in below.others} == {*others, "pipe.img", "gone.img"}
    assert below.note == (
        f"{tmp_path}: passed over, for they do not look like images: MANIFEST.tsv, gone.img, pipe.img and 3 more"
    )


def test_a_folder_of_images_alone_needs_no_note(tmp_path: Path) -> None:
    (tmp_path / "a.img").touch()
    assert look_below(tmp_path).note == ""


def test_a_folder_without_an_image_is_the_users_mistake(tmp_path: Path) -> None:
    (tmp_path / "a.txt").touch()
    with pytest.raises(UsageError) as caught:
        look_below(tmp_path)
    assert str(caught.value) == f"{tmp_path}: a folder without an image\n  hint: name images, or a folder of them"
