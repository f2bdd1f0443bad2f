"""The advice on a volume: every thing that a driver can do to it, in whole sentences."""

from __future__ import annotations

import json

import pytest

from lab.matrix.model import MatrixCell
from lab.report.advice import advise
from lab.report.deed import read_deed, write_deed
from lab.verdict import Check, Outcome

DOUBT = Check("readers-agree", Outcome.UNSUPPORTED, "x", "y")
STREAMS = Check("streams", Outcome.UNSUPPORTED, "shown", "the driver does not show them")
LINKS = Check("links", Outcome.UNSUPPORTED, "shown", "the driver does not show them")


def broken(name: str, observed: str = "y") -> Check:
    return Check(name, Outcome.FAIL, "x", observed)


def lacking(name: str) -> Check:
    return Check(name, Outcome.UNSUPPORTED, "done", "refused")


def cell(
    outcome: Outcome,
    finding: str = "",
    reason: str = "",
    *checks: Check,
    driver: str = "ntfs3",
    operation: str = "read",
) -> MatrixCell:
    axes = {"driver": driver, "kernel": "trixie", "operation": operation}
    return MatrixCell("x::y", "ntfs compare", "ntfs", axes, outcome, finding, reason, checks=checks)


def right(driver: str = "ntfs3", operation: str = "read") -> MatrixCell:
    return cell(Outcome.PASS, "correct", driver=driver, operation=operation)


@pytest.mark.parametrize(
    ("tried", "state", "sentence", "good"),
    [
        (right(), "clean", "reads it right.", (True, True)),
        (
            cell(Outcome.PASS, "degraded", "degraded: read-errors: x"),
            "damaged",
            "says of what is damaged that it cannot be read, and reads the rest right.",
            (True, True),
        ),
        (
            cell(Outcome.PASS, "refused", "refused (ro, damaged volume): no"),
            "damaged",
            'refuses it, and rightly so: the volume is damaged. It says: "no".',
            (False, False),
        ),
        (
            cell(Outcome.UNSUPPORTED, "refused", "refused (ro, clean volume): no\n!"),
            "clean",
            'refuses it, though the volume is clean. It says: "no !".',
            (False, False),
        ),
        (
            cell(Outcome.UNSUPPORTED, "refused", "refused (ro, dirty volume): wrong fs type"),
            "dirty",
            'refuses it: the volume is dirty: run chkdsk first. It says: "wrong fs type".',
            (False, False),
        ),
        (
            cell(Outcome.UNSUPPORTED, "refused", "refused (ro, unknown volume): no"),
            "unknown",
            'refuses it: nobody can say whether that is right. It says: "no".',
            (False, False),
        ),
        (
            cell(Outcome.UNSUPPORTED, "degraded", "degraded: ...", STREAMS, DOUBT),
            "clean",
            "loses the alternate streams, and reads the rest right.",
            (True, False),
        ),
        (
            cell(Outcome.UNSUPPORTED, "degraded", "degraded: ...", STREAMS, LINKS),
            "clean",
            "loses the alternate streams and does not show where links lead, and reads the rest right.",
            (True, False),
        ),
        (
            cell(Outcome.UNSUPPORTED, "degraded", "degraded: ...", lacking("new")),
            "clean",
            "shows less than there is (new: unsupported (expected done, observed refused)), and reads the rest right.",
            (True, False),
        ),
        (
            cell(Outcome.UNSUPPORTED, "", "driver-not-in-kernel: ntfs3 is not in 6.1"),
            "clean",
            "is not in that kernel.",
            (False, False),
        ),
        (cell(Outcome.UNSUPPORTED, "", "driver-not-installed: ntfs3"), "clean", "is not installed.", (False, False)),
        (
            cell(Outcome.UNSUPPORTED, "", "no-truth: nobody knows"),
            "damaged",
            "mounts it, and nobody can say whether what it shows is right.",
            (False, False),
        ),
        (cell(Outcome.UNSUPPORTED, "", "no-pvh: not here"), "clean", "cannot be tried (not here).", (False, False)),
        (
            cell(Outcome.FAIL, "wrong-data", "wrong-data: x", broken("bytes", "'a': bytes at 0"), broken("times")),
            "clean",
            "shows wrong bytes and times, and no error (bytes: 'a': bytes at 0).",
            (False, False),
        ),
        (
            cell(Outcome.FAIL, "damaged", "...", broken("image-untouched")),
            "clean",
            "writes to it though told not to.",
            (False, False),
        ),
        (cell(Outcome.FAIL, "crash", "", broken("kernel-log")), "clean", "takes the kernel down.", (False, False)),
        (cell(Outcome.FAIL, "crash", "", broken("program-lives")), "clean", "crashes.", (False, False)),
        (cell(Outcome.FAIL, "hang", "hang: ..."), "clean", "hangs on it.", (False, False)),
        (
            cell(Outcome.FAIL, "degraded", "degraded: x", broken("read-errors", "EIO")),
            "clean",
            "fails to read a part of it (read-errors: EIO).",
            (False, False),
        ),
        (cell(Outcome.ERROR, "", "xen-4.20: gone"), "clean", "was not judged (xen-4.20: gone).", (False, False)),
        (cell(Outcome.ERROR, "", "x" * 200), "clean", f"was not judged ({'x' * 117}...).", (False, False)),
        (cell(Outcome.SKIPPED, "", "not asked"), "clean", "was not judged (not asked).", (False, False)),
    ],
)
def test_what_a_driver_does_when_it_reads(
    tried: MatrixCell, state: str, sentence: str, good: tuple[bool, bool]
) -> None:
    deed = read_deed(tried, state)
    assert (deed.sentence, (deed.safe, deed.whole)) == (sentence, good)


