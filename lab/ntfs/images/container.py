"""The formats that disk images come in: which one a file is, and a raw copy of what is in it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from lab.deadline import Deadline
from lab.errors import ImageError
from lab.ntfs.images.lineage import fixed_vhd_bytes, refuse_what_is_not_whole
from lab.ntfs.images.source import Source, reading
from lab.ntfs.naming import spelled
from lab.process import run

__all__ = ["FORMATS", "Raw", "raw_of", "sniff"]

FORMATS = "qcow2, VHD, VHDX, VMDK or VDI"
"""As messages say it; QEMU's older formats are taken, too."""

_MAGIC = (
    (0, b"QFI\xfb", "qcow2"),
    (0, b"conectix", "vpc"),
    (0, b"vhdxfile", "vhdx"),
    (0, b"KDMV", "vmdk"),
    (0, b"COWD", "vmdk"),
    (0, b"# Disk DescriptorFile", "vmdk"),
    (0x40, b"\x7f\x10\xda\xbe", "vdi"),
    (0, b"QED\0", "qed"),
    (0, b"WithoutFreeSpace", "parallels"),
    (0, b"WithouFreSpacExt", "parallels"),
)
"""Offset, bytes, and what qemu-img calls the format (docs/interop and block/ in QEMU's sources)."""


@dataclass(frozen=True, slots=True)
class Raw:
    """The disk itself: the first ``size`` bytes of ``path``, whose image has the format ``form``."""

    path: Path
    size: int
    form: str


def sniff(file: BinaryIO) -> str:
    """What qemu-img calls the format: qcow2, vpc, vhdx, vmdk, vdi ..., or raw for anything else."""
    for offset, magic, name in _MAGIC:
        file.seek(offset)
        if file.read(len(magic)) == magic:
            return _older(file) if name == "qcow2" else name
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - 512))  # a VHD of fixed size has nothing but a footer
    return "vpc" if size >= 512 and file.read(8) == b"conectix" else "raw"


def raw_of(source: Source, work: Path, deadline: Deadline) -> Raw:
    """The disk in an image. What is not there byte for byte is converted to a file in the folder ``work``.

    Raises:
        ImageError: a part of it is in another file that is not there, or it cannot be converted.
        MissingToolError: qemu-img is needed and not installed.
        DeadlineError: the conversion was not done in time.
    """
    with reading(source.path) as file:
        form = sniff(file)
        if form == "raw":
            return Raw(source.path, source.size, form)
        refuse_what_is_not_whole(source.path, form, file)
        if form == "vpc" and (size := fixed_vhd_bytes(file)):
            return Raw(source.path, size, form)
    raw = _convert(source.path, form, work, deadline)
    return Raw(raw, raw.stat().st_size, form)


def _older(file: BinaryIO) -> str:
    file.seek(4)
    return "qcow" if file.read(4) == b"\0\0\0\1" else "qcow2"


def _convert(path: Path, form: str, work: Path, deadline: Deadline) -> Path:
    target = work / "whole.raw"  # not what a copy of its volume in the same folder is called
    # An absolute path: qemu-img takes what stands before a colon in any other for a protocol.
    said = run("qemu-img", "convert", "-f", form, "-O", "raw", path.absolute(), target.absolute(), deadline=deadline)
    if not said:
        place, words = spelled(str(path)), _said(said.stderr, path)
        raise ImageError(f"{place}: qemu-img cannot convert it from {form}: {words}", hint=_hint(words))
    return target


def _said(stderr: bytes, path: Path) -> str:
    """Its first line, without what the message says already."""
    line = stderr.decode("utf-8", "surrogateescape").strip().partition("\n")[0]
    return spelled(line.removeprefix("qemu-img: ").removeprefix(f"Could not open '{path.absolute()}': "))


_HINTS = (
    ("lock", "another program has it open: shut that down, or name a copy"),
    ("log that needs to be replayed", "it was not closed: copy it, and `qemu-img check -r all` the copy"),
    ("No space left", "free some space in the cache folder, or name another one with LAB_CACHE"),
    ("cipher", "it is encrypted: decrypt it first"),
)


def _hint(words: str) -> str:
    return next((hint for word, hint in _HINTS if word in words), "is it whole?")
