"""A user's images: named, copied, asked about, and never written."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from lab.deadline import Deadline
from lab.errors import DeadlineError, ImageError
from lab.ntfs import foreign
from lab.ntfs.checker import Checker
from lab.ntfs.foreign import admit, labels
from lab.ntfs.images.image import open_image
from lab.ntfs.judging.reading import judge
from lab.ntfs.manifest import Entry, Kind, Manifest
from lab.ntfs.nonzero import nonzero_chunks
from lab.ntfs.observation import SCHEMA
from lab.ntfs.ondisk.mft import Mft
from lab.ntfs.readers import NoTruthError, Readings, Truth, agreement, consult
from lab.ntfs.shelf import Shelf
from lab.ntfs.specimen import Specimen
from lab.ntfs.volumes import State, Volume
from lab.verdict import Finding, Outcome

MIB = 1 << 20


PROBED = {
    "schema": SCHEMA,
    "operation": "mount-and-read",
    "driver": "ntfs3",
    "kind": "kernel",
    "type_asked": "ntfs3",
    "options_asked": "ro",
    "streams_as": "none",
    "kernel": "6.12.1",
    "ended": "complete",
    "mount": {"ok": True, "type": "ntfs3", "options": "ro", "super_options": "ro", "source": "x"},
    "entries": [{"path": "a", "kind": "file", "size": 1}],
    "errors": [{"path": "b", "operation": "stat", "errno": 5, "text": "Input/output error"}],
}


def specimen(path: Path, manifest: Manifest | None = None, **more: object) -> Specimen:
    fields = {"name": path.name, "path": path, "sector": 512, "state": State.CLEAN, **more}
    return Specimen(manifest=manifest or Manifest(()), **fields)  # type: ignore[arg-type] # the test's own keywords


def file(path: str, text: bytes | None = b"x") -> Entry:
    sha256 = None if text is None else hashlib.sha256(text).hexdigest()
    return Entry(path, Kind.FILE, size=1 if text is None else len(text), sha256=sha256)


def test_labels_are_as_short_as_they_can_be() -> None:
    one, two, three = Path("/a/x/disk.img"), Path("/b/x/disk.img"), Path("/c/other.img")
    assert labels([one, two, three, one]) == {one: "a/x/disk.img", two: "b/x/disk.img", three: "other.img"}


def test_a_volume_is_admitted_with_what_two_readers_say_and_never_written(
    built: Mapping[str, Volume], tmp_path: Path
) -> None:
    volume = built["dirty"]
    before = (hashlib.sha256(volume.path.read_bytes()).hexdigest(), volume.path.stat().st_mtime_ns)
    (found,) = open_image(volume.path, tmp_path, Deadline(30)).volumes
    admitted = admit(found, "dirty.img", tmp_path, Deadline(60))
    kept = admitted.specimen
    assert (kept.name, kept.state, kept.sector, kept.doubts) == ("dirty.img", State.DIRTY, 512, ())
    assert kept.path.parent == tmp_path
    assert [entry.sha256 for entry in kept.manifest.entries] == [entry.sha256 for entry in volume.manifest.entries]
    assert admitted.trouble is None
    assert set(admitted.testimony["readers"]) == {"libfsntfs", "ntfs-3g"}
    assert json.loads(json.dumps(admitted.testimony)) == admitted.testimony
    assert (hashlib.sha256(volume.path.read_bytes()).hexdigest(), volume.path.stat().st_mtime_ns) == before


def says(*findings: str) -> Checker:
    return Checker("picky", lambda: ("true",), lambda _: findings)


@pytest.mark.parametrize(
    ("name", "checker", "state", "fault", "word"),
    [
        ("streams", says(), State.CLEAN, "", "picky: content"),
        ("streams", None, State.CLEAN, "", "not asked"),
        ("streams", says("Cluster bitmap differs"), State.CLEAN, "", "picky: Cluster bitmap differs"),
        ("streams", says("Clear MFT bitmap count:1", "A", "B"), State.DAMAGED, "picky: A (and 1 more)", ""),
        ("dirty", says("torn\x1b"), State.DAMAGED, "picky: torn\\x1b", ""),
        ("hibernated", says("torn"), State.HIBERNATED, "picky: torn", ""),
        (
            "streams",
            Checker("absent", lambda: ("no-such-checker",), lambda _: ()),
            State.CLEAN,
            "",
            "absent: no answer: no-such-checker: no such program",
        ),
    ],
)
def test_a_volume_is_damaged_by_the_word_of_a_checker(  # noqa: PLR0913, PLR0917 - the columns of the table
    built: Mapping[str, Volume],
    tmp_path: Path,
    name: str,
    checker: Checker | None,
    state: State,
    fault: str,
    word: str,
) -> None:
    (found,) = open_image(built[name].path, tmp_path, Deadline(30)).volumes
    admitted = admit(found, name, tmp_path, Deadline(60), checker)
    assert (admitted.specimen.state, admitted.fault) == (state, fault)
    assert admitted.testimony["checker"] == (word or fault)
    assert admitted.testimony["boot_sector"] == "whole"


def test_what_a_checker_calls_damage_tells_why_nobody_can_read_it(
    built: Mapping[str, Volume], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unread(*_: object, **__: object) -> Truth:
        raise NoTruthError("x: read by 1 of 3", Readings({"ntfs-3g": Manifest(())}))

    monkeypatch.setattr(foreign, "truth_of", unread)
    (found,) = open_image(built["streams"].path, tmp_path, Deadline(30)).volumes
    asked = [admit(found, "x", tmp_path / name, Deadline(60), says(*said)) for name, said in folders(tmp_path)]
    assert [(one.specimen.state, one.fault) for one in asked] == [
        (State.UNKNOWN, ""),
        (State.DAMAGED, "picky: torn"),
    ]


def folders(work: Path) -> Iterator[tuple[str, tuple[str, ...]]]:
    for name, said in (("content", ()), ("not", ("torn",))):
        (work / name).mkdir()
        yield name, said


def test_a_volume_that_no_two_readers_can_read_is_admitted_without_a_truth(
    built: Mapping[str, Volume], tmp_path: Path
) -> None:
    image = tmp_path / "broken.img"
    raw = bytearray(built["streams"].path.read_bytes())
    raw[16384 : 16384 + 8 * MIB] = bytes(8 * MIB)
    image.write_bytes(raw)
    (found,) = open_image(image, tmp_path, Deadline(30)).volumes
    admitted = admit(found, "broken.img", tmp_path, Deadline(60))
    assert admitted.trouble is None
    assert admitted.specimen.state is State.DAMAGED
    assert admitted.specimen.manifest.is_unsure("anything")
    (doubt,) = admitted.specimen.doubts
    assert doubt.startswith("its whole content: read by 0 of 3 readers, 2 must agree: libfsntfs: ")
    assert admitted.testimony["trouble"] == f"{image}: {doubt.removeprefix('its whole content: ')}"
    assert {"libfsntfs", "ntfs-3g"} <= set(admitted.testimony["refusals"])


def test_a_volume_with_a_broken_boot_sector_that_readers_can_read_all_the_same_is_damaged(
    built: Mapping[str, Volume], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = tmp_path / "boot.img"
    raw = bytearray(built["streams"].path.read_bytes())
    raw[0x28:0x30] = (1 << 40).to_bytes(8, "little")
    image.write_bytes(raw)
    (found,) = open_image(image, tmp_path, Deadline(30)).volumes
    truth = Truth(Manifest((file("a"),)), (), Readings({"libfsntfs": Manifest((file("a"),))}))
    monkeypatch.setattr(foreign, "truth_of", lambda *_words, **_more: truth)
    admitted = admit(found, "boot.img", tmp_path, Deadline(60))
    assert (admitted.specimen.state, admitted.specimen.manifest) == (State.DAMAGED, truth.manifest)


def test_a_volume_without_a_boot_sector_is_admitted_with_the_complaints(
    built: Mapping[str, Volume], tmp_path: Path
) -> None:
    image = tmp_path / "boot.img"
    raw = bytearray(built["streams"].path.read_bytes())
    raw[0x0B], raw[-512:] = 7, bytes(512)
    image.write_bytes(raw)
    (found,) = open_image(image, tmp_path, Deadline(30)).volumes
    admitted = admit(found, "boot.img", tmp_path, Deadline(60))
    assert (admitted.specimen.state, admitted.trouble) == (State.DAMAGED, None)
    assert admitted.specimen.doubts[0].startswith(
        f"its whole content: {image}+0xb: bytes per sector is 519, not a power of two from 256 to 4096; read by 0 of "
    )
    said = admitted.testimony
    assert (said["sector"], said["cluster"], said["boot_sector"]) == (512, None, found.fault)


_HINT = "`lab doctor` names what is missing; until then only what drivers do to the volume can be told"


@pytest.mark.parametrize(
    ("readings", "state", "hint"),
    [
        (Readings({}, {"libfsntfs": "no", "ntfs-3g": "no", "sleuthkit": "no"}), State.DAMAGED, ""),
        (Readings({}, {"a": "no", "b": "no", "c": "gone"}, frozenset({"c"})), State.DAMAGED, ""),
        # One can read it: who is right?
        (Readings({"libfsntfs": Manifest(())}, {"ntfs-3g": "no", "sleuthkit": "no"}), State.UNKNOWN, ""),
        # Hardly anybody was asked.
        (Readings({}, {"a": "no", "b": "gone", "c": "late"}, frozenset({"b", "c"})), State.DAMAGED, _HINT),
        (Readings({"a": Manifest(())}, {"b": "gone", "c": "late"}, frozenset({"b", "c"})), State.UNKNOWN, _HINT),
        (Readings({}, {"a": "gone"}, frozenset({"a"})), State.UNKNOWN, _HINT),
    ],
)
def test_what_no_reader_accepts_may_be_refused_but_only_if_readers_were_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, readings: Readings, state: State, hint: str
) -> None:
    monkeypatch.setattr(consult, "read_all", lambda *_words, **_more: readings)
    image = tmp_path / "disk.img"
    boot = bytearray(512)
    boot[3:11] = b"NTFS    "
    struct.pack_into("<HB", boot, 0x0B, 512, 1)
    struct.pack_into("<QQQ", boot, 0x28, 100, 4, 8)
    boot[0x40], boot[0x44] = 0xF6, 0xF6
    image.write_bytes(boot + bytes(100 * 512))
    (found,) = open_image(image, tmp_path, Deadline(30)).volumes
    admitted = admit(found, "disk.img", tmp_path, Deadline(60))
    assert found.fault == ""
    assert admitted.specimen.state is state
    assert admitted.specimen.manifest.is_unsure("anything")
    assert (admitted.trouble.hint if admitted.trouble else "") == hint
    if admitted.trouble:
        assert admitted.trouble.message.startswith(f"{image}: read by {len(readings.manifests)} of 3 readers, 2 must ")


@pytest.mark.parametrize("readers", [{}, {"libfsntfs": Manifest(())}])
def test_an_image_that_ends_before_its_volume_does_is_damaged_whoever_can_read_it(
    built: Mapping[str, Volume], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, readers: Mapping[str, Manifest]
) -> None:
    """No driver is blamed for refusing it; and its testimony tells that it is cut off, and its boot sector whole."""
    monkeypatch.setattr(consult, "read_all", lambda *_words, **_more: Readings(readers, {"a": "no", "b": "no"}))
    image = tmp_path / "cut.img"
    image.write_bytes(built["streams"].path.read_bytes()[: 5 * MIB])
    (found,) = open_image(image, tmp_path, Deadline(30)).volumes
    admitted = admit(found, "cut.img", tmp_path, Deadline(60))
    assert (admitted.specimen.state, admitted.trouble, admitted.fault) == (State.DAMAGED, None, found.fault)
    assert admitted.specimen.path.stat().st_size == 5 * MIB
    said = admitted.testimony
    assert (said["boot_sector"], said["truncated"]) == ("whole", found.fault)
    refused = {"ok": False, "cause": "refused", "errno": 22, "text": "no", "operation": "mount(2)"}
    verdict = judge(admitted.specimen.manifest, admitted.specimen.state, {**PROBED, "mount": refused})
    assert (verdict.outcome, verdict.finding) == (Outcome.PASS, Finding.REFUSED)


def test_a_truncated_volume_is_read_by_real_readers_as_far_as_it_goes(
    built: Mapping[str, Volume], tmp_path: Path
) -> None:
    image = tmp_path / "cut.img"
    image.write_bytes(built["streams"].path.read_bytes()[: 12 * MIB])
    (found,) = open_image(image, tmp_path, Deadline(30)).volumes
    admitted = admit(found, "cut.img", tmp_path, Deadline(60))
    assert admitted.specimen.state is State.DAMAGED
    assert len(admitted.testimony["readers"]) + len(admitted.testimony["refusals"]) >= 2


def test_what_readers_part_on_is_a_doubt_and_so_is_what_only_one_can_tell(
    built: Mapping[str, Volume], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = Manifest((file("parted"), file("packed", None), file("same")))
    other = Manifest((file("parted", b"y"), file("packed", None), file("same")), unsure=frozenset({"folder"}))
    manifest, quarrels = agreement({"libfsntfs": one, "ntfs-3g": other})
    truth = Truth(manifest, quarrels, Readings({"libfsntfs": one, "ntfs-3g": other}, {"sleuthkit": "not installed"}))
    monkeypatch.setattr(foreign, "truth_of", lambda *_words, **_more: truth)
    (found,) = open_image(built["streams"].path, tmp_path, Deadline(30)).volumes
    admitted = admit(found, "streams.img", tmp_path, Deadline(60))
    x, y = (hashlib.sha256(text).hexdigest() for text in (b"x", b"y"))
    assert admitted.specimen.doubts == (
        f"'parted': readers disagree on sha256: libfsntfs: {x}, ntfs-3g: {y}",
        "'packed': fewer than two trusted readers know its bytes",
        "'folder': fewer than two trusted readers can list it",
    )
    (check,) = admitted.specimen.doubt_checks()
    assert check.outcome is Outcome.UNSUPPORTED
    assert check.observed.endswith("(and 2 more)")
    assert admitted.testimony["refusals"] == {"sleuthkit": "not installed"}
    assert specimen(found.raw).doubt_checks() == ()


def test_what_takes_long_as_a_rule_may_take_longer_before_it_counts_as_hung(tmp_path: Path) -> None:
    image = tmp_path / "disk.img"
    image.write_bytes(bytes(512))
    small, large = specimen(image), specimen(image, Manifest(tuple(file(str(number)) for number in range(5000))))
    assert small.usual_seconds == pytest.approx(2, abs=0.1)
    assert large.usual_seconds == pytest.approx(202, abs=0.1)
    assert (small.reading_seconds > 10 * small.usual_seconds, large.reading_seconds > 2.5 * large.usual_seconds) == (
        True,
        True,
    )


@pytest.mark.parametrize(
    ("silent", "missing", "tries"),
    [({"ntfs-3g"}, "", 2), ({"ntfs-3g"}, "ntfs-3g is not installed", 1), (set[str](), "", 1), ({"unheard-of"}, "", 1)],
)
def test_readers_that_were_late_get_more_time_once_if_there_is_no_truth_without_them(  # noqa: PLR0913, PLR0917 - two of them are fixtures
    built: Mapping[str, Volume],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    silent: set[str],
    missing: str,
    tries: int,
) -> None:
    """26 GB of holes on a volume of 200 MB, on a machine with much else to do."""
    given: list[float] = []

    def truth(_path: Path, _deadline: Deadline, *, each: float) -> Truth:
        given.append(each)
        if len(given) == 1:
            raise NoTruthError("x", Readings({}, {"ntfs-3g": "late"}, frozenset(silent)))
        return Truth(Manifest((file("a"),)), (), Readings({"libfsntfs": Manifest((file("a"),))}))

    monkeypatch.setattr(foreign, "truth_of", truth)
    monkeypatch.setattr(foreign, "readers", {"ntfs-3g": SimpleNamespace(missing=lambda: missing)})
    (found,) = open_image(built["streams"].path, tmp_path, Deadline(30)).volumes
    admitted = admit(found, "streams.img", tmp_path, Deadline(60))
    assert given == [given[0] * factor for factor in (1, 10)[:tries]]
    assert bool(admitted.specimen.manifest.entries) is (tries == 2)


def test_a_driver_gets_more_time_where_nobody_can_say_how_many_names_there_are(built: Mapping[str, Volume]) -> None:
    path = built["streams"].path
    known = Specimen("v", path, 512, State.UNKNOWN, Manifest(()))
    assert replace(known, records=50_000).reading_seconds == known.reading_seconds + 500
    assert foreign._records(path) > 0


def test_a_reader_gets_more_time_for_more_files(
    built: Mapping[str, Volume], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """42,000 files on a machine with much else to do: a minute is not enough, and no reader spins."""
    (tmp_path / "ruin").write_bytes(b"x" * 9000)
    assert 60 < foreign._reading_seconds(tmp_path / "ruin") < 61
    assert 60 < foreign._reading_seconds(built["streams"].path) < 90
    monkeypatch.setattr(Mft, "count", 42_000, raising=False)
    monkeypatch.setattr(Mft, "__init__", lambda *_words, **_more: None)
    assert foreign._reading_seconds(built["streams"].path) > 60 + 42_000 / 50


def test_a_copy_that_does_not_fit_is_an_error_of_the_image(
    built: Mapping[str, Volume], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (found,) = open_image(built["streams"].path, tmp_path, Deadline(30)).volumes
    with pytest.raises(ImageError) as caught:
        admit(found, "streams.img", tmp_path / "nowhere", Deadline(60))
    assert caught.value.message == f"{built['streams'].path}: cannot be copied: No such file or directory"
    monkeypatch.setattr(foreign, "truth_of", pytest.fail)
    with pytest.raises(DeadlineError):
        admit(found, "streams.img", tmp_path, Deadline(0))


def test_only_what_is_not_zero_is_read_and_holes_do_not_matter(tmp_path: Path) -> None:
    sparse, full = tmp_path / "sparse", tmp_path / "full"
    with sparse.open("wb") as out:
        out.seek(5 * MIB + 1000)
        out.write(b"data")
        out.truncate(1 << 40)
    full.write_bytes(bytes(5 * MIB + 1000) + b"data" + bytes(3 * MIB))
    with sparse.open("rb") as left, full.open("rb") as right:
        found = list(nonzero_chunks(left, 0, 8 * MIB, Deadline(5)))
        assert found == list(nonzero_chunks(right, 0, 8 * MIB, Deadline(5)))
        assert [(offset, len(chunk), chunk.strip(b"\0")) for offset, chunk in found] == [(5 * MIB, MIB, b"data")]
        assert list(nonzero_chunks(left, 6 * MIB, 1 << 40, Deadline(5))) == []
        with pytest.raises(DeadlineError):
            list(nonzero_chunks(left, 0, 8 * MIB, Deadline(0)))


def test_a_shelf_holds_copies_side_by_side_and_tells_when_one_was_changed(tmp_path: Path) -> None:
    first, second = tmp_path / "a.img", tmp_path / "b.img"
    first.write_bytes(b"A" * 1000)
    second.write_bytes(b"B" * (MIB + 512))
    shelf = Shelf.empty(tmp_path / "shelf")
    for each in (first, second, first):
        shelf.put(specimen(each), Deadline(10))
    places = {name: (place.offset, place.size) for name, place in shelf.places.items()}
    assert places == {"a.img": (16 * MIB, 1000), "b.img": (48 * MIB, MIB + 512)}
    assert shelf.disk.stat().st_size == 4 << 40
    assert shelf.disk.stat().st_blocks * 512 < 3 * MIB
    digest = {name: shelf.digest(name, Deadline(5)) for name in places}
    with shelf.disk.open("r+b") as disk:
        disk.seek(49 * MIB + 100)
        disk.write(b"C")
    assert shelf.digest("a.img", Deadline(5)) == digest["a.img"]
    assert shelf.digest("b.img", Deadline(5)) != digest["b.img"]
    with pytest.raises(ImageError) as caught:
        Shelf.empty(tmp_path / "no" / "shelf")
    assert str(caught.value) == (
        f"{tmp_path}/no/shelf: cannot be written: No such file or directory\n  hint: is there room?"
    )


def test_more_content_may_take_longer(tmp_path: Path) -> None:
    image = tmp_path / "a.img"
    image.touch()
    many = Manifest(tuple(Entry(f"{number}", Kind.FILE, size=1000) for number in range(1000)))
    big = Manifest((Entry("big", Kind.FILE, size=1 << 30),))
    assert specimen(image).reading_seconds == 60.0
    assert specimen(image, many).reading_seconds == pytest.approx(160.5)
    assert 590 < specimen(image, big).reading_seconds < 600


def test_a_third_reader_is_asked_where_the_first_two_cannot_tell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first gives up on a folder that ntfs-3g lists: no quarrel, and yet nothing is known."""
    first = {
        "libfsntfs": Manifest((), unsure=frozenset({"folder"})),
        "ntfs-3g": Manifest((file("folder/a"),)),
    }
    rest = {"sleuthkit": Manifest((file("folder/a"),))}
    asked: list[tuple[str, ...]] = []

    def read_all(
        _volume: Path, _deadline: Deadline, *, names: tuple[str, ...], each: float, only: frozenset[str] | None = None
    ) -> Readings:
        asked.append(tuple(names))
        assert (each, only) == (7, frozenset({"folder", "folder/a"}) if "sleuthkit" in names else None)
        return Readings(rest if "sleuthkit" in names else first)

    monkeypatch.setattr(consult, "read_all", read_all)
    truth = consult.truth_of(tmp_path, Deadline(5), each=7)
    assert asked == [("libfsntfs", "ntfs-3g"), ("sleuthkit",)]
    assert [entry.path for entry in truth.manifest.entries] == ["folder/a"]
    assert truth.disagreements == ()


