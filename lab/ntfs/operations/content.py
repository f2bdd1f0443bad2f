"""Operations on what files hold: create, write, map, append, truncate, extend."""

from __future__ import annotations

from lab.ntfs.operations.operation import operation
from lab.ntfs.operations.plan import KIB, MIB, Plan, Target

__all__ = ["append", "create", "extend", "map_", "truncate", "write"]

_FORMS = ("noise", "text")
"""In turns: bytes that a driver cannot compress, and bytes that it can."""

_NAMES = {
    "cjk": "\u6f22\u5b57\u304b\u306a\ud55c\uae00.txt",
    "emoji": "\U0001f600 \U0001f30d.txt",
    "long-name": "n" * 251 + ".txt",
    "two-cases": "Case.TXT",
}


@operation("create", "new files around every boundary of size, under unusual names, and in directories of each kind")
def create(plan: Plan) -> None:
    cluster = plan.terrain.cluster
    folder = plan.fresh("create")
    sizes = plan.fits(0, 1, 400, 900, cluster - 1, cluster, cluster + 1, 3 * cluster + 7, 64 * KIB + 1, MIB)
    for at, size in enumerate(sizes):
        kind = "empty" if not size else "resident" if size <= 400 else "non-resident"
        plan.do("create", f"{folder}/{size:07d}.bin", f"create/{kind}", length=size, form=_FORMS[at % 2])
    for kind, name in _NAMES.items():
        plan.do("create", f"{folder}/{name}", f"create/{kind}", length=300)
    plan.do("create", f"{folder}/case.txt", "create/two-cases", length=200)
    plan.do("create", "lab root.bin", "create/in-root-directory", length=3000)
    for place in plan.directories():
        for size, form in ((300, "noise"), (2 * cluster + 9, "text")):
            plan.do("create", f"{place.path}/lab {form}.bin", f"create/{place.kind}", length=size, form=form)


def _places(target: Target, cluster: int) -> list[tuple[int, int]]:
    """(offset, length) at the start, over the first boundary of a cluster, in a hole, and up to the last byte."""
    size = target.size
    places = [(0, min(size, 100))]
    if size > cluster + 100:
        places.append((cluster - 33, 100))
    if target.holes:
        start, length = target.holes[len(target.holes) // 2]
        places.append((start + length // 3, min(length // 3, 5000)))
    if size > 300:
        places.append((size - 150, 150))
    return [(offset, length) for offset, length in places if length > 0]


@operation("write", "bytes inside files: at the start, over a cluster's end, in a hole, up to the last byte")
def write(plan: Plan) -> None:
    cluster = plan.terrain.cluster
    for at, target in enumerate((*plan.files(least=1), *plan.linked())):
        for offset, length in _places(target, cluster):
            # A hole, or a compressed unit, may take as much as the unit has.
            more = {"offset": offset, "length": length, "form": _FORMS[at % 2]}
            plan.do("write", target.path, f"write/{target.kind}", cost=length + cluster, **more)
    folder = plan.fresh("write")
    for size in plan.fits(3 * cluster, 200_000):
        path = f"{folder}/{size}.bin"
        if plan.do("create", path, "write/new", length=size):
            # In odd pieces, as programs write that do not know of blocks.
            plan.do("write", path, "write/new", cost=0, offset=size // 3, length=size // 3, piece=777)


@operation("map", "bytes inside files, through memory that is mapped to them (mmap)")
def map_(plan: Plan) -> None:
    cluster = plan.terrain.cluster
    for target in plan.files(least=1):
        for offset, length in _places(target, cluster):
            plan.do("map", target.path, f"map/{target.kind}", cost=length + cluster, offset=offset, length=length)
    folder = plan.fresh("map")
    for size in plan.fits(5 * cluster + 11):
        path = f"{folder}/mapped.bin"
        if plan.do("create", path, "map/new", length=size):
            plan.do("map", path, "map/new", cost=0, offset=size // 2, length=size // 3)
        path = f"{folder}/hollow.bin"
        if plan.do("create", path, "map/new", length=0) and plan.do("truncate", path, "map/new", size=size, cost=size):
            plan.do("map", path, "map/new", cost=0, offset=cluster + 5, length=min(3000, size - cluster - 5))


@operation("append", "more bytes at the end of files: a few, past a cluster's end, many in pieces; on new files too")
def append(plan: Plan) -> None:
    cluster = plan.terrain.cluster
    for at, target in enumerate((*plan.files(), *plan.linked())):
        part = f"append/{target.kind}"
        plan.do("append", target.path, part, length=70, form=_FORMS[at % 2])
        plan.do("append", target.path, part, length=cluster + 1, form=_FORMS[(at + 1) % 2])
        if at % 2 == 0:
            plan.do("append", target.path, part, length=64 * KIB + 5, piece=4096, form="text")
    folder = plan.fresh("append")
    for start in (0, 300):
        path = f"{folder}/from {start}.bin"
        plan.do("create", path, "append/new", length=start)
        for length in (1, 399, cluster, 33_333):
            plan.do("append", path, "append/new", length=length)


@operation("truncate", "files cut: to half, to nothing, to one byte, to a cluster, by one byte")
def truncate(plan: Plan) -> None:
    cluster = plan.terrain.cluster
    fates: dict[str, int] = {}
    for target in (*plan.files(least=2, count=3 if plan.each > 1 else 1), *plan.linked()):
        turn = fates[target.kind] = fates.get(target.kind, -1) + 1
        size = (target.size // 2 + 1, 0, target.size - 1)[turn % 3]
        # The unit of a compressed file, or what lies behind a hole, may have to be written anew.
        plan.do("truncate", target.path, f"truncate/{target.kind}", cost=16 * cluster, size=size)
    folder = plan.fresh("truncate")
    whole = max(plan.fits(3 * cluster + 100, 100_000), default=0)
    if not whole:
        return
    for size in sorted({0, 1, 300, cluster, cluster + 1, whole - 1}):
        path = f"{folder}/{size}.bin"
        if size < whole and plan.do("create", path, "truncate/new", length=whole):
            plan.do("truncate", path, "truncate/new", size=size)
    path = f"{folder}/cut and grown.bin"
    if plan.do("create", path, "truncate/new", length=whole):
        # What was cut off must not come back.
        plan.do("truncate", path, "truncate/new", size=whole // 3)
        plan.do("truncate", path, "truncate/new", cost=0, size=whole)


@operation("extend", "files made longer without writing: by a byte, by clusters, and by a write past the end")
def extend(plan: Plan) -> None:
    cluster = plan.terrain.cluster
    for at, target in enumerate((*plan.files(), *plan.linked())):
        part, size = f"extend/{target.kind}", target.size
        if at % 2:
            plan.do("truncate", target.path, part, cost=cluster, size=size + 1)
            plan.do("truncate", target.path, part, cost=4 * cluster, size=size + 3 * cluster + 7)
        else:
            cost = 4 * cluster + 200
            plan.do("write", target.path, part, cost=cost, offset=size + 2 * cluster + 5, length=200)
    folder = plan.fresh("extend")
    for size in plan.fits(600, cluster + 1, MIB):
        path = f"{folder}/{size}.bin"
        if plan.do("create", path, "extend/new", length=10):
            plan.do("truncate", path, "extend/new", cost=size, size=size)
        path = f"{folder}/behind {size}.bin"
        if plan.do("create", path, "extend/new", length=0):
            plan.do("write", path, "extend/new", cost=size + 100, offset=size, length=100)