@pytest.mark.parametrize(
    ("tried", "state", "sentence", "good"),
    [
        (right(), "clean", "writes to it right.", (True, True)),
        (
            cell(Outcome.PASS, "refused", "refused (rw, dirty volume): volume is dirty"),
            "dirty",
            (
                "refuses to write to it, and rightly so: the volume is dirty: run chkdsk first. "
                'It says: "volume is dirty".'
            ),
            (False, False),
        ),
        (
            cell(Outcome.PASS, "read-only", "read-only: asked for rw, got ro (hibernated volume)"),
            "hibernated",
            "mounts it read-only, and rightly so: Windows is hibernated on it: shut it down for good first.",
            (False, False),
        ),
        (
            cell(Outcome.UNSUPPORTED, "read-only", "read-only: asked for rw, got ro (clean volume)"),
            "clean",
            "mounts it read-only, though the volume is clean.",
            (False, False),
        ),
        (
            cell(Outcome.UNSUPPORTED, "degraded", "", *(lacking(f"step:{name}") for name in "abcd"), DOUBT),
            "clean",
            "writes to it right, but cannot do all (a, b, c and 1 more).",
            (True, False),
        ),
        (
            cell(Outcome.UNSUPPORTED, "", "no-truth: nobody knows what the volume held before"),
            "unknown",
            "was not let write to it, for nobody can say what it holds.",
            (False, False),
        ),
        (
            cell(Outcome.FAIL, "damaged", "", broken("checker:ntfsck", "1 new")),
            "clean",
            "damages it (checker:ntfsck: 1 new).",
            (False, False),
        ),
        (
            cell(Outcome.FAIL, "wrong-data", "", broken("step:append/sparse", "says done, but 'a': size")),
            "clean",
            "says that it has written what is not there afterwards (append/sparse: says done, but 'a': size).",
            (False, False),
        ),
        (
            cell(Outcome.FAIL, "degraded", "", broken("step:trim", "refused: EIO")),
            "clean",
            "fails to do what it was asked to (trim: refused: EIO).",
            (False, False),
        ),
        (
            cell(Outcome.FAIL, "crash", "", broken("kernel-log")),
            "clean",
            "takes the kernel down when it writes to it.",
            (False, False),
        ),
        (cell(Outcome.FAIL, "hang", ""), "clean", "hangs when it writes to it.", (False, False)),
        (
            cell(Outcome.SKIPPED, "", "nothing-to-do: x has nothing for the operation trim"),
            "clean",
            "was not judged as it writes (x has nothing for the operation trim).",
            (False, False),
        ),
        (
            cell(Outcome.ERROR, "", "/x/y: gone"),
            "clean",
            "was not judged as it writes (/x/y: gone).",
            (False, False),
        ),
    ],
)
def test_what_a_driver_does_when_it_writes(
    tried: MatrixCell, state: str, sentence: str, good: tuple[bool, bool]
) -> None:
    deed = write_deed([tried], state)
    assert (deed.sentence, (deed.safe, deed.whole)) == (sentence, good)


