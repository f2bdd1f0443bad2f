"""The first five recipes: enough to tell a driver that reads from one that does not."""

from __future__ import annotations

from lab.ntfs.ondisk import DIRTY
from lab.ntfs.volumes.content import random, sparse, text
from lab.ntfs.volumes.recipe import Recipe, State, recipes
from lab.ntfs.volumes.tree import Directory, File, Item

__all__: list[str] = []

_KIB = 1 << 10
_MIB = 1 << 20
_UNIT = 64 * _KIB
"""16 clusters of 4 KiB: an LZNT1 compression unit, and the step in which Windows makes sparse runs."""

_EDGES = (0, 1, 17, 512, 700, 900, 4095, 4096, 4097, 8192, _UNIT - 1, _UNIT, _UNIT + 1, _MIB, _MIB + 1)
"""Around what a 1 KiB MFT record can hold, a cluster, 64 KiB, and a read-ahead window."""


def _sizes(folder: str) -> tuple[Item, ...]:
    files = (File(f"{folder}/{size:07d}.bin", random(f"{folder}/{size}", size)) for size in _EDGES)
    return (Directory(folder), *files)


def _nested(folder: str, depth: int) -> tuple[Item, ...]:
    paths = ["/".join([folder, *(f"level-{level}" for level in range(below))]) for below in range(depth)]
    return tuple(item for path in paths for item in (Directory(path), File(f"{path}/leaf.txt", text(path, 300))))


def _many(folder: str, count: int) -> tuple[Item, ...]:
    """More names than one index block holds, so that the directory has a tree of them."""
    files = (File(f"{folder}/file-{number:04d}.dat", random(f"many-{number}", number % 97)) for number in range(count))
    return (Directory(folder), *files)


CLEAN = recipes.add(
    Recipe(
        "clean",
        "resident and non-resident files around every boundary, nested directories, one of 300 names",
        (
            *_sizes("sizes"),
            *_nested("nested", 8),
            *_many("many", 300),
            Directory("hollow"),
            File("hello.txt", text("hello", 60)),
        ),
    )
)

DIRTY_VOLUME = recipes.add(
    Recipe(
        "dirty",
        "sound, but its dirty flag is set, as a pulled plug leaves it",
        (*_sizes("sizes"), *_nested("nested", 3), File("notes.txt", text("notes", 5000))),
        state=State.DIRTY,
        flags=DIRTY,
    )
)

COMPRESSED = recipes.add(
    Recipe(
        "compressed",
        "LZNT1: compressible and incompressible units, mixed in one file, whole and partial last units",
        (
            Directory("packed", compressed=True),
            *(File(f"packed/text-{size:07d}.txt", text(f"text-{size}", size)) for size in _EDGES),
            *(File(f"packed/noise-{size:07d}.bin", random(f"noise-{size}", size)) for size in _EDGES),
            File("packed/text-5-units-and-a-bit.txt", text("units", 5 * _UNIT + 4321)),
            File("packed/zeros-between.bin", sparse("between", 8 * _UNIT, (0, _UNIT), (5 * _UNIT, _UNIT + 5000))),
            Directory("plain"),
            File("plain/text.txt", text("plain", 3 * _UNIT)),
        ),
        options=("compression",),
    )
)

SPARSE = recipes.add(
    Recipe(
        "sparse",
        "holes at the start, in the middle and at the end, many of them, and one of 64 MiB",
        (
            File("start.bin", sparse("start", 3 * _UNIT, (2 * _UNIT, _UNIT))),
            File("middle.bin", sparse("middle", 8 * _UNIT, (0, _UNIT), (7 * _UNIT, _UNIT))),
            File("end.bin", sparse("end", _MIB, (0, 2 * _UNIT))),
            File("only.bin", sparse("only", 16 * _MIB)),
            File("comb.bin", sparse("comb", 64 * _UNIT, *((step * _UNIT, _UNIT) for step in range(0, 64, 2)))),
            File("huge.bin", sparse("huge", 64 * _MIB + 2 * _UNIT, (0, _UNIT), (64 * _MIB + _UNIT, _UNIT))),
            File("dense.bin", random("dense", 3 * _UNIT)),
        ),
    )
)

_NAMES = (
    "\u6f22\u5b57\u304b\u306a\ud55c\uae00.txt",  # CJK
    "\U0001f600\U0001f30d.txt",  # outside the BMP: surrogate pairs
    "\u6f22" * 255,  # the longest name in UTF-16 units, three times as long in UTF-8
    "n" * 255,
    "\U0001f600" * 127,
    "caf\u00e9",  # NFC
    "cafe\u0301",  # NFD, another name
    "\u0130\u0131\u017f\u212a",  # letters whose case mapping is not its own inverse
    "\u05e2\u05d1\u05e8\u05d9\u05ea \u0627\u0644\u0639\u0631\u0628\u064a\u0629",  # right to left
    "\u200bzero\u200dwidth\ufeff",
    "dot.",
    "dots...",
    "space ",
    " leading",
    "CON",
    "nul.txt",
    "COM1",
    "LPT1.dat",
    "aux",
    "tab\tand\x01and\x1f",
    "line\nbreak",
    "delete\x7f",
    'forbidden"*:<>?|\\',
    "$Dollar",
    "~tilde~1.TXT",
    ".hidden",
)

UNICODE_NAMES = recipes.add(
    Recipe(
        "unicode-names",
        "CJK, emoji, 255 UTF-16 units, NFC beside NFD, case pairs, names that Windows forbids or reserves",
        (
            Directory("names"),
            *(File(f"names/{name}", text(f"name-{number}", 20 + number)) for number, name in enumerate(_NAMES)),
            Directory("case"),
            *(File(f"case/{name}", text(f"case-{name}", 40)) for name in ("README.TXT", "readme.txt", "ReadMe.txt")),
            *(File(f"case/{name}", text(f"case-{name}", 41)) for name in ("\u00c4rger", "\u00e4rger")),
            Directory("\u30d5\u30a9\u30eb\u30c0"),
            File("\u30d5\u30a9\u30eb\u30c0/\U0001f4c4", text("folder", 10)),
        ),
    )
)
