"""The ways in which NTFS stores a file's bytes."""

from __future__ import annotations

from lab.ntfs.ondisk.reparse import ReparsePoint, Tag
from lab.ntfs.ondisk.standard_information import (
    ARCHIVE,
    ENCRYPTED,
    OFFLINE,
    PINNED,
    RECALL_ON_DATA_ACCESS,
    RECALL_ON_OPEN,
    REPARSE,
    SPARSE,
    UNPINNED,
)
from lab.ntfs.ondisk.wof import FORMATS
from lab.ntfs.volumes.content import Content, Extent, random, sparse, text
from lab.ntfs.volumes.mixture import KIB, MIB, UNIT
from lab.ntfs.volumes.recipe import Recipe, recipes
from lab.ntfs.volumes.tree import Directory, Extras, File, HardLink, Item

__all__: list[str] = []

RESIDENT = recipes.add(
    Recipe(
        "resident",
        "files in their MFT record, each size up to where they leave it; streams in the record too",
        (
            *(File(f"size-{size:03d}.bin", random(f"resident {size}", size)) for size in (*range(0, 600, 50), 1, 2, 7)),
            *(File(f"edge-{size:03d}.bin", random(f"edge {size}", size)) for size in range(640, 760, 8)),
            File("streams.txt", text("first", 100), tuple((f"s{one}", text(f"s{one}", 30)) for one in range(3))),
        ),
        size=16 * MIB,
    )
)

NON_RESIDENT = recipes.add(
    Recipe(
        "non-resident",
        "files in one run of clusters, from 1 KiB to 8 MiB, and sizes that end inside a sector",
        tuple(
            File(f"{size:07d}.bin", random(f"plain {size}", size))
            for size in (1024, 1025, 4095, 4096, 4097, 65535, 65536, 65537, 1234567, 8 * MIB, 8 * MIB - 511)
        ),
    )
)

FRAGMENTED = recipes.add(
    Recipe(
        "fragmented",
        "files whose pieces of one or four clusters do not lie in order: dozens of runs, in one MFT record each",
        (
            *(File(f"single-{name}.bin", random(f"single {name}", 160 * KIB + 77), step=4 * KIB) for name in "abc"),
            *(File(f"four-{name}.bin", random(f"four {name}", 640 * KIB), step=16 * KIB) for name in "ab"),
        ),
        size=24 * MIB,
    )
)

ATTRIBUTE_LIST = recipes.add(
    Recipe(
        "attribute-list",
        "so many runs that the runlist needs MFT records of its own, and an attribute list to find them",
        tuple(File(f"shreds-{name}.bin", random(f"shreds {name}", 2 * MIB), step=1 * KIB) for name in "ab"),
        size=24 * MIB,
        cluster=1024,
    )
)

ATTRIBUTE_LIST_STREAMS = recipes.add(
    Recipe(
        "attribute-list-streams",
        "so many named streams that they do not fit one MFT record",
        (
            File(
                "many.txt",
                text("many", 300),
                tuple((f"stream {one:02d}", random(f"stream {one}", 20 + 100 * one)) for one in range(40)),
            ),
            File("few.txt", text("few", 5000), tuple((f"s{one}", text(f"few {one}", 400)) for one in range(4))),
        ),
        size=16 * MIB,
    )
)

ATTRIBUTE_LIST_NAMES = recipes.add(
    Recipe(
        "attribute-list-names",
        "120 long names of one file, which need MFT records of their own",
        (
            Directory("names"),
            File("file.txt", text("file", 2000)),
            *(HardLink(f"names/one of the very many names of this file, {one:03d}", "file.txt") for one in range(119)),
        ),
        size=16 * MIB,
    )
)

SPARSE_512M = recipes.add(
    Recipe(
        "sparse-512m",
        "a hole of 512 MiB between two pieces, and one that is nothing else",
        (
            File("hole.bin", sparse("hole", 512 * MIB + 2 * UNIT, (0, UNIT), (512 * MIB + UNIT, UNIT))),
            File("nothing.bin", sparse("nothing", 64 * MIB)),
        ),
        size=16 * MIB,
    )
)

SPARSE_ODD = recipes.add(
    Recipe(
        "sparse-odd",
        "holes that begin and end at any cluster, not at multiples of 64 KiB, and streams with holes",
        (
            File("odd.bin", sparse("odd", 900_000, (4 * KIB, 4 * KIB), (20 * KIB, 12 * KIB), (800 * KIB, 1000))),
            File("late.bin", sparse("late", 300_001, (300_000, 1))),
            File("comb.bin", sparse("teeth", 2 * MIB, *((step * 8 * KIB, 4 * KIB) for step in range(0, 256, 2)))),
        ),
        size=16 * MIB,
    )
)


def _packed(cluster: int) -> tuple[Item, ...]:
    unit = 16 * cluster
    sizes = (1, 700, cluster, unit - 1, unit, unit + 1, 3 * unit + cluster + 5)
    return (
        Directory("packed", compressed=True),
        *(File(f"packed/text-{size:06d}.txt", text(f"{cluster}-{size}", size)) for size in sizes),
        *(File(f"packed/noise-{size:06d}.bin", random(f"{cluster}-{size}", size)) for size in sizes),
        File("packed/mixed.bin", _mixed("mixed", 5 * unit)),
        File("packed/holes.bin", sparse("holes", 6 * unit, (unit, unit), (4 * unit, 300))),
    )


