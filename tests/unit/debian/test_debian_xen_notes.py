"""The notes of a kernel's ELF, and the one that Xen 4.14 stumbles on."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.debian.xen_notes import Note, based_at_zero, notes
from lab.errors import ImageError

VIRT_BASE = 3
BASE = struct.pack("<I", 0xC0000000)


def _note(owner: bytes, kind: int, value: bytes) -> bytes:
    name = owner + b"\0"
    return struct.pack("<III", len(name), len(value), kind) + _pad(name) + _pad(value)


def _pad(content: bytes) -> bytes:
    return content + bytes(-len(content) % 4)


def _elf(*segments: tuple[int, bytes], bits: int = 32) -> bytes:
    """An ELF file that has nothing but these segments, each of a type."""
    header, entry = (52, 32) if bits == 32 else (64, 56)
    table, body, place = b"", b"", header + entry * len(segments)
    for kind, content in segments:
        offset = place + len(body)
        if bits == 32:
            table += struct.pack("<8I", kind, offset, 0, 0, len(content), len(content), 4, 4)
        else:
            table += struct.pack("<IIQQQQQQ", kind, 4, offset, 0, 0, len(content), len(content), 4)
        body += content
    word = "I" if bits == 32 else "Q"
    ident = b"\x7fELF" + bytes([bits // 32, 1, 1]) + bytes(9)
    rest = struct.pack(
        f"<HHI{word}{word}{word}IHHHHHH", 2, 3, 1, 0, header, 0, 0, header, entry, len(segments), 0, 0, 0
    )
    return ident + rest + table + body


@pytest.mark.parametrize("bits", [32, 64])
def test_notes_are_read_from_every_note_segment(bits: int) -> None:
    first = _note(b"Xen", 6, b"linux\0") + _note(b"GNU", 3, b"\1\2\3")
    elf = _elf((1, b"code"), (4, first), (4, _note(b"Xen", VIRT_BASE, BASE)), bits=bits)

    found = list(notes(elf))

    assert [(note.owner, note.type, note.value) for note in found] == [
        (b"Xen", 6, b"linux\0"),
        (b"GNU", 3, b"\1\2\3"),
        (b"Xen", VIRT_BASE, BASE),
    ]
    assert all(elf[note.offset : note.offset + len(note.value)] == note.value for note in found)


def test_only_the_base_of_xens_own_note_becomes_zero() -> None:
    elf = _elf((4, _note(b"GNU", VIRT_BASE, BASE) + _note(b"Xen", VIRT_BASE, BASE) + _note(b"Xen", 12, BASE)))

    changed = based_at_zero(elf)

    assert [note.value for note in notes(changed)] == [BASE, bytes(4), BASE]
    assert sum(old != new for old, new in zip(elf, changed, strict=True)) == 1


def test_an_elf_without_notes_stays_as_it_is() -> None:
    elf = _elf((1, b"code"))
    assert based_at_zero(elf) == elf


@pytest.mark.parametrize(
    ("elf", "why"),
    [
        (b"MZ" + bytes(60), "no ELF file"),
        (b"\x7fELF", "no ELF file"),
        (_elf((4, _note(b"Xen", VIRT_BASE, BASE)))[:60], "ends early"),
        (_elf((4, struct.pack("<III", 4, 1 << 20, 3) + b"Xen\0")), "longer than what holds it"),
    ],
)
def test_what_is_no_whole_elf_is_refused(elf: bytes, why: str) -> None:
    with pytest.raises(ImageError, match=why):
        based_at_zero(elf)


@given(
    st.lists(
        st.tuples(st.sampled_from([b"Xen", b"GNU", b"Linux"]), st.integers(0, 300), st.binary(max_size=20)), max_size=8
    )
)
def test_what_is_written_is_read(wanted: list[tuple[bytes, int, bytes]]) -> None:
    elf = _elf((4, b"".join(_note(*each) for each in wanted)))
    assert [tuple(note[:3]) for note in notes(elf)] == wanted
    assert all(isinstance(note, Note) for note in notes(elf))
