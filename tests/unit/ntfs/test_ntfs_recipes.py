"""Every volume built for real, and read by those who did not make it. The slow one: about a minute."""

from __future__ import annotations

import dataclasses
import hashlib
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from lab.deadline import Deadline
from lab.errors import LabError
from lab.ntfs.manifest import Entry, Feature, Kind, Manifest
from lab.ntfs.observation import Observation
from lab.ntfs.ondisk import attribute, extended_attribute, reparse
from lab.ntfs.ondisk.boot import BOOT_BYTES, Boot
from lab.ntfs.ondisk.index import lookup
from lab.ntfs.ondisk.mft import Mft
from lab.ntfs.ondisk.standard_information import moments
from lab.ntfs.ondisk.volume_information import read_flags
from lab.ntfs.readers import Trait, readers, verify
from lab.ntfs.readers.trust import refuses, volume_traits
from lab.ntfs.volumes import Recipe, State, Volume, build, recipes
from lab.ntfs.volumes.tree import Directory, File

Observe = Callable[..., Mapping[str, Any]]

LIGHT = tuple(name for name in recipes if not recipes[name].heavy and not recipes[name].hostile)
BOOTLESS = tuple(name for name in LIGHT if name.startswith("boot-"))
READABLE = tuple(name for name in LIGHT if name not in BOOTLESS)

REFUSED = {
    "libfsntfs": {"damaged-no-first-record"},
    "ntfs-3g": {"damaged-no-first-record", "damaged-no-mirror", "damaged-no-upcase"},
}
"""Damaged volumes that a reader does not open; it would have to look at a copy, or does not trust what is left."""

SMALL_INDEX = tuple(
    name
    for name in READABLE
    if Trait.SMALL_INDEX in (found := volume_traits(recipes[name].geometry)) and not refuses("sleuthkit", found)
)
"""Where libfsntfs drops names, so that a third reader is asked."""


def libfsntfs(path: Path) -> Manifest:
    """In this process: one more of them for each volume takes longer than to read it."""
    if why := readers["libfsntfs"].missing():
        pytest.skip(why)
    from lab.ntfs.readers import libfsntfs

    return libfsntfs.read(str(path))


@pytest.mark.parametrize("name", READABLE)
def test_libfsntfs_finds_what_the_recipe_says(built: Mapping[str, Volume], name: str) -> None:
    volume = built[name]
    if name in REFUSED["libfsntfs"]:
        with pytest.raises(OSError, match="unable to"):
            libfsntfs(volume.path)
        return
    assert verify("libfsntfs", volume.manifest, libfsntfs(volume.path)).wrong == ()


@pytest.mark.parametrize("name", READABLE)
def test_ntfs_3g_finds_what_the_recipe_says(built: Mapping[str, Volume], observe: Observe, name: str) -> None:
    volume = built[name]
    seen = Observation.parse(observe(volume.path, "ntfs-3g", "--metadata"))
    assert seen.mount is not None
    assert seen.mount.ok is (name not in REFUSED["ntfs-3g"]), seen.mount.text
    if seen.mount.ok:
        observed = dataclasses.replace(seen.manifest, sees=seen.manifest.sees - {Feature.HOLES})
        assert verify("ntfs-3g", volume.manifest, observed).wrong == ()


@pytest.mark.parametrize("name", SMALL_INDEX)
def test_sleuth_kit_finds_the_names_that_libfsntfs_drops(built: Mapping[str, Volume], name: str) -> None:
    reader = readers["sleuthkit"]
    if why := reader.missing():
        pytest.skip(why)
    volume = built[name]
    assert verify("sleuthkit", volume.manifest, reader.read(volume.path, Deadline(60))).wrong == ()


