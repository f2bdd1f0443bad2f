"""A bit of everything that any geometry can hold: what the recipes about sizes of clusters and sectors share."""

from __future__ import annotations

from functools import cache

from lab.ntfs.volumes.content import random, sparse, text
from lab.ntfs.volumes.tree import Directory, File, HardLink, Item

__all__ = ["KIB", "MIB", "UNIT", "mixture"]

KIB = 1 << 10
MIB = 1 << 20
UNIT = 64 * KIB
"""16 clusters of 4 KiB: an LZNT1 compression unit, and the step in which Windows makes sparse runs."""


@cache
def mixture(cluster: int, *, most: int = 4 * MIB) -> tuple[Item, ...]:
    """Files around a record and a cluster, a hole, fragments, streams, links, a directory of more than one block.

    ``most`` bounds the size of one file, for volumes with few clusters.
    """
    edges = (0, 1, 400, 700, 3000, cluster - 1, cluster, cluster + 1, 3 * cluster + 7)
    sizes = sorted({size for size in edges if size <= most})
    hole = max(UNIT, cluster)
    step = max(4 * KIB, cluster)
    return (
        Directory("sizes"),
        *(File(f"sizes/{size:08d}.bin", random(f"{cluster}/{size}", size)) for size in sizes),
        Directory("names"),
        *(File(f"names/entry number {number:03d}.txt", text(f"{number}", number)) for number in range(120)),
        Directory("nested"),
        Directory("nested/\u6f22\u5b57"),
        File("nested/\u6f22\u5b57/\U0001f600.txt", text("leaf", 300)),
        File("sparse.bin", sparse("sparse", 4 * hole, (0, 5000), (3 * hole, 6000))),
        File("streams.txt", text("streams", 100), (("one", text("one", 50)), ("two", random("two", 9000)))),
        *(File(f"pieces-{name}.bin", random(name, 3 * step + 100), step=step) for name in "ab"),
        File("linked.txt", text("linked", 200)),
        HardLink("names/linked too.txt", "linked.txt"),
    )
