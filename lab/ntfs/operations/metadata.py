"""Operations on what files have besides bytes, and on the volume: attributes, fallocate, punch, trim, label."""

from __future__ import annotations

import os
import stat
import struct
from datetime import UTC, datetime

from lab.ntfs.operations.model import ATTRIBUTES
from lab.ntfs.operations.operation import operation
from lab.ntfs.operations.plan import MIB, Plan, Target
from lab.ntfs.operations.step import HOLE, KEEP_SIZE, ZERO

__all__ = ["attributes", "fallocate", "label", "punch", "times", "trim", "xattr"]

_SECOND = 1_000_000_000

_HIDDEN, _SYSTEM, _ARCHIVE = 0x02, 0x04, 0x20

_MOMENTS = tuple(
    int(datetime.fromisoformat(f"{moment}+00:00").astimezone(UTC).timestamp()) * _SECOND + nanoseconds
    for moment, nanoseconds in (
        ("1970-01-01T00:00:00", 0),
        ("1980-01-01T00:00:00", 100),
        ("2001-02-03T04:05:06", 123_456_700),
        ("2024-02-29T12:00:00", 999_999_900),
        ("2038-01-19T03:14:08", 1_234_500),
        ("2099-12-31T23:59:59", 999_999_900),
    )
)
"""Unix times in nanoseconds, exact to the 100 ns that NTFS keeps."""


@operation("times", "the times of files and directories set, from 1970 to 2099, exact to 100 ns")
def times(plan: Plan) -> None:
    folder = plan.fresh("times")
    targets = [*plan.files(), *(Target(one.path, "directory", 0) for one in plan.directories()[:1])]
    for at in range(len(_MOMENTS)):
        plan.do("create", f"{folder}/{at}", "times/new", length=700 * (at % 2))
        targets.append(Target(f"{folder}/{at}", "new", 0))
    for at, target in enumerate(targets):
        modified, accessed = (_MOMENTS[(at + more) % len(_MOMENTS)] for more in (0, 2))
        plan.do("times", target.path, f"times/{target.kind}", modified=modified, accessed=accessed)


@operation("xattr", "extended attributes in user., which are named streams to some drivers: set, grown, taken away")
def xattr(plan: Plan) -> None:
    folder = plan.fresh("xattr")
    plan.do("create", f"{folder}/new.txt", "xattr/new", length=100)
    new = Target(f"{folder}/new.txt", "new", 0)
    for at, target in enumerate((*plan.files(count=1), new, Target(folder, "new-directory", 0))):
        part = f"xattr/{target.kind}"
        plan.do("setxattr", target.path, part, name="user.lab small", length=40, cost=0)
        plan.do("setxattr", target.path, part, name="user.lab gone", length=300, cost=0)
        plan.do("removexattr", target.path, part, name="user.lab gone")
        if at % 2 == 0:
            plan.do("setxattr", target.path, part, name="user.lab grown", length=10, cost=0)
            plan.do("setxattr", target.path, part, name="user.lab grown", length=3000)
    held = [entry for entry in plan.manifest.entries if entry.path in plan.terrain.layouts and entry.streams]
    for entry in held[:2]:
        stream = (entry.streams or ())[0]
        if (stream.size or 0) < 60_000 and not plan.manifest.is_unsure(entry.path):
            plan.do("setxattr", entry.path, "xattr/existing", name=f"user.{stream.name}", length=77)


