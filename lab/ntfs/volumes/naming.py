"""Names: every script and length, what Windows forbids, two cases of one word, and 8.3 aliases."""

from __future__ import annotations

from lab.ntfs.volumes.content import text
from lab.ntfs.volumes.mixture import MIB
from lab.ntfs.volumes.recipe import Recipe, recipes
from lab.ntfs.volumes.tree import Directory, Extras, File, Item

__all__: list[str] = []

_SMALL = 16 * MIB


def _files(folder: str, names: tuple[str, ...]) -> tuple[Item, ...]:
    files = (File(f"{folder}/{name}", text(f"{folder} {number}", 30 + number)) for number, name in enumerate(names))
    return (Directory(folder), *files)


CJK = recipes.add(
    Recipe(
        "names-cjk",
        "Chinese, Japanese, Korean; half-width and full-width, decomposed Hangul, compatibility ideographs",
        (
            *_files(
                "\u6f22\u5b57",
                (
                    "\u4e2d\u6587\u6587\u4ef6\u540d.txt",
                    "\u7e41\u9ad4\u4e2d\u6587.txt",
                    "\u65e5\u672c\u8a9e\u306e\u30d5\u30a1\u30a4\u30eb.txt",
                    "\uff8a\uff9d\uff76\uff78.txt",
                    "\uff26\uff35\uff2c\uff2c.txt",
                    "\ud55c\uad6d\uc5b4.txt",
                    "\u1112\u1161\u11ab.txt",
                    "\uf900\u8c48.txt",
                    "\u3042" * 85,
                ),
            ),
        ),
        size=_SMALL,
    )
)

EMOJI = recipes.add(
    Recipe(
        "names-emoji",
        "characters outside the basic plane: surrogate pairs on disk, four bytes in UTF-8",
        (
            *_files(
                "\U0001f4c1",
                (
                    "\U0001f600.txt",
                    "\U0001f468\u200d\U0001f469\u200d\U0001f467.txt",
                    "\U0001f1e8\U0001f1ed",
                    "\U00020000\U0002a6d6.txt",
                    "\U0001d54f.bin",
                    "a\U0001f600b\U0001f600c",
                    "\U0010fffd",
                ),
            ),
        ),
        size=_SMALL,
    )
)

LONG = recipes.add(
    Recipe(
        "names-255",
        "names of 255 UTF-16 units, of one to three bytes each in UTF-8, and paths of many of them",
        (
            *(
                File(f"{letter * (255 - len(end))}{end}", text(f"{letter}{end}", 40))
                for letter in ("x", "\u00e9", "\u6f22")
                for end in ("", ".txt")
            ),
            File("y" * 254, text("254", 40)),
            Directory("d" * 255),
            Directory(f"{'d' * 255}/{'e' * 255}"),
            File(f"{'d' * 255}/{'e' * 255}/{'f' * 255}", text("deep", 40)),
        ),
        size=_SMALL,
    )
)

TRAILING = recipes.add(
    Recipe(
        "names-trailing",
        "dots and blanks at the end, which Windows programs cannot open",
        _files("ends", ("dot.", "dots...", "blank ", "blanks   ", "both. ", "both .", " ", "...", " . ", "txt .txt")),
        size=_SMALL,
    )
)

RESERVED = recipes.add(
    Recipe(
        "names-reserved",
        "names of DOS devices, and characters that Windows forbids",
        (
            *_files(
                "devices", ("CON", "con.txt", "PRN", "AUX", "nul", "NUL.tar.gz", "COM1", "com9.log", "LPT1", "CONIN$")
            ),
            *_files(
                "forbidden", ('quote".txt', "star*", "less<", "more>", "question?", "pipe|", "back\\slash", "colon:x")
            ),
            *_files("controls", ("\x01", "bell\x07", "tab\t", "new\nline", "return\r", "escape\x1b[0m")),
        ),
        size=_SMALL,
    )
)

CASE = recipes.add(
    Recipe(
        "names-case",
        "names that differ by case alone, in scripts whose case mapping is not plain",
        (
            *_files("latin", ("file.txt", "FILE.TXT", "File.txt", "fILE.TXT")),
            *_files("german", ("stra\u00dfe", "STRASSE", "STRA\u1e9eE")),
            *_files("turkish", ("i", "I", "\u0130", "\u0131")),
            *_files("greek", ("\u03c3", "\u03c2", "\u03a3")),
            Directory("folder"),
            Directory("Folder"),
            File("folder/inside.txt", text("folder", 50)),
            File("Folder/inside.txt", text("Folder", 60)),
        ),
        size=_SMALL,
    )
)

_ALIASES = (
    ("a long file name.text", "ALONGF~1.TEX"),
    ("another long name.htm", "ANOTHE~1.HTM"),
    ("\u6f22\u5b57.txt", "2B30~1.TXT"),
    ("no extension at all", "NOEXTE~1"),
    ("many.dots.in.it.tar.gz", "MANYDO~1.GZ"),
    ("unrelated", "X"),
)

SHORT = recipes.add(
    Recipe(
        "names-short",
        "long names with an 8.3 alias beside them, files and directories; a listing shows each once",
        (
            Directory("aliases"),
            *(File(f"aliases/{name}", text(name, 60), extras=Extras(short_name=short)) for name, short in _ALIASES),
            Directory("a long folder name", extras=Extras(short_name="ALONGF~1")),
            File("a long folder name/inside it.txt", text("inside", 70), extras=Extras(short_name="INSIDE~1.TXT")),
        ),
        size=_SMALL,
    )
)