@pytest.mark.parametrize("name", READABLE)
def test_the_volume_is_as_large_and_as_its_manifest_says(built: Mapping[str, Volume], name: str) -> None:
    volume = built[name]
    about = volume.manifest.about
    assert about is not None
    with volume.path.open("rb") as file:
        boot = Boot.parse(file.read(BOOT_BYTES), place=name)
    assert boot.geometry == about.geometry
    assert boot.serial == about.serial
    stored = volume.path.stat()
    assert stored.st_size == volume.recipe.size
    assert stored.st_blocks * 512 <= 64 << 20
    if name != "damaged-no-first-record":
        assert read_flags(volume.path) == about.flags


SOUND = tuple(name for name in LIGHT if recipes[name].state is not State.DAMAGED)

FIX_CANNOT = {"sector-256"}
"""ntfsfix calls the spare boot sector bad where sectors have 256 bytes, on a volume fresh from mkntfs too."""


@pytest.mark.parametrize("name", SOUND)
def test_the_volume_is_sound(built: Mapping[str, Volume], name: str) -> None:
    """Ntfsresize counts every cluster of every file and compares that with the bitmap; ntfsfix compares the mirrors."""
    path = built[name].path
    resize = said("ntfsresize", "--info", "--force", "--no-progress-bar", path)
    assert resize.returncode == 0, resize.stdout[-500:]
    if name not in FIX_CANNOT:
        fix = said("ntfsfix", "--no-action", path)
        assert fix.returncode == 0, fix.stdout[-500:]


def said(*words: str | Path) -> subprocess.CompletedProcess[str]:
    if not shutil.which(str(words[0])):
        pytest.skip(f"{words[0]} is not installed")
    return subprocess.run(
        words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", check=False, timeout=60
    )


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("damaged-bad-record", "Filesystem check failed"),
        ("damaged-cross-linked", "referenced multiple times"),
        ("damaged-endless-attribute", "Corrupt inode"),
        ("damaged-no-bitmap", "Filesystem check failed"),
        ("damaged-no-first-record", "Failed to load \\$MFT"),
        ("damaged-no-mirror", "Run chkdsk"),
        ("damaged-no-upcase", "Corrupted file \\$UpCase"),
        ("damaged-runs-outside", "Filesystem check failed"),
        ("damaged-torn-record", "Incomplete multi-sector transfer"),
    ],
)
def test_the_damage_is_seen(built: Mapping[str, Volume], name: str, complaint: str) -> None:
    found = said("ntfsresize", "--info", "--force", "--no-progress-bar", built[name].path)
    assert found.returncode != 0
    assert re.search(complaint, found.stdout)


NOT_NOTICED = {"damaged-stale-entry"}
"""Neither reader compares the sequence number of a name with that of its file."""


@pytest.mark.parametrize(
    "name", [name for name in READABLE if recipes[name].unsure - {""} and name not in REFUSED["libfsntfs"]]
)
def test_the_damage_costs_what_the_recipe_gives_up(built: Mapping[str, Volume], observe: Observe, name: str) -> None:
    """Without what is declared unsure, a reader does find a difference, or an error, and only there."""
    volume = built[name]
    whole = dataclasses.replace(volume.manifest, unsure=frozenset())
    seen = Observation.parse(observe(volume.path, "ntfs-3g"))
    paths = {one.path for one in verify("ntfs-3g", whole, seen.manifest).wrong} | {one.path for one in seen.errors}
    paths |= {one.path for one in verify("libfsntfs", whole, libfsntfs(volume.path)).wrong}
    assert paths or name in NOT_NOTICED
    assert all(volume.manifest.is_unsure(path) for path in paths)


@pytest.mark.parametrize("name", BOOTLESS)
def test_a_wrong_boot_sector_is_refused_or_makes_no_difference(built: Mapping[str, Volume], name: str) -> None:
    volume = built[name]
    try:
        found = libfsntfs(volume.path)
    except OSError:
        return
    assert verify("libfsntfs", volume.manifest, found).wrong == ()


def test_most_boot_sectors_are_wrong_enough_to_be_refused(built: Mapping[str, Volume], observe: Observe) -> None:
    mounted = {name for name in BOOTLESS if observe(built[name].path)["mount"]["ok"]}
    assert mounted == {"boot-signature", "boot-too-large"}


