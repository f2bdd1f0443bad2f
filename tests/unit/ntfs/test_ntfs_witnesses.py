"""When what a reader or a checker says of a written volume counts against the driver, and when not."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from lab.cache import Cache
from lab.deadline import Deadline
from lab.debian.archive import Package
from lab.errors import LabError
from lab.ntfs import ntfsck as ntfsck_module
from lab.ntfs.checker import NTFSFIX, Checker, Report, damage, new_findings
from lab.ntfs.difference import Difference, diff
from lab.ntfs.inspection import Inspection, inspect
from lab.ntfs.judging.after import checker_checks, flag_check
from lab.ntfs.judging.witnesses import Hearing, complemented, hear, lenient
from lab.ntfs.manifest import FEATURES, Attachment, Entry, Feature, Kind, Manifest, Times, digest
from lab.ntfs.ntfsck import found_by_ntfsck, ntfsck
from lab.ntfs.ondisk.volume_information import DIRTY
from lab.ntfs.readers import Readings
from lab.ntfs.volumes import State, Volume
from lab.process import Completed
from lab.verdict import Finding, Outcome

SHA, BLOCKS = digest((b"truth",), 5)
OTHER, OTHER_BLOCKS = digest((b"lies!",), 5)
FILE = Entry("a", Kind.FILE, 5, SHA, BLOCKS, streams=(), attributes=0x20, times=Times(1, 2, 3, 4))
TRUTH = Manifest((FILE, replace(FILE, path="b")))
FEWER = frozenset({Feature.NAMES, Feature.SIZES, Feature.BYTES})


def wrong(*paths: str, sees: frozenset[Feature] = FEATURES) -> Manifest:
    """The truth, with other bytes at some paths."""
    entries = (replace(one, sha256=OTHER, blocks=OTHER_BLOCKS) if one.path in paths else one for one in TRUTH.entries)
    return Manifest(tuple(entries), sees)


def heard(  # noqa: PLR0913 - what readers say before and after, and about whom
    after: Mapping[str, Manifest],
    before: Mapping[str, Manifest] | None = None,
    *,
    accused: frozenset[str] = frozenset(),
    touched: frozenset[str] = frozenset({"a"}),
    seen: tuple[Difference, ...] = (),
    refusals: Mapping[str, str] | None = None,
) -> Hearing:
    readings = Readings(after, refusals or {})
    earlier = Readings(before if before is not None else dict.fromkeys(after, TRUTH))
    return hear(TRUTH, TRUTH, readings, earlier, touched=touched, accused=accused, seen=seen)


def said(found: tuple[tuple[str, Difference], ...]) -> list[tuple[str, str, str]]:
    return [(name, one.path, one.what) for name, one in found]


def test_two_who_see_it_prove_it() -> None:
    found = heard({"libfsntfs": wrong("a"), "structures": wrong("a")})
    assert said(found.proven) == [("libfsntfs", "a", "bytes"), ("structures", "a", "bytes")]
    assert found.doubtful == ()


def test_one_whom_another_contradicts_is_a_doubt() -> None:
    found = heard({"libfsntfs": wrong("a"), "structures": TRUTH})
    assert (said(found.proven), said(found.doubtful)) == ([], [("libfsntfs", "a", "bytes")])


def test_one_whom_the_driver_itself_confirms_proves_it() -> None:
    own = Difference("a", "", "bytes", SHA, OTHER)
    found = heard({"libfsntfs": wrong("a"), "structures": TRUTH}, seen=(own,))
    assert said(found.proven) == [("libfsntfs", "a", "bytes")]


def test_a_reader_of_the_drivers_own_make_may_confirm_and_not_contradict() -> None:
    accused = frozenset({"ntfs-3g"})
    assert said(heard({"libfsntfs": wrong("a"), "ntfs-3g": TRUTH}, accused=accused).proven)
    assert not said(heard({"libfsntfs": wrong("a"), "ntfs-3g": TRUTH}).proven)
    assert len(heard({"libfsntfs": wrong("a"), "ntfs-3g": wrong("a")}, accused=accused).proven) == 2


def test_who_cannot_see_it_does_not_contradict() -> None:
    later = Manifest((replace(FILE, times=Times(1, 9, 3, 4)), TRUTH.by_path["b"]))
    found = heard({"libfsntfs": later, "structures": replace(TRUTH, sees=FEWER)})
    assert said(found.proven) == [("libfsntfs", "a", "modified")]
    assert said(heard({"libfsntfs": wrong("a"), "structures": replace(TRUTH, unsure=frozenset({"a"}))}).proven)


def test_what_a_reader_said_before_the_write_too_does_not_count() -> None:
    both = {"libfsntfs": wrong("b"), "structures": wrong("b")}
    assert heard(both, both) == Hearing((), (), {}, ("libfsntfs", "structures"))
    # But of what was written it counts, whatever was there.
    assert said(heard(both, both, touched=frozenset({"b"})).proven)


def test_a_reader_that_can_read_the_volume_no_more_is_lost() -> None:
    found = heard({"structures": TRUTH}, {"structures": TRUTH, "libfsntfs": TRUTH}, refusals={"libfsntfs": "no index"})
    assert found.lost == {"libfsntfs": "no index"}
    assert heard({"structures": TRUTH}, {"structures": TRUTH}, refusals={"libfsntfs": "not there"}).lost == {}
    late = Readings({"structures": TRUTH}, {"libfsntfs": "not done within 60 s"}, frozenset({"libfsntfs"}))
    both = Readings({"structures": TRUTH, "libfsntfs": TRUTH})
    assert hear(TRUTH, TRUTH, late, both, touched=frozenset(), accused=frozenset(), seen=()).lost == {}


def test_of_a_new_link_no_outsider_must_know_what_it_is() -> None:
    expected = Manifest((Entry("link", Kind.SYMLINK, target="x", streams=None),))
    seen = Manifest((Entry("link", Kind.FILE, 10, SHA),))
    found = hear(
        expected,
        Manifest(()),
        Readings({"structures": seen}),
        Readings({"structures": Manifest(())}),
        touched=frozenset({"link"}),
        accused=frozenset(),
        seen=(),
    )
    assert found.proven == found.doubtful == ()
    gone = hear(
        expected,
        Manifest(()),
        Readings({"structures": Manifest(())}),
        Readings({"structures": Manifest(())}),
        touched=frozenset({"link"}),
        accused=frozenset(),
        seen=(),
    )
    assert said(gone.proven) == [("structures", "link", "missing")]


def test_a_write_may_set_the_archive_bit_and_no_other() -> None:
    seen = Manifest((replace(FILE, attributes=0x0), replace(FILE, path="b", attributes=0x2)))
    both = frozenset({"a", "b"})
    assert lenient(TRUTH, seen, both).by_path["a"].attributes == 0
    assert lenient(TRUTH, seen, both).by_path["b"].attributes == 0
    assert lenient(TRUTH, seen, frozenset()) == TRUTH


@pytest.mark.parametrize(
    ("before", "mode", "after", "lawful"),
    [
        (0x20, 0o444, 0x21, True),
        (0x20, 0o444, 0x20, True),
        (0x21, 0o644, 0x20, True),
        (0x21, 0o644, 0x21, True),
        (0x20, 0o644, 0x21, False),
        (0x21, 0o444, 0x20, False),
        (0x21, None, 0x20, False),
    ],
)
def test_the_read_only_bit_follows_the_mode_or_stays(before: int, mode: int | None, after: int, lawful: bool) -> None:  # noqa: FBT001 - a column of the table
    expected, seen = (Manifest((replace(FILE, attributes=bits),)) for bits in (before, after))
    modes = {} if mode is None else {"a": mode}
    found = diff(lenient(expected, seen, frozenset({"a"}), modes), seen)
    assert [one.what for one in found] == ([] if lawful else ["attributes"])


def test_no_checker_meets_a_volume_that_a_reader_has_mounted(
    built: Mapping[str, Volume], monkeypatch: pytest.MonkeyPatch
) -> None:
    # ntfsck: "Refusing to change filesystem on read mounted device", which is no finding of the volume.
    mounted = threading.Event()

    def read_all(*_: object, **__: object) -> Readings:
        mounted.set()
        return Readings()

    monkeypatch.setattr("lab.ntfs.inspection.read_all", read_all)
    checker = Checker("picky", lambda: ("true",), lambda _: ("mounted",) if mounted.wait(0.2) else ())
    seen = inspect(built["clean"].path, Deadline(30), readers=("ntfs-3g",), checkers=(checker,))
    assert seen.reports["picky"].findings == ()
    assert mounted.is_set()


@pytest.mark.parametrize(
    ("state", "was", "now", "outcome"),
    [
        (State.CLEAN, 0, DIRTY, Outcome.FAIL),
        (State.DIRTY, DIRTY, 0, Outcome.FAIL),
        (State.UNCLEAN_LOG, 0, DIRTY, Outcome.PASS),
        (State.UNCLEAN_LOG, 0, 0, Outcome.PASS),
        (State.HIBERNATED, 0, DIRTY, Outcome.PASS),
        (State.DAMAGED, DIRTY, 0, Outcome.FAIL),
    ],
)
def test_a_volume_that_was_in_doubt_may_be_left_dirty(state: State, was: int, now: int, outcome: Outcome) -> None:
    check = flag_check(Inspection(flags=was), Inspection(flags=now), state)
    assert check is not None
    assert check.outcome is outcome


def test_unix_owner_and_mode_are_the_drivers_own_affair_and_other_attributes_are_not() -> None:
    mode, other = (Attachment(name, 4, SHA) for name in ("$LXMOD", "OTHER"))
    bare = Manifest(tuple(replace(one, eas=()) for one in TRUTH.entries))
    seen = Manifest(tuple(replace(one, eas=(mode,)) for one in TRUTH.entries))
    assert diff(lenient(bare, seen, frozenset({"a", "b"})), seen) == ()
    assert [one.path for one in diff(lenient(bare, seen, frozenset({"a"})), seen)] == ["b"]
    odd = Manifest(tuple(replace(one, eas=(mode, other)) for one in TRUTH.entries))
    assert [(one.path, one.what) for one in diff(lenient(bare, odd, frozenset({"a", "b"})), odd)] == [
        ("a", "ea"),
        ("b", "ea"),
    ]


def test_what_the_recipe_does_not_say_the_readers_word_completes() -> None:
    bare = Manifest((replace(FILE, attributes=None, times=Times(1, None, None, 4)), Entry("b", Kind.UNKNOWN)))
    seen = Manifest((replace(FILE, times=Times(9, 8, 7, 6)), replace(FILE, path="b")))
    found = complemented(bare, Readings({"libfsntfs": seen}))
    assert (found.by_path["a"].attributes, found.by_path["a"].times) == (0x20, Times(1, 8, 7, 4))
    assert found.by_path["b"] == Entry("b", Kind.UNKNOWN)
    assert complemented(bare, Readings()) == bare


# --- checkers ----------------------------------------------------------------------------------------------------


def test_a_finding_counts_if_its_kind_was_not_there_before() -> None:
    before = Report(("Inode(64) is not valid",))
    after = Report(("Inode(64) is not valid", "Inode(70) is not valid", "cluster 0x12 is not marked"))
    assert new_findings(before, after) == ("cluster 0x12 is not marked",)


def test_ntfsfix_is_content_with_a_sound_volume_and_writes_nothing(built: Mapping[str, Volume], tmp_path: Path) -> None:
    path = built["clean"].path
    before = path.read_bytes()
    assert NTFSFIX.check(path, Deadline(30)) == Report()
    assert path.read_bytes() == before
    zeros = tmp_path / "zeros"
    zeros.write_bytes(bytes(1 << 20))
    assert NTFSFIX.check(zeros, Deadline(30)).findings


def test_a_checker_that_is_not_there_is_silent_and_not_content(tmp_path: Path) -> None:
    absent = Checker("absent", lambda: ("no-such-checker",), lambda _: ())
    assert absent.check(tmp_path, Deadline(5)).silent == "no-such-checker: no such program"
    slow = Checker("slow", lambda: ("sh", "-c", "sleep 9"), lambda _: ())
    assert "not done within 0.2 s" in slow.check(tmp_path, Deadline(0.2)).silent


def test_a_bitmap_that_counts_wrongly_is_no_damage() -> None:
    bitmaps = ("Clear MFT bitmap count:717", "Inode(6:80): Cluster bitmap of fsck and disk are different.")
    assert damage(Report((*bitmaps, "it ended with status -11"))) == ()
    assert damage(Report((*bitmaps, "Corrupted MFT record 65"))) == ("Corrupted MFT record 65",)


def inspected(found: tuple[str, ...]) -> Inspection:
    return Inspection(reports={"ntfsck": Report(found)})


def by_ntfsck(status: int, said_: bytes, stderr: bytes = b"") -> tuple[str, ...]:
    return found_by_ntfsck(Completed(("ntfsck",), status, said_, stderr))


def test_what_ntfsck_says() -> None:
    said_ = (
        b"Parse #1: Scan mft entries in volume...\n  5.88 percent completed\r100.00 percent completed\n"
        b"Inode(66): Cluster bitmap differs. Fix it? No\n"
        b"Parse #6: Check orphaned mft... (left:1, errors:1, fixed:0)\nParse #6 Errors remains: 1\n"
        b"1 errors left (errors:1, fixed:0)\n"
    )
    assert by_ntfsck(0, said_) == ()
    assert by_ntfsck(4, said_) == ("Inode(66): Cluster bitmap differs",)
    assert by_ntfsck(-11, b"") == ("it ended with status -11",)


def test_what_ntfsck_says_of_a_sound_volume_does_not_count() -> None:
    said_ = b"Parse #6: Check orphaned mft...\n100.00 percent completed\nClean, No errors found or left (errors:0)\n"
    assert by_ntfsck(0, said_, b"NTFS signature is missing.\n") == ()


def test_an_ntfsck_that_gives_up_is_not_content() -> None:
    """As it ended on a volume whose root directory a driver had written over."""
    said_ = (
        b"Parse #2: Check system files...\n 11.76 percent completedClean, No errors found or left (errors:0, fixed:0)\n"
    )
    missing = b"There's no system file entry(0) in root\n"
    found = by_ntfsck(0, said_, missing)
    assert found == ("There's no system file entry(0) in root", "it gave up before its last pass")
    ((check, finding),) = checker_checks(inspected(()), inspected(found))
    assert (check.outcome, finding) == (Outcome.FAIL, Finding.DAMAGED)
    assert check.observed == "There's no system file entry(0) in root (and 1 more)"


LEFT_BEHIND = (
    b"Parse #4: Check index entries in volume...\nCorrupt mapping pairs array in non-resident attribute.\n"
    b"Non-resident cluster run of inode(28)(80:0) corrupted. rl_size(0:0). Truncate itCluster Duplication 6694\n"
    b"Inode(29:80): Found cluster duplication. Fix it? No\nParse #6: Check orphaned mft...\n9 errors left (errors:9)\n"
)
"""What ntfsck 1.0.0 said, shortened, of a file that ntfs3 (6.12) had cut to nothing: its record still names clusters
that others have by now (docs/findings/0009). With a zero instead of them it finds nothing.
"""


def test_a_run_list_that_outlives_its_file_is_damage() -> None:
    found = by_ntfsck(4, LEFT_BEHIND)
    assert found == (
        "Corrupt mapping pairs array in non-resident attribute.",
        "Non-resident cluster run of inode(28)(80:0) corrupted. rl_size(0:0)",
        "Cluster Duplication 6694",
        "Inode(29:80): Found cluster duplication",
    )
    ((check, finding),) = checker_checks(inspected(()), inspected(found))
    assert (check.outcome, finding) == (Outcome.FAIL, Finding.DAMAGED)
    assert str(check) == (
        "checker:ntfsck: fail (expected nothing new, "
        "observed Corrupt mapping pairs array in non-resident attribute. (and 3 more))"
    )


def test_the_same_again_is_not_new_whatever_follows_it_on_its_line() -> None:
    other = LEFT_BEHIND.replace(b"itCluster Duplication 6694", b"itInode(31:80): Found cluster duplication. Fix it? No")
    assert new_findings(Report(by_ntfsck(4, LEFT_BEHIND)), Report(by_ntfsck(4, other))) == ()


class _Archive:
    """Has one package, with a program and its loader in it."""

    def __init__(self, *_: object) -> None:
        pass

    def closure(self, *_: object, **__: object) -> tuple[object, ...]:
        return tuple(Package(name, "1") for name in ("ntfsprogs-plus", "gcc-99-base"))

    def download(self, packages: tuple[Package, ...], into: Path, **_: object) -> tuple[Path, ...]:
        assert [package.name for package in packages] == ["ntfsprogs-plus"]
        root = into / "root"
        for name in ("DEBIAN", "usr/sbin", "usr/lib"):
            (root / name).mkdir(parents=True)
        (root / "DEBIAN" / "control").write_text(
            "Package: ntfsprogs-plus\nVersion: 1\nArchitecture: amd64\nMaintainer: nobody\nDescription: none\n"
        )
        if self.whole:
            (root / "usr" / "sbin" / "ntfsck").touch()
        (root / "usr" / "lib" / "ld-linux-x86-64.so.2").touch()
        deb = into / "one.deb"
        subprocess.run(("dpkg-deb", "--root-owner-group", "-Znone", "-b", root, deb), check=True, capture_output=True)
        return (deb,)

    whole = True


def test_ntfsck_is_unpacked_and_runs_by_its_own_loader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ntfsck_module, "Archive", _Archive)
    with ntfsck(Cache(tmp_path), Deadline(30)) as checker:
        loader, flag, libraries, program, only_look = checker.words()
    assert loader.endswith("/root/usr/lib/ld-linux-x86-64.so.2")
    assert (flag, libraries) == ("--library-path", str(Path(loader).parent))
    assert program.endswith("/root/usr/sbin/ntfsck")
    assert only_look == "-n"


def test_a_package_without_the_program_is_the_labs_trouble(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ntfsck_module, "Archive", _Archive)
    monkeypatch.setattr(_Archive, "whole", False)
    with pytest.raises(LabError) as caught, ntfsck(Cache(tmp_path), Deadline(30)):
        pass
    assert str(caught.value).endswith("/root: no ntfsck, or no loader, in the packages of forky")
