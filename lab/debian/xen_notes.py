"""The notes in a kernel's ELF that tell Xen's domain builder how to load it."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from lab.errors import ImageError

__all__ = ["Note", "based_at_zero", "notes"]

_VIRT_BASE = 3
"""XEN_ELFNOTE_VIRT_BASE (Xen's public/elfnote.h): where the kernel's memory begins in its virtual addresses."""

_PT_NOTE = 4

# ELF-32 and ELF-64 (gABI, chapters 4 and 5): where e_phoff, e_phentsize and e_phnum lie, and p_offset and p_filesz.
_LAYOUTS = {1: ("<I", 28, 42, "<I", 4, 16), 2: ("<Q", 32, 54, "<Q", 8, 32)}


class Note(NamedTuple):
    """One note: ``value`` is its descriptor, and ``offset`` where that begins in the file."""

    owner: bytes
    type: int
    value: bytes
    offset: int


def notes(elf: bytes) -> Iterator[Note]:
    """Every note of an ELF file, in its order.

    ::

        namesz(4) descsz(4) type(4) | name, padded to 4 | descriptor, padded to 4 | next note

    Raises:
        ImageError: it is no ELF file, or one of its parts lies outside of it.
    """
    if elf[:4] != b"\x7fELF" or len(elf) < 5 or elf[4] not in _LAYOUTS:
        raise ImageError("no ELF file")
    word, table, sizes, field, at_offset, at_size = _LAYOUTS[elf[4]]
    try:
        (first,) = struct.unpack_from(word, elf, table)
        width, count = struct.unpack_from("<HH", elf, sizes)
        for header in range(first, first + width * count, width):
            if struct.unpack_from("<I", elf, header)[0] == _PT_NOTE:
                (begin,) = struct.unpack_from(field, elf, header + at_offset)
                (size,) = struct.unpack_from(field, elf, header + at_size)
                yield from _of_segment(elf, begin, begin + size)
    except struct.error as outside:
        raise ImageError(f"an ELF file that ends early: {outside}") from outside


def _of_segment(elf: bytes, place: int, end: int) -> Iterator[Note]:
    while place < end:
        name_size, size, kind = struct.unpack_from("<III", elf, place)
        name = place + 12
        value = name + _padded(name_size)
        if value + size > min(end, len(elf)):
            raise ImageError(f"a note at {place:#x} that is longer than what holds it")
        yield Note(elf[name : name + name_size].rstrip(b"\0"), kind, elf[value : value + size], value)
        place = value + _padded(size)


def _padded(size: int) -> int:
    return (size + 3) & ~3


def based_at_zero(elf: bytes) -> bytes:
    """``elf`` with a virtual base of 0 in its notes; every other byte is as it was.

    A PVH guest begins without paging, at a physical address, and later Xens (seen with 4.17) take no notice of the
    base then. The domain builder of 4.14 does: a 686-pae kernel says 0xc0000000, is loaded at 0x1000000, and refused:
    "xc_dom_alloc_pad: segment boundary too low (0x1000000 < 0xc0000000)".

    Raises:
        ImageError: see :func:`notes`.
    """
    changed = bytearray(elf)
    for note in notes(elf):
        if note.owner == b"Xen" and note.type == _VIRT_BASE:
            changed[note.offset : note.offset + len(note.value)] = bytes(len(note.value))
    return bytes(changed)
