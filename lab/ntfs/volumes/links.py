"""Hard links and everything that points elsewhere: Windows', the Linux subsystem's, Interix'."""

from __future__ import annotations

import os
import stat

from lab.ntfs.ondisk.reparse import junction, lx_symlink, symlink
from lab.ntfs.ondisk.standard_information import ARCHIVE, REPARSE
from lab.ntfs.volumes.content import random, text
from lab.ntfs.volumes.mixture import MIB
from lab.ntfs.volumes.recipe import Recipe, recipes
from lab.ntfs.volumes.tree import Directory, Extras, File, HardLink, Item, Special

__all__: list[str] = []

_SMALL = 16 * MIB

_VOLUME = "\\\\?\\Volume{01234567-89ab-cdef-0123-456789abcdef}\\"

_TARGETS: tuple[Item, ...] = (
    Directory("dir"),
    File("dir/target.txt", text("target", 500)),
    Directory("dir/sub"),
    File("dir/sub/deep.txt", text("deep", 50)),
)


def _relative(path: str, target: str) -> File:
    point = symlink(target, relative=True)
    return File(path, extras=Extras(attributes=ARCHIVE | REPARSE, reparse=point, target=target))


def _substitute(target: str) -> str:
    """The name that counts, of a path as Windows' programs write it, which is the one to show."""
    if target.startswith("\\\\?\\"):
        return f"\\??\\{target[4:]}"
    return f"\\??\\UNC{target[1:]}" if target.startswith("\\\\") else f"\\??\\{target}"


def _absolute(path: str, target: str) -> File:
    substitute = _substitute(target)
    point = symlink(substitute, target, relative=False)
    return File(path, extras=Extras(attributes=ARCHIVE | REPARSE, reparse=point, target=substitute))


def _folder(path: str, target: str) -> Directory:
    return Directory(path, extras=Extras(attributes=REPARSE, reparse=symlink(target, relative=True), target=target))


def _junction(path: str, target: str, *, named: bool = True) -> Directory:
    """Mklink has it show its target; PowerShell's New-Item and Sysinternals' junction leave the name to show empty."""
    substitute = _substitute(target)
    point = junction(substitute, target if named else "")
    return Directory(path, extras=Extras(attributes=REPARSE, reparse=point, target=substitute))


HARD_LINKS = recipes.add(
    Recipe(
        "hard-links",
        "files with two and five names, in one directory and in several, one that is large and one with streams",
        (
            Directory("a"),
            Directory("b"),
            File("a/two.txt", text("two", 400)),
            HardLink("a/two again.txt", "a/two.txt"),
            File("a/five.bin", random("five", 20_000)),
            *(HardLink(f"b/five-{number}.bin", "a/five.bin") for number in range(4)),
            File("rich.txt", text("rich", 60), (("stream", text("stream", 70)),)),
            HardLink("b/rich too.txt", "rich.txt"),
            File("single.txt", text("single", 60)),
        ),
        size=_SMALL,
    )
)

SYMLINKS_RELATIVE = recipes.add(
    Recipe(
        "symlinks-relative",
        "relative symbolic links to files, directories, upwards, to each other and to nothing",
        (
            *_TARGETS,
            _relative("to-file", "dir\\target.txt"),
            _relative("to-sibling", "to-file"),
            _relative("to-nothing", "no\\such\\file"),
            _relative("dir/sub/up", "..\\..\\dir\\target.txt"),
            _relative("to-cjk", "\u6f22\u5b57\\\U0001f600"),
            _relative("loop-a", "loop-b"),
            _relative("loop-b", "loop-a"),
            _relative("long", "\\".join(["dir", *["..\\dir"] * 60, "target.txt"])),
            _folder("to-dir", "dir"),
            _folder("dir/to-parent", ".."),
        ),
        size=_SMALL,
    )
)

SYMLINKS_ABSOLUTE = recipes.add(
    Recipe(
        "symlinks-absolute",
        "absolute symbolic links: a drive's letter, a share, a volume's name, a path from the volume's root",
        (
            *_TARGETS,
            _absolute("drive", "C:\\dir\\target.txt"),
            _absolute("drive-lower", "d:\\dir\\target.txt"),
            _absolute("share", "\\\\server\\share\\file.txt"),
            _absolute("volume", f"{_VOLUME}dir"),
            _relative("rooted", "\\dir\\target.txt"),
        ),
        size=_SMALL,
    )
)

JUNCTIONS = recipes.add(
    Recipe(
        "junctions",
        "junctions to directories on this drive and on another, and mounted volumes, with a name to show and without",
        (
            *_TARGETS,
            _junction("same-drive", "C:\\dir"),
            _junction("deep", "C:\\dir\\sub"),
            _junction("other-drive", "E:\\elsewhere"),
            _junction("missing", "C:\\no\\such\\folder"),
            _junction("unnamed", "C:\\dir", named=False),
            _junction("mounted", _VOLUME, named=False),
            _junction("mounted-named", _VOLUME),
        ),
        size=_SMALL,
    )
)

_CHARACTER, _BLOCK = stat.S_IFCHR | 0o600, stat.S_IFBLK | 0o600

_SPECIALS: tuple[Item, ...] = (
    *_TARGETS,
    Special("link", target="dir/target.txt"),
    Special("dangling", target="no/such/file"),
    Special("pipe", stat.S_IFIFO | 0o600),
    Special("socket", stat.S_IFSOCK | 0o600),
    Special("null", _CHARACTER, os.makedev(1, 3)),
    Special("disk", _BLOCK, os.makedev(202, 1)),
)

WSL = recipes.add(
    Recipe(
        "wsl",
        "symbolic links, a pipe, a socket and devices as the Windows Subsystem for Linux (LX) keeps them",
        (
            *_SPECIALS,
            File(
                "lx-link",
                extras=Extras(
                    attributes=ARCHIVE | REPARSE, reparse=lx_symlink("dir/target.txt"), target="dir/target.txt"
                ),
            ),
        ),
        size=_SMALL,
        options=("special_files=wsl",),
    )
)

INTERIX = recipes.add(
    Recipe(
        "interix",
        "symbolic links, a pipe, a socket and devices as Interix (Services for UNIX) keeps them",
        _SPECIALS,
        size=_SMALL,
        options=("special_files=interix",),
    )
)