def _mixed(seed: str, size: int) -> Content:
    """Text and noise in turns, so that some units shrink and others do not."""
    piece = size // 5
    pieces = (Extent(at * piece, piece, f"{seed}{at}", noise=bool(at % 2)) for at in range(5))
    return Content(size, (*pieces, *((Extent(5 * piece, size % 5, seed),) if size % 5 else ())))


for _name, _cluster in (("512", 512), ("1k", KIB)):
    recipes.add(
        Recipe(
            f"compressed-cluster-{_name}",
            f"LZNT1 with clusters of {_cluster} bytes, units of {16 * _cluster}",
            _packed(_cluster),
            size=16 * MIB,
            cluster=_cluster,
            options=("compression",),
        )
    )


def _overlaid(form: str) -> tuple[Item, ...]:
    chunk = FORMATS[form].chunk
    flags = Extras(attributes=ARCHIVE | SPARSE | REPARSE)
    # Nothing smaller: $DATA would lie in the MFT record, and the filter packs no such file.
    sizes = (2000, chunk - 1, chunk, chunk + 1, 3 * chunk + 123)
    return (
        *(File(f"text-{size:06d}.txt", text(f"{form}-{size}", size), wof=form, extras=flags) for size in sizes),
        File("noise.bin", random(f"{form}-noise", 2 * chunk + 9), wof=form, extras=flags),
        File("mixed.bin", _mixed(f"{form}-mixed", 6 * chunk + 3), wof=form, extras=flags),
        File("plain.txt", text("plain", 3 * chunk)),
    )


for _form in FORMATS:
    recipes.add(
        Recipe(
            f"wof-{_form}",
            f"files packed by the Windows Overlay Filter as {_form.upper()}",
            _overlaid(_form),
            size=16 * MIB,
        )
    )

_SECRET = Extras(attributes=ARCHIVE | ENCRYPTED)

EFS = recipes.add(
    Recipe(
        "efs",
        "files marked as encrypted, whose key nobody has, beside one that is not",
        (
            File("secret-small.bin", random("secret", 5000), encrypted=True, extras=_SECRET),
            File("secret-large.bin", random("secret too", 300_000), encrypted=True, extras=_SECRET),
            File("open.txt", text("open", 5000)),
        ),
        size=16 * MIB,
    )
)

VALID_LENGTH = recipes.add(
    Recipe(
        "valid-length",
        "files of which only the beginning was ever written: the rest reads as zeros, whatever its clusters hold",
        (
            *(
                File(
                    f"valid-{valid:06d}.bin",
                    Content(400_000, (Extent(0, valid, f"valid {valid}"),) if valid else ()),
                    valid=valid,
                )
                for valid in (0, 1, 511, 512, 4095, 4096, 4097, 100_000, 262_144, 399_999)
            ),
            File("all.bin", random("all valid", 400_000)),
        ),
        size=16 * MIB,
    )
)

DEDUP = recipes.add(
    Recipe(
        "dedup",
        "files whose bytes lie in a chunk store that is not there, beside one that is whole",
        (
            *(
                File(
                    f"stub-{size}.bin",
                    Content(size),
                    elsewhere=True,
                    extras=Extras(
                        attributes=ARCHIVE | SPARSE | REPARSE,
                        reparse=ReparsePoint(Tag.DEDUP, random(f"dedup {size}", 116).extents[0].bytes()),
                    ),
                )
                for size in (40_000, 1_000_000)
            ),
            File("whole.bin", random("whole", 40_000)),
        ),
        size=16 * MIB,
    )
)


def _cloud(name: str, size: int, more: int) -> File:
    return File(
        name,
        Content(size),
        elsewhere=True,
        extras=Extras(
            attributes=ARCHIVE | SPARSE | REPARSE | OFFLINE | more,
            reparse=ReparsePoint(Tag.CLOUD_6, random(name, 180).extents[0].bytes()),
        ),
    )


CLOUD = recipes.add(
    Recipe(
        "cloud",
        "a folder as OneDrive keeps it: placeholders whose bytes are elsewhere, and files that are here",
        (
            Directory(
                "OneDrive",
                extras=Extras(
                    attributes=REPARSE, reparse=ReparsePoint(Tag.CLOUD_6, random("folder", 100).extents[0].bytes())
                ),
            ),
            _cloud("OneDrive/online only.docx", 70_000, UNPINNED | RECALL_ON_DATA_ACCESS),
            _cloud("OneDrive/recalled when opened.bin", 5_000, RECALL_ON_OPEN),
            File(
                "OneDrive/kept here.txt",
                text("kept", 6_000),
                extras=Extras(
                    attributes=ARCHIVE | REPARSE | PINNED,
                    reparse=ReparsePoint(Tag.CLOUD_6, random("kept", 100).extents[0].bytes()),
                ),
            ),
            File("OneDrive/plain.txt", text("plain", 600)),
            File("outside.txt", text("outside", 600)),
        ),
        size=16 * MIB,
    )
)
