"""The independent readers: what each finds on our own volumes, and what they agree on."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import pytest

from lab.deadline import Deadline
from lab.errors import DeadlineError, ImageError
from lab.ntfs.difference import diff
from lab.ntfs.manifest import FEATURES, Attachment, Entry, Feature, Geometry, Kind, Manifest, Reparse, Times
from lab.ntfs.readers import Disagreement, Reader, Trait, agreement, distrust, readers, sleuthkit, traits, truth_of
from lab.ntfs.readers.sleuthkit import listing
from lab.ntfs.readers.trust import refuses, volume_traits
from lab.ntfs.volumes import Volume

A = Entry("a", Kind.FILE, 5, "aa", times=Times(modified=1), attributes=0x20)
WORSE = dataclasses.replace(A, sha256="zz")


def said(**entries: Entry | None) -> dict[str, Manifest]:
    names = {"lib": "libfsntfs", "fuse": "ntfs-3g", "tsk": "sleuthkit"}
    return {names[name]: Manifest((entry,) if entry else ()) for name, entry in entries.items()}


def test_a_slow_reader_reads_no_more_than_is_asked_of_it(built: Mapping[str, Volume]) -> None:
    reader, volume = readers["sleuthkit"], built["streams"]
    if why := reader.missing():
        pytest.skip(why)
    whole = reader.read(volume.path, Deadline(60)).by_path
    some = reader.read(volume.path, Deadline(60), only=frozenset({"folder/b.txt"})).by_path
    below = reader.read(volume.path, Deadline(60), only=frozenset({"folder"})).by_path
    assert below == whole
    assert some == {**whole, "folder/a.txt": Entry("folder/a.txt", Kind.FILE)}


def test_a_reader_that_writes_out_holes_does_not_fill_the_memory_with_them(
    built: Mapping[str, Volume], monkeypatch: pytest.MonkeyPatch
) -> None:
    if why := readers["sleuthkit"].missing():
        pytest.skip(why)
    monkeypatch.setattr(sleuthkit, "_MOST_BYTES", 99)
    seen = sleuthkit.read(str(built["streams"].path)).by_path
    assert (seen["folder/a.txt"].size, seen["folder/b.txt"].size) == (None, None)
    monkeypatch.setattr(sleuthkit, "_MOST_BYTES", 100)
    seen = sleuthkit.read(str(built["streams"].path)).by_path
    assert (seen["folder/a.txt"].size, seen["folder/b.txt"].size) == (100, None)


def test_two_that_agree_are_the_truth() -> None:
    assert agreement(said(lib=A, fuse=A)) == (Manifest((A,)), ())


def test_two_that_part_leave_it_open_and_say_so() -> None:
    truth, quarrels = agreement(said(lib=A, fuse=WORSE))
    assert truth.by_path["a"].sha256 is None
    assert truth.by_path["a"].size == 5
    assert quarrels == (Disagreement("a", "sha256", {"libfsntfs": "aa", "ntfs-3g": "zz"}),)
    assert str(quarrels[0]) == "'a': readers disagree on sha256: libfsntfs: aa, ntfs-3g: zz"


def test_a_third_settles_it_and_the_quarrel_is_still_told() -> None:
    truth, quarrels = agreement(said(lib=A, fuse=WORSE, tsk=A))
    assert truth.by_path["a"].sha256 == "aa"
    assert [quarrel.what for quarrel in quarrels] == ["sha256"]


def test_one_alone_proves_nothing() -> None:
    truth, _ = agreement(said(lib=A))
    assert (truth.entries, truth.unsure) == ((), frozenset({"a"}))


def test_a_name_only_one_lists_is_unsure_until_a_third_speaks() -> None:
    truth, quarrels = agreement(said(lib=A, fuse=None))
    assert (truth.entries, truth.unsure) == ((), frozenset({"a"}))
    assert quarrels == (Disagreement("a", "exists", {"libfsntfs": "yes", "ntfs-3g": "no"}),)
    assert agreement(said(lib=A, fuse=None, tsk=None))[0] == Manifest(())


def test_who_is_not_trusted_with_a_trait_is_not_heard() -> None:
    wof = dataclasses.replace(A, attributes=0x420)
    truth, quarrels = agreement(said(lib=wof, fuse=dataclasses.replace(wof, sha256="placeholder"), tsk=wof))
    assert truth.by_path["a"].sha256 is None
    assert quarrels == ()
    assert distrust("ntfs-3g", Feature.BYTES, traits([wof])).startswith("shows a placeholder")
    assert distrust("libfsntfs", Feature.BYTES, traits([wof])) == ""


def test_what_a_reader_is_known_to_hide_may_still_be_there() -> None:
    cloud = Entry("d", Kind.DIRECTORY, attributes=0x410)
    truth, quarrels = agreement(said(lib=cloud, fuse=None, tsk=dataclasses.replace(cloud, attributes=None)))
    assert (set(truth.by_path), quarrels) == ({"d"}, ())


def test_a_kind_on_which_readers_part_is_unknown_and_compared_with_nothing() -> None:
    """An Interix link is a system file to one reader and a symlink to the other."""
    truth, quarrels = agreement(said(lib=A, fuse=Entry("a", Kind.SYMLINK, target="x")))
    assert truth.by_path["a"].kind is Kind.UNKNOWN
    assert [quarrel.what for quarrel in quarrels] == ["kind"]
    assert diff(truth, Manifest((Entry("a", Kind.SYMLINK, target="y"),))) == ()


def test_nobody_can_say_whether_a_file_of_interix_is_a_pipe() -> None:
    plain, pipe = Entry("a", Kind.FILE, 0, attributes=0x24), Entry("a", Kind.OTHER, attributes=0x24)
    truth, quarrels = agreement(said(lib=plain, fuse=pipe, tsk=plain))
    assert (truth.by_path["a"].kind, quarrels) == (Kind.UNKNOWN, ())
    assert [diff(truth, Manifest((seen,))) for seen in (plain, pipe)] == [(), ()]
    assert [one.what for one in diff(truth, Manifest(()))] == ["missing"]
    # Where no reader sees more in it than a file, a driver that does shows something that is not there.
    truth, _ = agreement(said(lib=plain, fuse=plain))
    assert [one.what for one in diff(truth, Manifest((pipe,)))] == ["kind"]


def test_one_trusted_witness_is_enough_for_a_kind() -> None:
    wof = dataclasses.replace(A, attributes=0x420)
    truth, _ = agreement(said(lib=wof, fuse=Entry("a", Kind.SYMLINK, target="x")))
    assert truth.by_path["a"].kind is Kind.FILE


def test_who_could_not_look_has_no_say_on_what_exists() -> None:
    manifests = said(lib=A, fuse=A)
    manifests["sleuthkit"] = Manifest((), FEATURES, frozenset({"a"}))
    truth, quarrels = agreement(manifests)
    assert (set(truth.by_path), truth.unsure, quarrels) == ({"a"}, frozenset(), ())


def test_what_nobody_could_list_is_unsure() -> None:
    folder = Entry("d", Kind.DIRECTORY)
    manifests = {name: Manifest((folder,), FEATURES, frozenset({"d"})) for name in ("libfsntfs", "ntfs-3g")}
    assert agreement(manifests)[0].unsure == {"d"}


@pytest.mark.parametrize(
    ("entry", "found"),
    [
        (A, set()),
        (dataclasses.replace(A, attributes=0x4A00), {Trait.SPARSE, Trait.COMPRESSED, Trait.ENCRYPTED}),
        (Entry("a:b", Kind.SYMLINK), {Trait.ODD_NAME, Trait.LINK}),
        (Entry("a", Kind.OTHER), {Trait.SPECIAL}),
        (Entry("a", Kind.FILE, 0, reparse=Reparse(0x80000026, None)), {Trait.SPECIAL, Trait.REPARSE}),
        (Entry("a", Kind.FILE, 0, eas=(Attachment("$LXMOD", 4, ""),)), {Trait.SPECIAL}),
        (Entry("a", Kind.FILE, 0, eas=(Attachment("$LXUID", 4, ""),)), set()),
        (Entry("a", Kind.FILE, 1, eas=(Attachment("$LXMOD", 4, ""),)), set()),
    ],
)
def test_traits_are_read_from_what_readers_saw(entry: Entry, found: set[Trait]) -> None:
    assert traits([entry]) == found


@pytest.mark.parametrize("reader", ["libfsntfs", "ntfs-3g", "sleuthkit"])
def test_each_reader_reads_streams_apart_from_files(built: Mapping[str, Volume], reader: str) -> None:
    if why := readers[reader].missing():
        pytest.skip(why)
    volume = built["streams"]
    assert diff(volume.manifest, readers[reader].read(volume.path, Deadline(60))) == ()


@pytest.mark.parametrize("name", ["clean", "compressed", "dirty", "sparse", "unicode-names", "streams"])
def test_the_readers_agree_on_our_own_volumes(built: Mapping[str, Volume], name: str) -> None:
    for reader in ("libfsntfs", "ntfs-3g"):
        if why := readers[reader].missing():
            pytest.skip(why)
    truth = truth_of(built[name].path, Deadline(60))
    assert truth.disagreements == ()
    assert len(truth.manifest.entries) == len(built[name].manifest.entries)
    assert diff(built[name].manifest, truth.manifest) == ()


def test_readers_refuse_what_is_no_volume(tmp_path: Path) -> None:
    image = tmp_path / "zeros"
    image.write_bytes(bytes(1 << 20))
    with pytest.raises(ImageError) as refused:
        truth_of(image, Deadline(60))
    assert refused.value.message.startswith(f"{image}: read by 0 of 3 readers, 2 must agree: libfsntfs: ")


def test_a_reader_that_is_ended_leaves_no_mount_behind(
    built: Mapping[str, Volume], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = """
