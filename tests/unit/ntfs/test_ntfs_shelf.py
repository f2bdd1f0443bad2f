"""A shelf that is in use takes more volumes, and none of them where another one is or was."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.deadline import Deadline
from lab.errors import DeadlineError, ImageError
from lab.ntfs.manifest import Manifest
from lab.ntfs.shelf import SHELF_BYTES, Shelf
from lab.ntfs.specimen import Specimen
from lab.ntfs.volumes import State

MIB = 1 << 20
GAP = 16 * MIB
"""More than a kernel reads ahead (a disk's read_ahead_kb is 128 KiB unless somebody sets it)."""


def specimen(folder: Path, name: str, *pieces: bytes) -> Specimen:
    path = folder / name
    path.write_bytes(b"".join(pieces))
    return Specimen(name, path, 512, State.CLEAN, Manifest(()))


def read(shelf: Shelf, name: str) -> bytes:
    place = shelf.places[name]
    with shelf.disk.open("rb") as disk:
        disk.seek(place.offset)
        return disk.read(place.size)


@pytest.mark.parametrize("size", [512, GAP - 512, GAP, GAP + 512], ids=["small", "under", "even", "over"])
def test_between_two_volumes_there_is_always_a_gap(tmp_path: Path, size: int) -> None:
    shelf = Shelf.empty(tmp_path / "shelf.raw")
    first = specimen(tmp_path, "a.img", b"a" * 512)
    with first.path.open("r+b") as file:
        file.truncate(size)
    one = shelf.put(first, Deadline(10))
    other = shelf.put(specimen(tmp_path, "b.img", b"b" * 512), Deadline(10))
    assert one.offset == GAP
    assert other.offset >= one.offset + size + GAP
    assert other.offset % GAP == 0


def test_what_is_put_on_it_while_it_is_in_use_is_seen_by_who_has_it_open(tmp_path: Path) -> None:
    shelf = Shelf.empty(tmp_path / "shelf.raw")
    first = shelf.put(specimen(tmp_path, "a.img", b"a" * 1000), Deadline(10))
    size, inode = shelf.disk.stat().st_size, shelf.disk.stat().st_ino
    with shelf.disk.open("rb") as guest:  # as QEMU has it
        guest.seek(first.offset)
        assert guest.read(1000) == b"a" * 1000
        second = shelf.put(specimen(tmp_path, "b.img", b"b" * 1000), Deadline(10))
        guest.seek(second.offset)
        assert guest.read(1000) == b"b" * 1000
    # The guest was told its size when it got it.
    assert (shelf.disk.stat().st_size, shelf.disk.stat().st_ino) == (size, inode) == (SHELF_BYTES, inode)
    assert read(shelf, "a.img") == b"a" * 1000


def test_a_volume_that_is_there_is_not_put_again(tmp_path: Path) -> None:
    shelf = Shelf.empty(tmp_path / "shelf.raw")
    one = specimen(tmp_path, "a.img", b"a" * 1000)
    place = shelf.put(one, Deadline(10))
    one.path.write_bytes(b"c" * 1000)
    assert shelf.put(one, Deadline(10)) is place
    assert read(shelf, "a.img") == b"a" * 1000


def test_where_a_copy_was_broken_off_nothing_else_is_put(tmp_path: Path) -> None:
    shelf = Shelf.empty(tmp_path / "shelf.raw")
    late = Deadline(3, clock=iter(range(100)).__next__)  # each look at the clock takes a second of it
    with pytest.raises(DeadlineError):
        shelf.put(specimen(tmp_path, "a.img", *[b"a" * MIB] * 4), late)
    assert shelf.places == {}
    zeros = specimen(tmp_path, "b.img", bytes(4 * MIB - 1), b"b")
    shelf.put(zeros, Deadline(10))
    assert read(shelf, "b.img") == bytes(4 * MIB - 1) + b"b"


def test_what_is_to_be_written_to_is_fresh_each_time_and_never_where_another_was(tmp_path: Path) -> None:
    shelf = Shelf.empty(tmp_path / "shelf.raw")
    one = specimen(tmp_path, "a.img", b"a" * 1000)
    place = shelf.put(one, Deadline(10))
    names = [shelf.put_fresh(one, Deadline(10)) for _ in range(2)]
    assert names == ["a.img#1", "a.img#2"]
    offsets = [place.offset, *(shelf.places[name].offset for name in names)]
    assert sorted(set(offsets)) == offsets
    with shelf.disk.open("r+b") as guest:
        guest.seek(shelf.places["a.img#1"].offset + 10)
        guest.write(b"written")
    taken = shelf.take("a.img#1", tmp_path, Deadline(10))
    assert taken.read_bytes() == b"a" * 10 + b"written" + b"a" * 983
    assert read(shelf, "a.img") == read(shelf, "a.img#2") == b"a" * 1000
    at = shelf.places["a.img#1"].offset
    shelf.discard("a.img#1", Deadline(10))
    assert list(shelf.places) == ["a.img", "a.img#2"]
    with shelf.disk.open("rb") as disk:
        disk.seek(at)
        assert disk.read(1000) == bytes(1000)
    assert shelf.places[shelf.put_fresh(one, Deadline(10))].offset > max(offsets)


def test_a_shelf_knows_when_it_is_full(tmp_path: Path) -> None:
    """A guest sees so many bytes and no more; of what stands behind them it would say that the volume is broken."""
    shelf = Shelf.empty(tmp_path / "shelf.raw")
    large = [specimen(tmp_path, name, b"x") for name in ("a.img", "b.img", "c.img")]
    for one in large:
        with one.path.open("r+b") as file:
            file.truncate(SHELF_BYTES // 2 - 3 * GAP)
    first, second, third = large
    assert shelf.has_room(first)
    shelf.put(first, Deadline(10))
    assert shelf.has_room(first)  # to be written to
    assert not shelf.has_room(second)  # there would be no room for what is written
    shelf.put(second, Deadline(10))
    assert not shelf.has_room(first)
    with pytest.raises(ImageError) as caught:
        shelf.put(third, Deadline(10))
    left = SHELF_BYTES - GAP - 2 * (SHELF_BYTES // 2 - 2 * GAP)
    assert str(caught.value) == (
        f"{shelf.disk}: no place for c.img: it has {SHELF_BYTES // 2 - 3 * GAP} bytes, and {left} are left\n"
        f"  hint: a shelf has {SHELF_BYTES} bytes in all"
    )
    assert list(shelf.places) == ["a.img", "b.img"]
    assert shelf.disk.stat().st_size == SHELF_BYTES


def test_a_volume_that_cannot_be_taken_off_says_why(tmp_path: Path) -> None:
    shelf = Shelf.empty(tmp_path / "shelf.raw")
    name = shelf.put_fresh(specimen(tmp_path, "a.img", b"a"), Deadline(10))
    shelf.disk.unlink()
    with pytest.raises(ImageError) as caught:
        shelf.discard(name, Deadline(10))
    assert str(caught.value).startswith(f"{shelf.disk}: a.img#1 cannot be taken off: ")
