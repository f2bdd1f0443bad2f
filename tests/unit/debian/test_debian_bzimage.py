"""The ELF inside a bzImage."""

from __future__ import annotations

import re
import shutil
import struct
from pathlib import Path

import pytest

from lab.deadline import Deadline
from lab.debian.bzimage import extract_vmlinux
from lab.errors import ImageError
from lab.process import CommandError
from tests.unit.debian.bzimages import ELF, bzimage, payload

FORMS = ("gzip", "xz", "zstd", "lz4")


def extract(image: bytes, folder: Path) -> bytes:
    (folder / "vmlinuz").write_bytes(image)
    extract_vmlinux(folder / "vmlinuz", folder / "vmlinux", deadline=Deadline(20))
    return (folder / "vmlinux").read_bytes()


def skip_without(form: str) -> None:
    if form in {"zstd", "lz4"} and not shutil.which(form):
        pytest.skip(f"{form} is not installed")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("setup_sectors", "offset"), [(27, 0x2CD), (4, 0), (255, 77777)])
def test_every_format_of_the_kernels_build_is_unpacked(
    form: str, setup_sectors: int, offset: int, tmp_path: Path
) -> None:
    skip_without(form)
    assert extract(bzimage(payload(form), setup_sectors=setup_sectors, offset=offset), tmp_path) == ELF


@pytest.mark.parametrize("image", [b"", b"\0" * 4096, b"\0" * 0x202 + b"HdrS" + b"\0" * 20])
def test_what_has_no_boot_header_is_no_bzimage(image: bytes, tmp_path: Path) -> None:
    message = f"{tmp_path}/vmlinuz: no Linux boot header at 0x202: not a bzImage"
    with pytest.raises(ImageError, match=f"^{re.escape(message)}$"):
        extract(image, tmp_path)
    assert not (tmp_path / "vmlinux").exists()


def test_an_unknown_format_is_named_by_its_first_bytes(tmp_path: Path) -> None:
    message = f"{tmp_path}/vmlinuz: payload begins with 425a68393141: not gzip, XZ, LZ4 or Zstandard"
    with pytest.raises(ImageError, match=f"^{re.escape(message)}$"):
        extract(bzimage(b"BZh91AY&SY"), tmp_path)


@pytest.mark.parametrize("form", ["gzip", "xz"])
def test_a_truncated_payload_is_not_taken_for_a_kernel(form: str, tmp_path: Path) -> None:
    packed = payload(form)
    message = f"{tmp_path}/vmlinuz: its payload ends in the middle of the compressed stream"
    with pytest.raises(ImageError, match=f"^{re.escape(message)}$"):
        extract(bzimage(packed[: len(packed) // 2], tail=b""), tmp_path)
    assert not (tmp_path / "vmlinux").exists()


@pytest.mark.parametrize("form", FORMS)
def test_a_damaged_payload_is_an_error_and_leaves_no_kernel(form: str, tmp_path: Path) -> None:
    skip_without(form)
    packed = bytearray(payload(form))
    for place in range(12, len(packed) - 12):
        packed[place] ^= 0x5A
    with pytest.raises((ImageError, CommandError)):
        extract(bzimage(bytes(packed)), tmp_path)
    assert not (tmp_path / "vmlinux").exists()


def test_damage_is_told_in_the_words_of_the_library(tmp_path: Path) -> None:
    message = f"{tmp_path}/vmlinuz: its payload cannot be unpacked: "
    with pytest.raises(ImageError, match=f"^{re.escape(message)}."):
        extract(bzimage(b"\xfd7zXZ\0" + b"\xff" * 60), tmp_path)


def test_a_file_that_ends_early_is_an_error(tmp_path: Path) -> None:
    whole = bzimage(payload("xz"), tail=b"")
    with pytest.raises(ImageError):
        extract(whole[: len(whole) - 200], tmp_path)


def test_a_payload_that_is_no_elf_is_refused(tmp_path: Path) -> None:
    message = f"{tmp_path}/vmlinuz: its payload unpacks to something that is no ELF"
    with pytest.raises(ImageError, match=f"^{re.escape(message)}$"):
        extract(bzimage(payload("xz", b"MZ not a kernel")), tmp_path)


def test_a_length_beyond_the_file_is_no_trap(tmp_path: Path) -> None:
    image = bytearray(bzimage(payload("xz"), tail=b""))
    struct.pack_into("<I", image, 0x24C, 0xFFFFFFFF)
    assert extract(bytes(image), tmp_path) == ELF