@operation("attributes", "permissions, owners, special files and DOS attributes: set, and still there after a remount")
def attributes(plan: Plan) -> None:
    folder = plan.fresh("attributes")
    for name in ("mode", "owner", "dos", "hidden"):
        plan.do("create", f"{folder}/{name}", f"attributes/{'dos' if name == 'hidden' else name}", length=50)
    plan.do("mkdir", f"{folder}/directory", "attributes/mode")
    for at, target in enumerate((*plan.files(count=1), Target(f"{folder}/mode", "new", 0))):
        plan.do("chmod", target.path, "attributes/mode", mode=(0o640, 0o700, 0o444)[at % 3])
    plan.do("chmod", f"{folder}/directory", "attributes/mode", mode=0o750)
    plan.do("chown", f"{folder}/owner", "attributes/owner", uid=1000, gid=1001)
    flags = {"dos": _HIDDEN | _SYSTEM | _ARCHIVE, "hidden": _HIDDEN}
    for name, bits in flags.items():
        value = struct.pack("<I", bits).hex()
        plan.do("setxattr", f"{folder}/{name}", "attributes/dos", name=ATTRIBUTES, value=value)
    devices = {
        "pipe": (stat.S_IFIFO, 0),
        "socket": (stat.S_IFSOCK, 0),
        "character": (stat.S_IFCHR, os.makedev(1, 3)),
        "block": (stat.S_IFBLK, os.makedev(202, 17)),
    }
    for name, (kind, device) in devices.items():
        plan.do("mknod", f"{folder}/{name}", f"attributes/{name}", mode=kind | 0o600, device=device)


@operation("fallocate", "room taken ahead: within the size, past it, and past it with the size kept")
def fallocate(plan: Plan) -> None:
    cluster = plan.terrain.cluster
    for at, target in enumerate((*plan.files(count=1), *plan.linked())):
        part, mode = f"fallocate/{target.kind}", KEEP_SIZE if at % 2 else 0
        cost = 5 * cluster
        plan.do("fallocate", target.path, part, cost=cost, mode=mode, offset=target.size, length=3 * cluster + 1)
    folder = plan.fresh("fallocate")
    for size in plan.fits(3 * cluster, MIB):
        path = f"{folder}/{size}.bin"
        if plan.do("create", path, "fallocate/new", length=100):
            plan.do("fallocate", path, "fallocate/new", cost=size, mode=0, offset=0, length=size)
            plan.do("write", path, "fallocate/new", cost=0, offset=size // 2, length=500)
        path = f"{folder}/{size} kept.bin"
        if plan.do("create", path, "fallocate/new-kept", length=100):
            plan.do("fallocate", path, "fallocate/new-kept", cost=size, mode=KEEP_SIZE, offset=0, length=size)
            plan.do("append", path, "fallocate/new-kept", cost=0, length=900)


@operation("punch", "holes punched and ranges zeroed: whole clusters, and ranges that end inside one")
def punch(plan: Plan) -> None:
    cluster = plan.terrain.cluster
    folder = plan.fresh("punch")
    targets = [target for target in plan.files(least=2) if target.size > 2 * cluster]
    for size in plan.fits(6 * cluster, 40 * cluster if cluster <= 64 * 1024 else 6 * cluster):
        plan.do("create", f"{folder}/{size}.bin", "punch/new", length=size)
        targets += [Target(f"{folder}/{size}.bin", "new", size)]
    for at, target in enumerate(targets):
        unit = 16 * cluster if target.size > 20 * cluster else cluster
        places = ((HOLE | KEEP_SIZE, unit, unit), (HOLE | KEEP_SIZE, 100, 300), (ZERO | KEEP_SIZE, cluster - 50, 200))
        for name, (mode, offset, length) in zip(("aligned", "unaligned", "zeroed"), places, strict=True):
            part = f"punch/{target.kind}-{name}"
            plan.do("fallocate", target.path, part, cost=cluster, mode=mode, offset=offset, length=length)
        if at % 2 == 0:
            part = f"punch/{target.kind}-written-again"
            plan.do("write", target.path, part, cost=2 * cluster, offset=unit + 10, length=200)


@operation("trim", "the unused clusters told to the disk (FITRIM), after a file was deleted")
def trim(plan: Plan) -> None:
    folder = plan.fresh("trim")
    for size in plan.fits(MIB):
        for name in ("kept", "gone"):
            plan.do("create", f"{folder}/{name}.bin", "trim/files", length=size)
        plan.do("unlink", f"{folder}/gone.bin", "trim/files")
    plan.do("trim", "", "trim/volume")
    plan.do("create", f"{folder}/after.bin", "trim/after", length=5000)


@operation("label", "the volume's label")
def label(plan: Plan) -> None:
    plan.do("label", "", "label/volume", label="Lab \u6f22\u5b57 \u00e9")
