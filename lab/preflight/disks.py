"""The rule about disks: there, large enough, and, where the guest goes on writing to it, the very same. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from lab.preflight.answer import Decision, Reason
from lab.preflight.guest import Disk
from lab.preflight.question import Question
from lab.preflight.survey import Place

__all__ = ["disks"]

# What stat -f -c %T calls file systems that several hosts can have mounted at once; a fuse may be one.
_SHARED = frozenset({"nfs", "nfs4", "ocfs2", "gfs/gfs2", "gfs2", "ceph", "cifs", "smb2", "lustre", "gpfs", "v9fs"})
_LOCAL = frozenset({"ext2/ext3", "ext4", "xfs", "btrfs", "zfs", "tmpfs", "overlayfs", "jfs", "f2fs"})


def disks(q: Question) -> Iterator[Reason]:
    """Every disk finds what it was on here."""
    for disk in q.guest.disks:
        what = f"{disk.target} ({disk.source or disk.kind})"
        if not disk.source.startswith("/"):
            yield Reason(Decision.UNTESTED, "disk", f"{what}: only disks by path are compared", "domain XML")
        elif q.move.brought(disk.source):
            yield Reason(Decision.GO, "disk", f"{what} is brought along", "who moves the guest")
        elif q.move.copies and not disk.readonly:
            yield Reason(Decision.GO, "disk", f"{what} is copied on the way", f"--how {q.move.how}")
        else:
            yield from _compared(q, disk, what)


def _compared(q: Question, disk: Disk, what: str) -> Iterator[Reason]:
    here, there = q.source.places.get(disk.source, Place()), q.target.places.get(disk.source, Place())
    where = f"{disk.source} on {q.target.name}"
    if not there.kind:
        yield Reason(Decision.UNTESTED, "disk", f"{what}: the target does not say whether it has it", where)
    elif not there.there:
        words = "the target lacks it" if there.kind == "absent" else "neither a block device nor a file on the target"
        yield Reason(Decision.NO_GO, "disk", f"{what}: {words}", where)
    elif here.bytes is None or there.bytes is None:
        yield Reason(Decision.UNTESTED, "disk", f"{what}: its size is not known on both hosts", where)
    elif there.bytes < here.bytes:
        words = f"{what}: smaller on the target: {there.bytes} bytes instead of {here.bytes}"
        yield Reason(Decision.NO_GO, "disk", words, where)
    else:
        yield _same(q, disk, what, here, there)


def _same(q: Question, disk: Disk, what: str, here: Place, there: Place) -> Reason:
    """Two disks at one path are not one disk, and a guest that goes on writing to another one destroys both."""
    both = f"{disk.source} on both hosts"
    if here.identity and here.identity == there.identity:
        return Reason(Decision.GO, "disk", f"{what}: the same device on both hosts", f"{both}: {here.identity}")
    if disk.readonly:
        return Reason(Decision.GO, "disk", f"{what}: there, and only read", both)
    grave = Decision.WARN if q.move.cold else Decision.NO_GO
    if here.identity and there.identity:
        words = f"{what}: another device on the target ({there.identity}) than here ({here.identity})"
        return Reason(grave, "disk", words, f"{both}: udev's ID_SERIAL, DM_UUID")
    if here.filesystem in _LOCAL and there.filesystem in _LOCAL:
        words = f"{what}: a file of its own on each host ({here.filesystem}, {there.filesystem})"
        return Reason(grave, "disk", words, f"{both}: stat -f")
    if here.filesystem in _SHARED and here.filesystem == there.filesystem:
        return Reason(Decision.GO, "disk", f"{what}: on a shared file system ({here.filesystem})", f"{both}: stat -f")
    return Reason(Decision.WARN, "disk", f"{what}: nobody can tell whether it is the same one there", both)
