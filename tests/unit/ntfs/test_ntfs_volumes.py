from __future__ import annotations

import hashlib
import shutil
import stat
import zlib
from collections.abc import Mapping
from pathlib import Path

import pytest

from lab.deadline import Deadline
from lab.errors import DeadlineError, LabError, UnknownNameError, UnsupportedError
from lab.ntfs.condition import state_of
from lab.ntfs.difference import diff
from lab.ntfs.fuse import can_mount
from lab.ntfs.manifest import Kind
from lab.ntfs.ondisk import DIRTY, read_flags
from lab.ntfs.readers import readers
from lab.ntfs.volumes import Recipe, State, Volume, build, mounted, recipe_key, recipes
from lab.ntfs.volumes.content import EMPTY, Extent, random, sparse, text
from lab.ntfs.volumes.tree import usual_times

FIRST = ("clean", "compressed", "dirty", "sparse", "unicode-names")
ALL = (*FIRST, "streams")


def test_the_first_five_are_registered() -> None:
    assert set(FIRST) < set(recipes)


def test_a_recipe_that_is_not_there_is_named_with_its_neighbour() -> None:
    with pytest.raises(UnknownNameError) as refused:
        recipes["cleen"]
    known = ", ".join(recipes)
    assert str(refused.value) == f"no recipe 'cleen'; known: {known}\n  hint: did you mean 'clean'?"


def test_a_recipe_cannot_be_registered_twice() -> None:
    with pytest.raises(ValueError, match=r"^recipe 'clean' is registered twice; held by Recipe\(name='clean', "):
        recipes.add(recipes["clean"])


def test_content_is_the_same_for_ever() -> None:
    assert Extent(0, 8, "").bytes().hex() == "46b9dd2b0ba88d13"  # SHAKE-256 of nothing, by FIPS 202
    assert random("x", 5).digest() != random("y", 5).digest()


def test_text_compresses_and_noise_does_not() -> None:
    packed, noise = (zlib.compress(b"".join(content("a", 5000).chunks())) for content in (text, random))
    assert len(packed) < 2500
    assert len(noise) >= 5000
    assert EMPTY.digest() == (hashlib.sha256().hexdigest(), ())


def test_holes_are_what_no_piece_covers() -> None:
    assert sparse("s", 100, (10, 20), (50, 10)).holes == ((0, 10), (30, 20), (60, 40))
    assert len(b"".join(sparse("s", 3 << 20, (10, 20)).chunks())) == 3 << 20


def test_times_follow_from_the_path_and_fill_all_seven_digits() -> None:
    assert usual_times("a") == usual_times("a") != usual_times("b")
    assert any((usual_times(f"{number}").created or 0) % 10 for number in range(9))


def test_manifests_are_the_same_each_time() -> None:
    assert recipes["unicode-names"].manifest().to_text() == recipes["unicode-names"].manifest().to_text()


