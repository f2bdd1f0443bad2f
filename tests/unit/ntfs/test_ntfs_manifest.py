from __future__ import annotations

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.ntfs import probe
from lab.ntfs.manifest import (
    About,
    Attachment,
    Entry,
    Feature,
    Geometry,
    Kind,
    Manifest,
    Reparse,
    Stream,
    Times,
    block_size,
    digest,
)

ENTRY = Entry(
    "a/\ud800b",
    Kind.FILE,
    size=3,
    sha256="00",
    blocks=(1, 2),
    streams=(Stream("s", 1, None),),
    times=Times(created=1, accessed=4),
    attributes=0x20,
    holes=((0, 2),),
)


RICH = dataclasses.replace(
    ENTRY,
    path="rich",
    eas=(Attachment("NOTE", 3, "ff"),),
    reparse=Reparse(0xA000000C, None),
    security="00",
    object_id="11",
    short_name="RICH~1",
    names=2,
)
ABOUT = About("label", 1, 0x1234, Geometry(512, 4096, 1024, 4096, 1 << 20))


def test_what_is_known_besides_survives_too() -> None:
    manifest = Manifest((RICH,), about=ABOUT)
    assert Manifest.from_json(json.loads(manifest.to_text())) == manifest
    assert "about" not in Manifest((RICH,)).to_json()
    assert Manifest((), about=About("label")).to_json()["about"]["geometry"] is None
    assert Manifest.from_json(Manifest((), about=About("label")).to_json()).about == About("label")


def test_a_manifest_survives_its_json_form() -> None:
    manifest = Manifest((ENTRY, Entry("a", Kind.DIRECTORY)), frozenset({Feature.NAMES}), frozenset({"x"}))
    assert Manifest.from_json(json.loads(manifest.to_text())) == manifest


def test_entries_are_in_the_order_of_their_paths() -> None:
    manifest = Manifest((Entry("b", Kind.OTHER), Entry("a", Kind.OTHER)))
    assert [entry.path for entry in manifest.entries] == ["a", "b"]


def test_another_schema_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^schema 'x' is not 'lab.ntfs.manifest/1'$"):
        Manifest.from_json({"schema": "x"})


def test_a_broken_document_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^not a lab.ntfs.manifest/1 document: 'entries'$"):
        Manifest.from_json({"schema": "lab.ntfs.manifest/1"})


def test_what_is_used_decides_what_must_be_seen() -> None:
    plain = Manifest((Entry("a", Kind.FILE, streams=()),))
    assert plain.uses() == {Feature.NAMES, Feature.SIZES, Feature.BYTES}
    rich = Manifest((Entry("a", Kind.SYMLINK), Entry("b", Kind.FILE, streams=(Stream("s", 0, None),))))
    assert rich.uses() - plain.uses() == {Feature.LINKS, Feature.STREAMS}


@pytest.mark.parametrize(
    ("size", "block"), [(0, 4096), (1, 4096), (1 << 20, 4096), ((1 << 20) + 1, 8192), (1 << 30, 1 << 22)]
)
def test_a_file_has_at_most_256_blocks(size: int, block: int) -> None:
    assert block_size(size) == block
    assert -(-size // block) <= 256


@given(st.integers(min_value=0, max_value=1 << 42))
def test_the_probe_which_imports_nothing_has_the_same_block_size(size: int) -> None:
    assert probe.block_size(size) == block_size(size)


@given(st.lists(st.binary(max_size=9000), max_size=4))
def test_how_bytes_come_in_chunks_does_not_matter(chunks: list[bytes]) -> None:
    whole = b"".join(chunks)
    assert digest(chunks, len(whole)) == digest((whole,), len(whole))
