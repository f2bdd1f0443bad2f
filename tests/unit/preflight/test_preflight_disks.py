"""The rule about disks: two disks at one path are not one disk."""

from __future__ import annotations

import pytest

from lab.preflight.answer import Decision
from lab.preflight.guest import Disk
from lab.preflight.move import Move
from lab.preflight.survey import Place
from tests.unit.preflight.questions import DISK, Change, decision, question, reasons

GO, WARN, UNTESTED, NO_GO = Decision.GO, Decision.WARN, Decision.UNTESTED, Decision.NO_GO
BLOCK = Place("block", 1 << 30, "serial")
EXT4 = Place("file", 1 << 30, "", "ext2/ext3")
NFS = Place("file", 1 << 30, "", "nfs")
SHARED, COPY = Move("cold-shared"), Move("cold")


@pytest.mark.parametrize(
    ("here", "there", "live", "cold"),
    [
        (BLOCK, BLOCK, GO, GO),
        (BLOCK, Place("block", 1 << 30, "another"), NO_GO, WARN),
        (BLOCK, Place("block", 1 << 30), WARN, WARN),
        (BLOCK, Place("block", (1 << 30) - 512, "serial"), NO_GO, NO_GO),
        (BLOCK, Place("block", None, "serial"), UNTESTED, UNTESTED),
        (BLOCK, Place("absent"), NO_GO, NO_GO),
        (BLOCK, Place("other"), NO_GO, NO_GO),
        (BLOCK, Place(), UNTESTED, UNTESTED),
        (EXT4, EXT4, NO_GO, WARN),
        (NFS, NFS, GO, GO),
        (NFS, EXT4, WARN, WARN),
        (Place("file", 1, "", "fuseblk"), Place("file", 1, "", "fuseblk"), WARN, WARN),
    ],
)
def test_the_same_disk_there(here: Place, there: Place, live: Decision, cold: Decision) -> None:
    both: Change = {"source": {"places": {DISK: here}}, "target": {"places": {DISK: there}}}
    assert decision(question(**both), "disk") is live
    assert decision(question(**both, move=Move("save-restore")), "disk") is live
    assert decision(question(**both, move=SHARED), "disk") is cold
    assert decision(question(**both, move=COPY), "disk") is GO


def test_what_is_brought_along_need_not_be_there() -> None:
    lacking: Change = {"target": {"places": {DISK: Place("absent")}}}
    for brings in (DISK, "/dev/disk", "/dev/disk/by-id/"):
        assert decision(question(**lacking, move=Move(brings=frozenset({brings}))), "disk") is GO
    assert decision(question(**lacking, move=Move(brings=frozenset({"/dev/disk/by"}))), "disk") is NO_GO


def test_a_disk_that_is_only_read_may_be_another_one() -> None:
    guest = {"disks": (Disk("xvdb", DISK, "block", readonly=True),)}
    other = {"places": {DISK: Place("block", 1 << 30, "another")}}
    assert decision(question(guest=guest, target=other), "disk") is GO
    # Copying moves what the guest writes; what it only reads must be there.
    gone = {"places": {DISK: Place("absent")}}
    assert decision(question(guest=guest, target=gone, move=COPY), "disk") is NO_GO


def test_every_disk_is_named() -> None:
    guest = {"disks": (Disk("xvda", DISK, "block"), Disk("xvdb", "/dev/vg/b", "block"), Disk("xvdc", "", "volume"))}
    there = {"places": {DISK: BLOCK, "/dev/vg/b": Place("absent")}}
    here = {"places": {DISK: BLOCK, "/dev/vg/b": BLOCK}}
    assert [str(one) for one in reasons(question(guest=guest, source=here, target=there), "disk")] == [
        f"disk: xvda ({DISK}): the same device on both hosts ({DISK} on both hosts: serial)",
        "disk: xvdb (/dev/vg/b): the target lacks it (/dev/vg/b on new)",
        "disk: xvdc (volume): only disks by path are compared (domain XML)",
    ]