def test_what_readers_said_of_a_ruin_is_told_briefly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = tmp_path / "ruin"
    refusals = {"libfsntfs": f"{image}: libfsntfs: no", "ntfs-3g": f"{image}: ntfs-3g: ntfs-3g refuses it: {'x' * 300}"}
    monkeypatch.setattr(consult, "read_all", lambda *_words, **_more: Readings({}, refusals))
    with pytest.raises(ImageError) as caught:
        consult.truth_of(image, Deadline(5))
    assert caught.value.message == (
        f"{image}: read by 0 of 3 readers, 2 must agree: libfsntfs: no; ntfs-3g: {'x' * 157}..."
    )


UNKNOWN = Manifest((), frozenset(), frozenset({""}))


def test_a_volume_of_which_nothing_is_known_is_not_judged_by_its_content() -> None:
    verdict = judge(UNKNOWN, State.DAMAGED, PROBED)
    assert (verdict.outcome, verdict.finding) == (Outcome.UNSUPPORTED, None)
    assert verdict.reason == "no-truth: nobody knows what the volume holds; it shows 1 names, with 1 errors"
    assert {check.name for check in verdict.checks} == {
        "kernel-log",
        "nothing-written",
        "mounted",
        "type-in-force",
        "read-only-in-force",
    }