@pytest.mark.parametrize(
    "name",
    ["cluster-2k", "compressed", "wof-lzx", "attribute-list", "security", "record-4096", "hard-links", "names-short"],
)
def test_the_same_recipe_gives_the_same_bytes(built: Mapping[str, Volume], tmp_path: Path, name: str) -> None:
    """So do all others but attribute-list-names: which record a name goes into depends on the time of day."""
    again = build(recipes[name], tmp_path, Deadline(60))
    assert again.manifest == built[name].manifest
    digests = {hashlib.sha256(path.read_bytes()).hexdigest() for path in (again.path, built[name].path)}
    assert len(digests) == 1


def test_extended_attributes_lie_on_disk_as_declared(built: Mapping[str, Volume]) -> None:
    """Read by our own decoder; ntfs-3g, which wrote them, is no witness of its own."""
    volume = built["extended-attributes"]
    with Mft.open(volume.path) as mft:
        for item in volume.recipe.items:
            assert isinstance(item, File | Directory)
            record = mft.read(lookup(mft, item.path, place=""))
            found = attribute.find(record, attribute.EA, place=item.path)
            assert tuple(extended_attribute.decode(value_of(mft, found), place=item.path)) == item.extras.eas


def test_reparse_points_and_object_ids_lie_on_disk_as_declared(built: Mapping[str, Volume]) -> None:
    for name in ("symlinks-relative", "symlinks-absolute", "junctions", "dedup", "cloud", "object-ids"):
        volume = built[name]
        with Mft.open(volume.path) as mft:
            for item in volume.recipe.items:
                assert isinstance(item, File | Directory)
                record = mft.read(lookup(mft, item.path, place=""))
                if item.extras.reparse:
                    found = attribute.find(record, attribute.REPARSE_POINT, place=item.path)
                    assert reparse.decode(value_of(mft, found), place=item.path) == item.extras.reparse
                if item.extras.object_id:
                    value = attribute.find(record, attribute.OBJECT_ID, place=item.path).value
                    assert value.ljust(64, b"\0") == item.extras.object_id.ljust(64, b"\0")


def value_of(mft: Mft, found: attribute.Attribute) -> bytes:
    if found.resident:
        return found.value
    from lab.ntfs.ondisk import runs

    (run,) = runs(found.runlist, place="value")
    assert run.start is not None
    return mft.read_at(run.start, 0, found.size)


@pytest.mark.parametrize(
    ("name", "path", "kinds"),
    [
        ("attribute-list", "shreds-a.bin", {attribute.ATTRIBUTE_LIST}),
        ("attribute-list-streams", "many.txt", {attribute.ATTRIBUTE_LIST}),
        ("attribute-list-names", "file.txt", {attribute.ATTRIBUTE_LIST}),
        ("efs", "secret-small.bin", {attribute.LOGGED_UTILITY_STREAM}),
        ("wof-lzx", "mixed.bin", {attribute.REPARSE_POINT}),
        ("directory-1500", "many", {attribute.INDEX_ALLOCATION}),
    ],
)
def test_the_structure_is_the_one_that_was_wanted(
    built: Mapping[str, Volume], name: str, path: str, kinds: set[int]
) -> None:
    with Mft.open(built[name].path) as mft:
        record = mft.read(lookup(mft, path, place=name))
        assert {one.type for one in attribute.attributes(record, place=name)} >= kinds


def test_stale_bytes_lie_past_the_valid_length(built: Mapping[str, Volume]) -> None:
    volume = built["valid-length"]
    with Mft.open(volume.path) as mft:
        for item in volume.recipe.items:
            assert isinstance(item, File)
            record = mft.read(lookup(mft, item.path, place=""))
            found = attribute.find(record, attribute.DATA, place="")
            assert found.valid_size == (item.content.size if item.valid is None else item.valid)
            if item.valid is not None:
                assert value_of(mft, found)[item.valid :].strip(b"\0")