import subprocess, sys, tempfile, time
from pathlib import Path
at = tempfile.mkdtemp(prefix="mounted-")
Path(sys.argv[0]).with_name("at").write_text(at)
subprocess.run(("ntfs-3g", "-o", "ro", sys.argv[1], at), check=True)
Path(at).stat().st_dev != Path(at).parent.stat().st_dev and Path(sys.argv[0]).with_name("is").touch()
time.sleep(600)
"""
    (tmp_path / "mounts_and_sleeps.py").write_text(program, encoding="ascii")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(DeadlineError):
        Reader("sleeps", "mounts_and_sleeps", "", lambda: "").read(built["streams"].path, Deadline(5))
    if not (tmp_path / "is").exists():
        pytest.skip("the machine is too busy to mount anything in 5 s")
    at = Path((tmp_path / "at").read_text())
    assert at.parent.name.startswith("lab-reader-")
    assert str(at) not in Path("/proc/self/mountinfo").read_text()
    assert not at.parent.exists()


def test_a_reader_that_spins_is_ended(tmp_path: Path) -> None:
    (tmp_path / "spins_for_ever.py").write_text("while True:\n    pass\n", encoding="ascii")
    spins = Reader("spins", "spins_for_ever", "", lambda: "")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(tmp_path))
        with pytest.raises(DeadlineError, match=rf"^{tmp_path}: [a-z-]+: not done within 0.5 s$"):
            spins.read(tmp_path, Deadline(0.5))


def test_a_listing_of_fls_is_understood() -> None:
    output = (
        "d/d 64-144-1:\tdocs\n"
        "r/r 65-128-2:\tdocs/a b.txt\n"
        "r/r 65-128-5:\tdocs/a b.txt:zone\n"
        "r/r 66-128-2:\tdocs/with:colon\n"
        "r/r 67:\tbroken\n"
        "r/r 0-128-1:\t$MFT\n"
        "r/r 9-128-8:\t$Secure:$SDS\n"
        "V/V 71:\t$OrphanFiles\n"
    )
    assert list(listing(output)) == [
        ("docs", Kind.DIRECTORY, "64-144-1"),
        ("docs/a b.txt", Kind.FILE, "65-128-2"),
        ("docs/with:colon", Kind.FILE, "66-128-2"),
        ("broken", Kind.FILE, "67"),
    ]


def test_where_names_are_dropped_a_third_reader_is_asked(built: Mapping[str, Volume]) -> None:
    for reader in readers.values():
        if why := reader.missing():
            pytest.skip(why)
    volume = built["cluster-16k"]
    truth = truth_of(volume.path, Deadline(60))
    assert truth.disagreements == ()
    assert truth.manifest.unsure == frozenset()
    assert len(truth.manifest.entries) == len(volume.manifest.entries)


@pytest.mark.parametrize(
    ("geometry", "found"),
    [
        (Geometry(512, 4096, 1024, 4096, 1 << 20), set()),
        (Geometry(512, 16384, 1024, 4096, 1 << 20), {Trait.SMALL_INDEX}),
        (Geometry(256, 131072, 1024, 4096, 1 << 20), {Trait.SMALL_INDEX, Trait.LARGE_CLUSTER, Trait.SMALL_SECTOR}),
    ],
)
def test_geometry_has_traits_too(geometry: Geometry, found: set[Trait]) -> None:
    assert volume_traits(geometry) == found
    assert bool(refuses("sleuthkit", found)) is (Trait.LARGE_CLUSTER in found)


def test_who_is_not_trusted_on_the_whole_volume_is_not_heard_on_names() -> None:
    truth, _ = agreement(said(lib=None, fuse=A, tsk=A), always=frozenset({Trait.SMALL_INDEX}))
    assert set(truth.by_path) == {"a"}