def test_of_several_operations_the_worst_is_told_by_name() -> None:
    harm = cell(Outcome.FAIL, "damaged", "", broken("checker:ntfsck", "1 new"), operation="rename")
    tried = [right(operation="append"), harm, right(operation="delete")]
    assert write_deed(tried, "clean").sentence == "damages it (checker:ntfsck: 1 new) (rename)."


DONE_WRONG = broken("step:attributes/character", "says done, but 'c': device: expected 0x10203, observed 0x0")


def test_the_sentence_names_the_check_that_makes_the_finding_and_no_lesser_one() -> None:
    """As it was once: a lie about a device node came first among the checks, and what did the damage after it."""
    found = cell(
        Outcome.FAIL,
        "damaged",
        "damaged: reader:libfsntfs: 'old.txt': missing (and 3 more); checker:ntfsck: 1 new (seen twice, ...)",
        DONE_WRONG,
        broken("reader:libfsntfs", "'old.txt': missing (and 3 more)"),
        broken("checker:ntfsck", "1 new"),
    )
    assert write_deed([found], "clean").sentence == "damages it (reader:libfsntfs: 'old.txt': missing (and 3 more))."


def test_a_lie_is_told_as_one_though_a_lesser_check_broke_first() -> None:
    found = cell(
        Outcome.FAIL,
        "wrong-data",
        f"wrong-data: {DONE_WRONG.name}: {DONE_WRONG.observed}",
        broken("kernel-log"),
        DONE_WRONG,
    )
    assert write_deed([found], "clean").sentence == (
        "says that it has written what is not there afterwards (attributes/character: says done, but 'c': device: "
        "expected 0x10203, observed 0x0)."
    )


def test_what_is_read_wrong_is_told_by_the_difference_that_the_reason_gives() -> None:
    found = cell(
        Outcome.FAIL,
        "wrong-data",
        "wrong-data: 'a': created: expected 1, observed 2 (and 4 more)",
        broken("kernel-log", "WARNING: at fs/ntfs3"),
        broken("sizes", "'b': size: expected 1, observed 2"),
        broken("times", "'a': created: expected 1, observed 2 (and 2 more)"),
    )
    assert read_deed(found, "clean").sentence == (
        "shows wrong sizes and times, and no error (times: 'a': created: expected 1, observed 2 (and 2 more))."
    )


def test_what_is_damaged_is_worse_than_what_is_refused_whichever_came_first() -> None:
    lesser = cell(Outcome.FAIL, "degraded", "degraded: step:trim: EIO", broken("step:trim", "EIO"), operation="trim")
    lie = cell(Outcome.FAIL, "wrong-data", "wrong-data: x", broken("step:x"), operation="append")
    harm = cell(Outcome.FAIL, "damaged", "damaged: x", broken("checker:ntfsck", "1 new"), operation="rename")
    tried = [lesser, lie, harm, lie, lesser]
    assert write_deed(tried, "clean").sentence == "damages it (checker:ntfsck: 1 new) (rename)."


def test_what_is_wrong_with_the_image_comes_first_and_drivers_are_told_all_the_same() -> None:
    fault = "/x/disk.img: truncated: the volume has 9 bytes by its boot sector, 5 are there; copy it again"
    advice = advise("disk.img", "damaged", [right()], fault=fault)
    assert advice.text.splitlines()[:3] == [
        "disk.img (damaged):",
        f"  Not whole: {fault}.",
        "  ntfs3 (trixie) reads it right.",
    ]
    assert advice.to_json()["fault"] == fault


HARM = cell(Outcome.FAIL, "damaged", "", broken("checker:ntfsck", "1 new"), operation="everything")
POORER = cell(Outcome.UNSUPPORTED, "degraded", "degraded: ...", STREAMS, driver="ntfs")