def test_where_readers_agree_on_no_name_a_driver_that_shows_some_is_not_judged_and_no_trouble() -> None:
    """An index that is broken: every name in it is one reader's word against another's."""
    unsure = Manifest((), frozenset(), frozenset({"a", "b"}))
    verdict = judge(unsure, State.CLEAN, {**PROBED, "errors": []})
    assert (verdict.outcome, verdict.finding) == (Outcome.UNSUPPORTED, None)
    assert verdict.reason == "no-truth: readers agree on no name in the volume; it shows 1 names, with 0 errors"
    wrote = judge(unsure, State.CLEAN, {**PROBED, "device_before": "1", "device_after": "2", "errors": []})
    assert (wrote.outcome, wrote.finding) == (Outcome.FAIL, Finding.DAMAGED)


@pytest.mark.parametrize("state", list(State))
@pytest.mark.parametrize(
    "manifest", [UNKNOWN, Manifest((), frozenset(), frozenset({"a"})), Manifest((file("a", None),))]
)
@pytest.mark.parametrize(
    "seen",
    [
        {},
        {"entries": [], "errors": []},
        {"mount": {"ok": False, "cause": "refused", "errno": 22, "text": "no", "operation": "mount(2)"}},
        {"ended": "deadline"},
        {"kernel_log": ["Oops: 0000 [#1] SMP"]},
    ],
)
def test_whatever_a_driver_does_to_a_volume_of_which_little_is_known_it_is_no_trouble_of_the_lab(
    state: State, manifest: Manifest, seen: Mapping[str, object]
) -> None:
    assert judge(manifest, state, {**PROBED, **seen}).outcome is not Outcome.ERROR


