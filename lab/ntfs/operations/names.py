"""Operations on names: rename, delete, tree, many, link, short-name."""

from __future__ import annotations

from lab.ntfs.operations.operation import operation
from lab.ntfs.operations.plan import Plan, Target

__all__ = ["delete", "link", "many", "rename", "short_name", "tree"]

_LONG = "r" * 200

_INDEX_ENTRY = 150
"""Bytes that a name takes in its directory's index, half-empty blocks counted."""


def _beside(target: Target, name: str) -> str:
    return f"{target.folder}/{name}" if target.folder else name


def _swapped(name: str) -> str:
    """Another case, of letters that have one in every table."""
    return "".join(one.swapcase() if one.isascii() else one for one in name)


@operation("rename", "new names: beside, elsewhere, in another case alone, over another file; directories too")
def rename(plan: Plan) -> None:
    folder = plan.fresh("rename")
    for at, target in enumerate((*plan.files(), *plan.linked())):
        part, case = f"rename/{target.kind}", _swapped(target.name)
        clash = _beside(target, case) in plan.manifest.by_path
        if at % 3 == 0:
            plan.do("rename", target.path, part, to=f"{folder}/{at} moved.bin")
        elif at % 3 == 1 and case != target.name and not clash:
            plan.do("rename", target.path, f"{part}-by-case", to=_beside(target, case))
        else:
            plan.do("rename", target.path, part, to=_beside(target, f"lab {at} {_LONG}"))
    _rename_over(plan, folder)
    spare = plan.spare_directory()
    if spare is not None:
        plan.do("rename", spare.path, "rename/directory", to=f"{folder}/a directory, moved")
    for step in ("mkdir", "create"):
        plan.do(step, f"{folder}/deep" if step == "mkdir" else f"{folder}/deep/leaf.bin", "rename/new-directory")
    plan.do("rename", f"{folder}/deep", "rename/new-directory", to=f"{folder}/DEEP")
    plan.do("rename", f"{folder}/DEEP", "rename/new-directory", to="lab renamed")


def _rename_over(plan: Plan, folder: str) -> None:
    for at, target in enumerate(plan.files(count=1)):
        path = f"{folder}/over {at}.bin"
        if plan.do("create", path, f"rename/over-{target.kind}", length=500):
            plan.do("rename", path, f"rename/over-{target.kind}", to=target.path)
    for name in ("one", "two"):
        plan.do("mkdir", f"{folder}/{name}", "rename/over-directory")
    plan.do("rename", f"{folder}/one", "rename/over-directory", to=f"{folder}/two")


@operation("delete", "files of each kind, one name of several, a directory and all that is in it")
def delete(plan: Plan) -> None:
    for target in (*plan.files(), *plan.linked()):
        plan.do("unlink", target.path, f"delete/{target.kind}")
    spare = plan.spare_directory()
    if spare is not None:
        below = [entry for entry in plan.manifest.entries if entry.path.startswith(spare.path + "/")]
        for entry in sorted(below, key=lambda one: one.path.count("/"), reverse=True):
            what = "rmdir" if any(one.path.startswith(entry.path + "/") for one in below) else "unlink"
            what = "rmdir" if entry.kind.value == "directory" else what
            plan.do(what, entry.path, "delete/directory")
        plan.do("rmdir", spare.path, "delete/directory")
    folder = plan.fresh("delete")
    for name in ("made and gone", "made and kept"):
        plan.do("create", f"{folder}/{name}", "delete/new", length=plan.terrain.cluster + 1)
    plan.do("unlink", f"{folder}/made and gone", "delete/new")


@operation("tree", "directories: deep, wide, with a file each, and some of them taken away again")
def tree(plan: Plan) -> None:
    top = plan.fresh("tree")
    path = top
    for level in range(12 if plan.each > 1 else 5):
        path = f"{path}/level {level}"
        plan.do("mkdir", path, "tree/deep")
    plan.do("create", f"{path}/leaf.txt", "tree/deep", length=200, form="text")
    count = 40 if plan.each > 1 else 12
    for number in range(count):
        plan.do("mkdir", f"{top}/wide {number:02d}", "tree/wide")
        plan.do("create", f"{top}/wide {number:02d}/file", "tree/wide", length=number)
    for number in range(0, count, 3):
        plan.do("unlink", f"{top}/wide {number:02d}/file", "tree/wide")
        plan.do("rmdir", f"{top}/wide {number:02d}", "tree/wide")
    for place in plan.directories():
        plan.do("mkdir", f"{place.path}/lab below", f"tree/{place.kind}")


@operation("many", "so many names in one directory that its index splits, and every other one taken away")
def many(plan: Plan) -> None:
    folder = plan.fresh("many")
    count = 160 if plan.each > 1 else 40
    if not plan.do("create", f"{folder}/first", "many/names", length=0, cost=count * _INDEX_ENTRY):
        return
    for number in range(count):
        # Out of order, so that blocks of the index split in the middle.
        name = f"{number * 59 % count:03d} {'-' * (number % 40)}"
        plan.do("create", f"{folder}/{name}", "many/names", length=0)
    for number in range(0, count, 2):
        plan.do("unlink", f"{folder}/{number * 59 % count:03d} {'-' * (number % 40)}", "many/names")


@operation("link", "hard links to files of each kind, written through and outliving the first name; symbolic links")
def link(plan: Plan) -> None:
    folder = plan.fresh("link")
    for at, target in enumerate((*plan.files(count=1), *plan.linked())):
        part, path = f"link/{target.kind}", f"{folder}/{at} linked.bin"
        plan.do("link", target.path, part, to=path)
        if at % 3 == 1:
            plan.do("append", path, part, length=90)
        elif at % 3 == 2:
            plan.do("unlink", target.path, part)
    plan.do("create", f"{folder}/target.txt", "link/new", length=300)
    for number in range(20 if plan.each > 1 else 5):
        plan.do("link", f"{folder}/target.txt", "link/new", to=f"{folder}/one more name of it, number {number:02d}")
    plan.do("symlink", f"{folder}/relative", "link/symbolic", target="target.txt")
    plan.do("symlink", f"{folder}/upwards", "link/symbolic", target="../no such file")
    plan.do("symlink", f"{folder}/unicode", "link/symbolic", target="\u6f22\u5b57/\U0001f600")


@operation("short-name", "what has an 8.3 alias, found by it")
def short_name(plan: Plan) -> None:
    for entry in plan.aliased():
        alias = f"{entry.path.rpartition('/')[0]}/{entry.short_name}".lstrip("/")
        plan.do("lookup", alias, "short-name/lookup", like=entry.path)