def test_the_whole_advice_where_reading_alone_was_tried() -> None:
    advice = advise("disk.img", "dirty", [POORER, right("ntfs-3g")], ["'a': x", "'b': x", "'c': x", "'d': x"])
    assert advice.text == (
        "disk.img (dirty):\n"
        "  ntfs (trixie) loses the alternate streams, and reads the rest right.\n"
        "  ntfs-3g (trixie) reads it right.\n"
        "  Safe to read with: ntfs-3g (trixie), ntfs (trixie) (right, but not all of it).\n"
        "  Recommended: to read it, ntfs-3g (trixie).\n"
        "  Not judged: what drivers write (--write tries it, on a copy); 'a': x; 'b': x; and 2 more."
    )


def test_the_whole_advice_where_writing_was_tried_too() -> None:
    some = cell(Outcome.UNSUPPORTED, "degraded", "", lacking("step:trim"), driver="ntfs-3g", operation="everything")
    advice = advise("disk.img", "clean", [right(), right("ntfs-3g"), HARM, some])
    assert advice.text == (
        "disk.img (clean):\n"
        "  ntfs3 (trixie) reads it right. It damages it (checker:ntfsck: 1 new).\n"
        "  ntfs-3g (trixie) reads it right. It writes to it right, but cannot do all (trim).\n"
        "  Safe to read with: ntfs3 (trixie), ntfs-3g (trixie).\n"
        "  Safe to write with: ntfs-3g (trixie) (right, but not all of it).\n"
        "  Recommended: to read it, ntfs3 (trixie) or ntfs-3g (trixie). To write to it, ntfs-3g (trixie)."
    )
    assert json.loads(json.dumps(advice.to_json()))["safe_to_write"] == ["ntfs-3g (trixie)"]


def test_who_misreads_a_volume_may_not_write_to_it_either() -> None:
    misread = cell(Outcome.FAIL, "wrong-data", "wrong-data: x", broken("bytes"))
    advice = advise("disk.img", "clean", [misread, right(operation="everything")])
    assert advice.safe_to_write == ()
    assert advice.recommendation == "Recommended: mount it with none of these drivers."


def test_a_driver_that_is_not_there_is_said_so_once() -> None:
    absent = [
        cell(Outcome.UNSUPPORTED, "", "driver-not-in-kernel: x", operation=operation)
        for operation in ("read", "everything")
    ]
    (one,) = advise("disk.img", "clean", absent).drivers
    assert one.line == "ntfs3 (trixie) is not in that kernel."


@pytest.mark.parametrize(
    ("cells", "state", "recommended"),
    [
        ([], "clean", "nothing, for no driver could be judged."),
        ([cell(Outcome.ERROR, "", "gone")], "dirty", "nothing, for no driver could be judged."),
        ([POORER], "clean", "to read it, ntfs (trixie), if you can do without what is not shown."),
        (
            [right(), HARM],
            "dirty",
            (
                "to read it, ntfs3 (trixie). Let none of these drivers write to it. "
                "Before anything is written, let Windows run chkdsk on it."
            ),
        ),
        (
            [right(), right(operation="everything")],
            "unclean-log",
            (
                "to read it, ntfs3 (trixie). To write to it, ntfs3 (trixie). "
                "Before anything is written, let Windows mount it once."
            ),
        ),
        (
            [cell(Outcome.PASS, "refused", "refused (ro, damaged volume): no")],
            "damaged",
            (
                "mount it with none of these drivers. "
                "Copy what can be read off it first; then let Windows run chkdsk on a copy."
            ),
        ),
    ],
)
def test_what_is_recommended(cells: list[MatrixCell], state: str, recommended: str) -> None:
    assert advise("disk.img", state, cells).recommendation == f"Recommended: {recommended}"


def test_without_a_driver_there_is_nothing_to_say() -> None:
    assert advise("disk.img", "dirty", []).text == (
        "disk.img (dirty):\n"
        "  No driver was tried.\n"
        "  Safe to read with: none of them.\n"
        "  Recommended: nothing, for no driver could be judged."
    )
