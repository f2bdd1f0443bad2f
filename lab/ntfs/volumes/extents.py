"""The smallest volume and one of a terabyte that takes next to nothing."""

from __future__ import annotations

from lab.ntfs.volumes.compact import compact, shrink_log
from lab.ntfs.volumes.content import random, sparse, text
from lab.ntfs.volumes.mixture import KIB, MIB, UNIT
from lab.ntfs.volumes.recipe import Recipe, recipes
from lab.ntfs.volumes.tree import Directory, File

__all__: list[str] = []

SMALLEST = recipes.add(
    Recipe(
        "size-1m",
        "a volume of 1 MiB, the least that mkntfs makes",
        (
            Directory("folder"),
            File("folder/small.txt", text("small", 100)),
            File("large.bin", random("large", 40 * KIB)),
        ),
        size=MIB + 512,  # and the spare boot sector
    )
)

TERABYTE = recipes.add(
    Recipe(
        "size-1t",
        'a volume of 1 TB, as on a "My Book"; all but a few clusters of it are unused',
        (
            Directory("folder"),
            File("folder/small.txt", text("small", 100)),
            File("large.bin", random("large", 3 * MIB)),
            File("sparse.bin", sparse("sparse", 16 * MIB, (0, UNIT), (15 * MIB, UNIT))),
        ),
        size=1_000_000_000_000 // 4096 * 4096,
        edits=(shrink_log, compact),
    )
)
