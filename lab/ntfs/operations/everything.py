"""Everything in one mount, each operation on targets of its own: what a nightly pass has time for."""

from __future__ import annotations

from lab.ntfs.operations import content, metadata, names
from lab.ntfs.operations.operation import Operation, operation, operations
from lab.ntfs.operations.plan import Plan

__all__ = ["ORDER", "everything"]

ORDER = (
    content.append,
    content.write,
    content.truncate,
    content.extend,
    names.delete,
    names.rename,
    names.link,
    content.map_,
    metadata.punch,
    metadata.fallocate,
    metadata.xattr,
    metadata.attributes,
    names.short_name,
    content.create,
    names.tree,
    names.many,
    metadata.trim,
    metadata.label,
    metadata.times,
)
"""What users do most comes first: it gets the rarest targets."""


@operation("everything", "all other operations in one mount, on targets of their own, a few of each")
def everything(plan: Plan) -> None:
    plan.each = 1
    for planner in ORDER:
        planner(plan)


READ = operations.add(Operation("read", "mounted read-only: every name, every byte", write=False))