def test_of_such_a_volume_it_still_counts_that_a_driver_crashed_or_wrote() -> None:
    crashed = judge(UNKNOWN, State.DAMAGED, {**PROBED, "kernel_log": ["Oops: 0000 [#1] SMP"]})
    assert crashed.finding is Finding.CRASH
    wrote = judge(UNKNOWN, State.DAMAGED, {**PROBED, "device_before": "1", "device_after": "2"})
    assert (wrote.outcome, wrote.finding) == (Outcome.FAIL, Finding.DAMAGED)
    refused = {"ok": False, "cause": "refused", "errno": 22, "text": "no", "operation": "mount(2)"}
    right = judge(UNKNOWN, State.DAMAGED, {**PROBED, "mount": refused})
    assert (right.outcome, right.finding) == (Outcome.PASS, Finding.REFUSED)


@pytest.mark.parametrize(
    ("path", "outcome"),
    [("known", Outcome.FAIL), ("unread", Outcome.UNSUPPORTED), ("folder/unlisted", Outcome.UNSUPPORTED)],
)
def test_no_driver_is_blamed_for_failing_where_readers_cannot_tell_either(path: str, outcome: Outcome) -> None:
    truth = Manifest((file("known"), file("unread", None)), unsure=frozenset({"folder"}))
    entries = [{"path": entry.path, "kind": "file", "size": 1} for entry in truth.entries]
    errors = [{"path": path, "operation": "read", "errno": 5, "text": "Input/output error"}]
    verdict = judge(truth, State.CLEAN, {**PROBED, "entries": entries, "errors": errors})
    assert (verdict.outcome, verdict.finding) == (outcome, Finding.DEGRADED)
    assert verdict.reason == f"degraded: read-errors: '{path}': read: Input/output error"