def test_the_recipes_hold_what_they_promise() -> None:
    clean = recipes["clean"].manifest()
    sizes = {entry.size for entry in clean.entries}
    assert {0, 1, 4095, 4096, 4097, 65535, 65536, 65537} <= sizes
    assert max(entry.path.count("/") for entry in clean.entries) >= 8
    assert sum(entry.path.startswith("many/") for entry in clean.entries) == 300
    holes = [hole for entry in recipes["sparse"].manifest().entries for hole in entry.holes or ()]
    assert all(offset % 65536 == 0 and length % 65536 == 0 for offset, length in holes)
    assert max(length for _, length in holes) > recipes["sparse"].size
    names = {entry.path.rpartition("/")[2] for entry in recipes["unicode-names"].manifest().entries}
    assert max(len(name.encode("utf-16-le")) // 2 for name in names) == 255
    assert {"caf\u00e9", "cafe\u0301", "readme.txt", "README.TXT", "dot.", "CON"} <= names


@pytest.mark.parametrize("name", ALL)
def test_an_independent_reader_finds_what_the_recipe_says(built: Mapping[str, Volume], name: str) -> None:
    reader = readers["libfsntfs"]
    if why := reader.missing():
        pytest.skip(why)
    volume = built[name]
    assert diff(volume.manifest, reader.read(volume.path, Deadline(60))) == ()


def test_a_built_volume_is_a_sparse_file_of_the_right_size(built: Mapping[str, Volume]) -> None:
    for volume in built.values():
        state = volume.path.stat()
        assert state.st_size == volume.recipe.size
        assert state.st_blocks * 512 < volume.recipe.size // 2


def test_the_dirty_volume_is_dirty_and_no_other(built: Mapping[str, Volume]) -> None:
    assert {name for name, volume in built.items() if read_flags(volume.path) & DIRTY} == {"dirty"}
    assert {name: state_of(volume.path) for name, volume in built.items()} == {
        name: volume.recipe.state for name, volume in built.items()
    }


def test_the_compressed_volume_is_compressed_and_the_sparse_one_sparse(built: Mapping[str, Volume]) -> None:
    reader = readers["libfsntfs"]
    if why := reader.missing():
        pytest.skip(why)
    packed = reader.read(built["compressed"].path, Deadline(60)).by_path
    assert (packed["packed/text-1048577.txt"].attributes or 0) & 0x800
    assert not (packed["plain/text.txt"].attributes or 0) & 0x800
    holes = reader.read(built["sparse"].path, Deadline(60)).by_path
    for entry in built["sparse"].manifest.entries:
        assert holes[entry.path].holes == (entry.holes or None)


def test_the_key_changes_with_the_name_and_stays_otherwise() -> None:
    if not shutil.which("mkntfs"):
        pytest.skip("mkntfs is not installed")
    first = recipe_key(recipes["clean"], Deadline(10))
    assert first == recipe_key(recipes["clean"], Deadline(10))
    assert first != recipe_key(recipes["dirty"], Deadline(10))


def test_a_build_that_is_late_leaves_nothing(tmp_path: Path) -> None:
    if why := can_mount():
        pytest.skip(why)
    with pytest.raises(DeadlineError):
        build(recipes["clean"], tmp_path, Deadline(0.06))
    assert list(tmp_path.iterdir()) == []


def test_a_build_that_fails_leaves_nothing(tmp_path: Path) -> None:
    if why := can_mount():
        pytest.skip(why)

    def fail(_: Path) -> None:
        raise LabError("planted")

    with pytest.raises(LabError, match=r"^planted$"):
        build(Recipe("broken", "", (), size=8 << 20, edits=(fail,)), tmp_path, Deadline(20))
    assert list(tmp_path.iterdir()) == []


def test_no_fuse_is_unsupported_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lab.ntfs.fuse._DEVICE", tmp_path / "none")
    with pytest.raises(UnsupportedError) as refused, mounted(tmp_path, tmp_path, options=(), deadline=Deadline(1)):
        pass
    assert refused.value.reason == "no-fuse"
    assert refused.value.message == f"{tmp_path}: cannot be mounted: /dev/fuse is missing"


def test_a_file_that_is_no_volume_is_refused_by_the_mount(tmp_path: Path) -> None:
    if why := can_mount():
        pytest.skip(why)
    image, at = tmp_path / "x", tmp_path / "at"
    image.write_bytes(bytes(1 << 20))
    at.mkdir()
    refusal = pytest.raises(LabError, match=rf"^{image}: ntfs-3g refused it: ")
    with refusal, mounted(image, at, options=("ro",), deadline=Deadline(10)):
        pass


def test_a_late_user_gets_a_deadline_error_and_the_mount_is_gone(built: Mapping[str, Volume], tmp_path: Path) -> None:
    at = tmp_path / "at"
    at.mkdir()
    path = built["clean"].path

    def read_for_ever() -> None:
        while True:
            (at / "hello.txt").read_bytes()

    late = pytest.raises(DeadlineError, match=rf"^{path}: not done within 0.5 s$")
    with late, mounted(path, at, options=("ro",), deadline=Deadline(0.5)):
        read_for_ever()
    assert list(at.iterdir()) == []
    assert stat.S_ISDIR(at.stat().st_mode)


def test_what_is_mounted_already_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if why := can_mount():
        pytest.skip(why)
    monkeypatch.setattr("lab.ntfs.fuse._is_mounted", lambda _: True)
    with pytest.raises(LabError) as refused, mounted(tmp_path, tmp_path, options=(), deadline=Deadline(1)):
        pass
    assert refused.value.message == f"{tmp_path}: something is mounted there already"


def test_states_have_stable_names() -> None:
    assert State("unclean-log") is State.UNCLEAN_LOG
    assert Kind("junction") is Kind.JUNCTION
