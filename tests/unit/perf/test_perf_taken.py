"""What counts as a figure: a driver that did it right. Each way of doing it wrong is planted here, and has none."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any

import pytest

from lab.errors import LabError
from lab.ntfs.perf import MEASURES, Figure, Taken, taken
from lab.verdict import Finding, Outcome
from tests.unit.perf.benches import Document, document, measure, truth

Break = Callable[[Document], None]


def judged(name: str, plant: Break = lambda _document: None, *, seconds: float = 0.5) -> Taken:
    what = measure(name)
    found = document("ntfs3", what, seconds)
    plant(found)
    return taken(what, found, truth(what))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("mount", 500.0),
        ("mount-1t", 500.0),
        ("walk", 20_002.0),
        ("read-sequential", 2.0),
        ("read-small", 16.0),
        ("write-sequential", 2.0),
        ("write-small", 16.0),
        ("metadata", 116.0),
    ],
)
def test_a_driver_that_did_it_right_has_a_figure_in_the_measures_unit(name: str, value: float) -> None:
    found = judged(name)
    assert (found.outcome, found.value, found.reason, found.finding) == (Outcome.PASS, value, "", Finding.CORRECT)
    options = "rw" if measure(name).writes else "ro"
    assert found.facts == {"driver_version": "6.12.0", "type": "ntfs3", "options": options}


def into(*path: Any) -> Callable[[Any], Break]:
    """Put a value at a path of the document."""

    def with_value(value: Any) -> Break:
        def plant(found: Document) -> None:
            place: Any = found
            for key in path[:-1]:
                place = place[key]
            place[path[-1]] = value

        return plant

    return with_value


def zero_filled(found: Document) -> None:
    """The size is right, and every byte is zero: it would have been very fast."""
    facts = found["written"]["files"]["large.bin"]
    facts[1] = [zlib.crc32(bytes(4096))] * len(facts[1])


def stale_block(found: Document) -> None:
    found["taken"]["seen"]["files"]["large.bin"][1][3] ^= 1


def lost(found: Document) -> None:
    del found["written"]["files"]["f.3"]


def resurrected(found: Document) -> None:
    found["written"]["files"]["renamed 00001"] = [0, []]


WRONG = "wrong-data: "
BACK = f"{WRONG}read back after another mount: "


@pytest.mark.parametrize(
    ("name", "plant", "reason"),
    [
        ("write-sequential", zero_filled, f"{BACK}'large.bin': other bytes from byte 0 on"),
        (
            "write-sequential",
            into("written", "files", "large.bin")([4096, [7]]),
            f"{BACK}'large.bin': 4096 bytes, and not 1048576",
        ),
        (
            "write-sequential",
            into("written", "files", "large.bin", 1)([7] * 9),
            f"{BACK}'large.bin': ends at byte 36864",
        ),
        (
            "write-sequential",
            into("written", "files", "large.bin")([None, "Input/output error"]),
            f"{BACK}'large.bin': Input/output error",
        ),
        ("write-sequential", into("taken", "amount")(4096), f"{WRONG}4096 done, 1048576 asked for"),
        ("write-small", lost, f"{BACK}'f.3' is not there"),
        ("metadata", resurrected, f"{BACK}'renamed 00001' is there, and nobody made it"),
        ("metadata", into("taken", "amount")(1), f"{WRONG}1 done, 58 asked for"),
        ("read-sequential", stale_block, f"{WRONG}'large.bin': other bytes from byte 12288 on"),
        (
            "read-small",
            into("taken", "seen", "files", "small/f.2")([0, []]),
            f"{WRONG}'small/f.2': 0 bytes, and not 4096",
        ),
        ("walk", into("taken", "seen", "names")(10_001), f"{WRONG}10001 names seen, 10002 are there"),
        (
            "walk",
            into("taken", "seen", "digest")("0"),
            f"{WRONG}10002 names seen, 10002 are there; they differ in name, kind or size",
        ),
        ("mount", into("root")(["small"]), f"{WRONG}the root shows 'small' instead of 'large.bin', 'small'"),
        ("mount-1t", into("root")([]), f"{WRONG}the root shows nothing instead of 'folder', 'large.bin', 'sparse.bin'"),
        (
            "write-small",
            into("remount")({"ok": False, "text": "Structure needs cleaning"}),
            "damaged: it cannot be mounted again: Structure needs cleaning",
        ),
        ("read-small", into("failed")("fio: /mnt/small: No such file"), "failed: fio: /mnt/small: No such file"),
        ("walk", into("errors")([{"operation": "unmount", "path": "/mnt", "text": "busy"}]), "failed: unmount: busy"),
        ("walk", into("ended")("deadline"), "hang: no answer during: unmount /mnt"),
        ("walk", into("ended")("died"), "crash: it ended during: unmount /mnt"),
        (
            "walk",
            into("kernel_log")(["x", "BUG: unable to handle page fault"]),
            "crash: BUG: unable to handle page fault",
        ),
    ],
)
def test_a_fast_wrong_answer_has_no_figure(name: str, plant: Break, reason: str) -> None:
    found = judged(name, plant, seconds=0.000001)
    assert (found.outcome, found.value, found.reason) == (Outcome.FAIL, None, reason)
    assert found.fatal == reason.startswith(("hang", "crash"))


@pytest.mark.parametrize(
    ("name", "plant", "reason"),
    [
        (
            "metadata",
            into("mount", "read_only")(1),
            "read-only: the driver mounts it read-only, so it cannot be written to",
        ),
        (
            "mount",
            into("mount")({"ok": False, "cause": "no-driver", "text": "No such device"}),
            "refused: No such device",
        ),
        ("write-small", into("mount")({"ok": False, "cause": "refused"}), "refused: refused"),
    ],
)
def test_what_a_driver_does_not_do_is_no_failure(name: str, plant: Break, reason: str) -> None:
    found = judged(name, plant)
    assert (found.outcome, found.value, found.reason) == (Outcome.UNSUPPORTED, None, reason)


@pytest.mark.parametrize(
    ("plant", "reason"),
    [
        (into("ended")("trouble"), "the probe: no word"),
        (into("taken", "seconds")(0.0), "too short to be timed: 1.04858e+06 in 0 s"),
    ],
)
def test_trouble_of_the_lab_is_nobodys_figure(plant: Break, reason: str) -> None:
    found = judged("read-sequential", plant)
    assert (found.outcome, found.value, found.reason) == (Outcome.ERROR, None, reason)


@pytest.mark.parametrize(
    ("module", "reason"),
    [
        ({"taint": "OE"}, "module-in-force: out of tree, and not the kernel's own"),
        (
            {"srcversion": "DEF", "built": {"srcversion": "ABC", "source": "x"}},
            "module-in-force: srcversion DEF, and not ABC",
        ),
        ({"built": {"srcversion": "ABC", "source": "x"}}, "module-in-force: srcversion none, and not ABC"),
    ],
)
def test_another_drivers_module_is_not_timed_in_its_place(module: Document, reason: str) -> None:
    found = judged("mount", into("module")(module))
    assert (found.outcome, found.value, found.reason) == (Outcome.ERROR, None, reason)


def test_an_error_comes_with_what_the_kernel_says_of_it() -> None:
    def full(found: Document) -> None:
        found["failed"] = "/mnt/lab-perf/made 00036: No space left on device"
        found["kernel_log"] = ["python3 (150): drop_caches: 3", "ntfs3: loop0: no free space to extend mft"]

    assert judged("metadata", full).reason == (
        "failed: /mnt/lab-perf/made 00036: No space left on device; "
        "the kernel's log: ntfs3: loop0: no free space to extend mft"
    )


def test_a_module_that_was_compiled_says_of_what() -> None:
    built = {"srcversion": "ABC", "source": "linux-source-6.12 6.12.1-1"}
    found = judged("mount", into("module")({"name": "ntfs3", "loaded": True, "srcversion": "ABC", "built": built}))
    assert found.facts["driver_version"] == "ABC (linux-source-6.12 6.12.1-1)"
    found = judged("mount", into("program")({"name": "ntfs-3g", "version": "ntfs-3g 2022.10.3"}))
    assert found.facts["driver_version"] == "ntfs-3g 2022.10.3"


@pytest.mark.parametrize(
    ("plant", "message"),
    [
        (into("schema")("x/1"), "the probe's document has schema 'x/1', not 'lab.ntfs.perf.probe/1'"),
        (lambda found: found.pop("root"), "the probe's document is broken: KeyError: 'root'"),
        (
            into("taken")([]),
            "the probe's document is broken: TypeError: list indices must be integers or slices, not str",
        ),
    ],
)
def test_half_a_document_is_told_of(plant: Break, message: str) -> None:
    with pytest.raises(LabError) as caught:
        judged("walk", plant)
    assert str(caught.value) == message


def right(value: float) -> Taken:
    return Taken(Outcome.PASS, value, "", Finding.CORRECT)


def test_rounds_become_a_figure() -> None:
    found = Figure.of("mount", "ntfs3", [right(3.0), right(1.0), right(2.5)])
    assert (found.samples, found.median, found.low, found.high, found.counts) == ((3.0, 1.0, 2.5), 2.5, 1.0, 3.0, True)


def test_one_wrong_round_takes_the_figure_away_and_the_samples_stay_on_record() -> None:
    wrong = Taken.of(Finding.WRONG_DATA, "zeros", {})
    found = Figure.of("mount", "ntfs3", [right(3.0), wrong])
    assert (found.outcome, found.reason, found.finding) == (Outcome.FAIL, "wrong-data: zeros (round 2)", "wrong-data")
    assert (found.samples, found.counts) == ((3.0,), False)


def test_without_a_round_there_is_a_word_and_no_blank() -> None:
    found = Figure.of("mount", "ntfs3", [])
    assert (found.outcome, found.reason, found.counts) == (Outcome.SKIPPED, "not got to", False)


def test_every_measure_names_its_unit_and_what_it_does() -> None:
    assert len({each.name for each in MEASURES}) == len(MEASURES) == 8
    for each in MEASURES:
        assert each.unit
        assert each.does
        assert each.more == (each.per > 0)
        assert each.better == ("more" if each.more else "less")