UNSAFE = {"hibernated", "hibernated-upper", "unclean-log", "unclean-log-2"}


@pytest.mark.parametrize("name", [*sorted(UNSAFE), "resumed", "clean-log"])
def test_a_driver_that_looks_sees_the_state(
    built: Mapping[str, Volume], observe: Observe, tmp_path: Path, name: str
) -> None:
    """ntfs-3g mounts what is not safe to write read-only, although asked otherwise."""
    copy = tmp_path / "copy.img"
    subprocess.run(("cp", "--sparse=always", built[name].path, copy), check=True)
    seen = Observation.parse(observe(copy, "ntfs-3g", "--options", "rw,norecover"))
    assert seen.mount is not None
    assert seen.mount.ok
    assert seen.mount.read_only is (name in UNSAFE)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("unclean-log", "syncing from 0x80808, dirty"),
        ("clean-log", "syncing from 0x80808, clean"),
        ("unclean-log-2", "Fast restart mode detected"),
    ],
)
def test_the_log_is_understood_by_who_replays_logs(built: Mapping[str, Volume], name: str, says: str) -> None:
    assert says in said("ntfsrecover", "-n", "-v", built[name].path).stdout


def test_all_four_times_are_kept(built: Mapping[str, Volume]) -> None:
    volume = built["times"]
    with Mft.open(volume.path) as mft:
        for item in volume.recipe.items:
            assert isinstance(item, File | Directory)
            wanted = item.extras.times
            assert wanted is not None
            found = moments(mft.read(lookup(mft, item.path, place="")), place="")
            assert found == (wanted.created, wanted.modified, wanted.changed, wanted.accessed)


def test_fragments_are_in_pieces(built: Mapping[str, Volume]) -> None:
    from lab.ntfs.ondisk import runs

    with Mft.open(built["fragmented"].path) as mft:
        for path, least in (("single-b.bin", 40), ("four-a.bin", 40)):
            record = mft.read(lookup(mft, path, place=""))
            found = attribute.find(record, attribute.DATA, place=path)
            assert len(list(runs(found.runlist, place=path))) >= least


def test_a_wrong_file_is_not_excused(built: Mapping[str, Volume]) -> None:
    """The injected fault: one byte of one manifest is changed, and one name is dropped."""
    volume = built["cluster-4k"]
    found = libfsntfs(volume.path)
    victim = next(entry for entry in volume.manifest.entries if entry.path.startswith("sizes/") and entry.size)
    changed = dataclasses.replace(victim, sha256="0" * 64, blocks=None)
    others = tuple(entry for entry in volume.manifest.entries if entry.path not in {victim.path, "streams.txt"})
    wrong = verify("libfsntfs", dataclasses.replace(volume.manifest, entries=(*others, changed)), found).wrong
    assert sorted((one.path, one.what) for one in wrong) == sorted([(victim.path, "bytes"), ("streams.txt", "extra")])


def test_an_excuse_has_its_reason() -> None:
    recipe = Recipe("x", "", (), cluster=64 << 10)
    entry = Entry("a", Kind.FILE)
    expected = Manifest((entry,), about=recipe.manifest().about)
    found = verify("libfsntfs", expected, Manifest(()))
    reason = "drops names where index blocks are smaller than clusters (16 KiB and more)"
    assert (found.wrong, [why for _, why in found.excused]) == ((), [reason])
    assert [one.what for one in verify("ntfs-3g", expected, Manifest(())).wrong] == ["missing"]


def test_an_edit_on_what_is_not_there_says_so(tmp_path: Path) -> None:
    recipe = dataclasses.replace(recipes["damaged-torn-record"], name="none", items=())
    with pytest.raises(LabError, match=r"no name 'victim.bin' on the way to 'victim.bin'$"):
        build(recipe, tmp_path, Deadline(30))
