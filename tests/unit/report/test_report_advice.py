"""The sentence on a volume: every thing that a driver can do to it, in words."""

from __future__ import annotations

import pytest

from lab.matrix.model import MatrixCell
from lab.report.advice import advice
from lab.verdict import Check, Outcome

BYTES = Check("bytes", Outcome.FAIL, "x", "y")
TOUCHED = Check("image-untouched", Outcome.FAIL, "x", "y")
DOUBT = Check("readers-agree", Outcome.UNSUPPORTED, "x", "y")
STREAMS = Check("streams", Outcome.UNSUPPORTED, "shown", "the driver does not show them")


def cell(outcome: Outcome, finding: str = "", reason: str = "", *checks: Check) -> MatrixCell:
    axes = {"driver": "ntfs3", "kernel": "trixie"}
    return MatrixCell("x::y", "ntfs compare", "ntfs", axes, outcome, finding, reason, checks=checks)


@pytest.mark.parametrize(
    ("tried", "does", "safe"),
    [
        (cell(Outcome.PASS, "correct"), "reads it right", "ntfs3 (trixie)"),
        (cell(Outcome.PASS, "refused", "refused (ro, damaged volume): no"), "refuses it, and rightly so", ""),
        (cell(Outcome.UNSUPPORTED, "refused", "refused (ro, clean volume): no\n!"), "refuses it (no !)", ""),
        (
            cell(Outcome.UNSUPPORTED, "degraded", "degraded: ...", STREAMS, DOUBT),
            "shows less than there is (streams: the driver does not show them)",
            "ntfs3 (trixie) (right, but not all of it)",
        ),
        (cell(Outcome.UNSUPPORTED, "", "driver-not-in-kernel: ntfs3 is not in 6.1"), "is not in that kernel", ""),
        (cell(Outcome.UNSUPPORTED, "", "driver-not-installed: ntfs3"), "is not installed", ""),
        (
            cell(Outcome.UNSUPPORTED, "", "no-truth: nobody knows"),
            "mounts it, and nobody can say whether what it shows is right",
            "",
        ),
        (cell(Outcome.UNSUPPORTED, "", "no-pvh: not here"), "cannot be tried (not here)", ""),
        (cell(Outcome.FAIL, "wrong-data", "wrong-data: x", BYTES), "shows it wrongly (bytes)", ""),
        (cell(Outcome.FAIL, "correct", "image-untouched: ...", TOUCHED), "writes to it though told not to", ""),
        (cell(Outcome.FAIL, "crash", "crash: Oops"), "takes the kernel down", ""),
        (cell(Outcome.FAIL, "hang", "hang: ..."), "hangs on it", ""),
        (
            cell(Outcome.FAIL, "degraded", "degraded: x", Check("read-errors", Outcome.FAIL, "none", "EIO")),
            "fails to read a part of it (read-errors)",
            "",
        ),
        (cell(Outcome.ERROR, "", "xen-4.20: gone"), "was not judged (xen-4.20: gone)", ""),
        (cell(Outcome.ERROR, "", "x" * 200), f"was not judged ({'x' * 117}...)", ""),
    ],
)
def test_what_a_driver_does_and_whether_it_is_safe(tried: MatrixCell, does: str, safe: str) -> None:
    said = advice("disk.img", "clean", [tried])
    assert said == f"disk.img (clean): ntfs3 (trixie) {does}. Safe to read with: {safe or 'none of them'}."


def test_what_was_not_judged_is_said_last() -> None:
    assert advice("disk.img", "dirty", [], ["'a': readers part", "'b': likewise"]) == (
        "disk.img (dirty): no driver was tried. Safe to read with: none of them. "
        "Not judged: 'a': readers part, and 1 more."
    )
