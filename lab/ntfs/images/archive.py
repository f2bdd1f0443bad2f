"""Archives of images, unpacked with their holes by GNU tar, which does in seconds what others take hours for."""

from __future__ import annotations

import os
import re
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from lab.deadline import Deadline
from lab.errors import ImageError
from lab.ntfs.images.source import reading
from lab.ntfs.naming import spelled
from lab.process import Completed, run

__all__ = ["Member", "Unpacked", "begins_like_tar", "is_archive", "unpack"]

_PACKED = (b"\x1f\x8b\x08", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd", b"BZh", b"LZIP\x01")
_USTAR = 257, b"ustar"
"""How what GNU tar unpacks by itself begins: gzip, xz, zstd, bzip2, lzip; and a tar archive that is not packed."""

_DISK = 510, b"\x55\xaa"
"""A boot sector, whatever its code holds elsewhere; in a tar archive there are zeros."""

_COPIES = 3
"""What is in an archive is there three times in the end: unpacked, as the readers' copy, and as the drivers'."""

_SPARE = 256 << 20
"""Bytes that are left to others."""

_ENVIRONMENT = {"LC_ALL": "C", "TAR_OPTIONS": ""}
_UNPACK_YOURSELF = "unpack it yourself, then name what was in it"


@dataclass(frozen=True, slots=True)
class Member:
    """A regular file of an archive: what it is called there, and where it is now."""

    name: PurePosixPath
    path: Path


@dataclass(frozen=True, slots=True)
class Unpacked:
    """The regular files, and how many other things there were: links, devices."""

    members: tuple[Member, ...]
    others: int = 0


def is_archive(path: Path) -> bool:
    """Whether a file is packed in a way that GNU tar understands, or a tar archive. False for what cannot be read."""
    try:
        with reading(path) as file:
            first = file.read(512)
    except ImageError:
        return False
    return first.startswith(_PACKED) or begins_like_tar(first)


def begins_like_tar(first: bytes) -> bool:
    """Whether these are the first 512 bytes of a tar archive that is not packed."""
    (at, ustar), (end, boot) = _USTAR, _DISK
    return first[at:].startswith(ustar) and first[end:] != boot


def unpack(archive: Path, into: Path, deadline: Deadline) -> Unpacked:
    """The regular files of an archive, as sparse files below the folder ``into``. Nothing else of it is made.

    Raises:
        ImageError: it is none, is broken, holds no file, leads out of the folder, or there is no room for it.
        MissingToolError: tar is not installed.
        DeadlineError: it was not done in time.
    """
    place = spelled(str(archive))
    listed = _tar("--list", archive, deadline, "--verbose", "--numeric-owner", "--totals", "--quoting-style=escape")
    names, others = _names(listed, place)
    if not names:
        raise ImageError(f"{place}: an archive without a single file", hint=_UNPACK_YOURSELF)
    _make_sure_of_room(listed, archive, into)
    told = b"".join(os.fsencode(name) + b"\0" for name in names)
    # Exactly these: what a folder's name stands for else would be all that is in it, links and devices, too.
    which = ("--null", "--files-from=-", "--no-recursion", "--no-wildcards")
    how = ("--sparse", "--no-same-owner", "--no-same-permissions")
    _tar("--extract", archive, deadline, *how, *which, stdin=told, into=into)
    return Unpacked(tuple(_member(name, into, place) for name in names), others)


def _tar(
    action: str, archive: Path, deadline: Deadline, *words: str, stdin: bytes = b"", into: Path | None = None
) -> Completed:
    # A colon in its name would make tar look for another machine.
    named = ("--force-local", f"--file={archive.absolute()}")
    done = run("tar", action, *named, *words, deadline=deadline, env=_ENVIRONMENT, stdin=stdin, cwd=into)
    if not done:
        said = _said(done.stderr, archive)
        hint = "free some space in the cache folder, or name another one with LAB_CACHE"
        hint = hint if "No space left" in said else _hint(said)
        raise ImageError(f"{spelled(str(archive))}: tar cannot unpack it: {said}", hint=hint)
    return done


def _hint(said: str) -> str:
    program = re.match(r"(\S+): Cannot exec", said)
    return f"install {program.group(1)}" if program else _UNPACK_YOURSELF


def _said(stderr: bytes, archive: Path) -> str:
    """Its first line; what comes after is what follows from it."""
    line = stderr.decode("utf-8", "surrogateescape").strip().partition("\n")[0]
    line = re.sub(r"^(tar( \(child\))?|gzip|xz|bzip2): ", "", line)
    return spelled(line.removeprefix(f"{archive.absolute()}: ")) or "it said nothing"


_LINE = re.compile(r"(?P<kind>.)\S{9}\S? +\d+/\d+ +\S+ \d{4,}-\d\d-\d\d \d\d:\d\d (?P<name>.+)")
"""Type and mode (and a sign for an ACL), owner, size, date, name."""


def _names(listed: Completed, place: str) -> tuple[list[str], int]:
    """The regular files; and how many members are neither that nor a folder."""
    names, others = dict[str, None](), 0
    for line in listed.stdout.decode("utf-8", "surrogateescape").splitlines():
        found = _LINE.fullmatch(line)
        if found is None:
            raise ImageError(f"{place}: tar lists what the lab cannot read: {spelled(line)}", hint=_UNPACK_YOURSELF)
        name = _unescaped(found["name"])
        if found["kind"] != "-":
            others += found["kind"] != "d"
        elif name.startswith("/") or ".." in PurePosixPath(name).parts:
            raise ImageError(f"{place}: {spelled(name)} leads out of the archive", hint=_UNPACK_YOURSELF)
        else:
            names[name] = None
    return list(names), others


_ESCAPES = {"n": "\n", "t": "\t", "b": "\b", "r": "\r", "f": "\f", "v": "\v", "a": "\a", "\\": "\\", " ": " "}


def _unescaped(name: str) -> str:
    def char(found: re.Match[str]) -> str:
        code = found.group(1)
        return _ESCAPES[code] if code in _ESCAPES else os.fsdecode(bytes([int(code, 8)]))

    # An octal escape is one byte of a character that may have several.
    joined = re.sub(r"\\([0-7]{3}|[ntbrfva\\ ])", char, name)
    return joined.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")


def _make_sure_of_room(listed: Completed, archive: Path, into: Path) -> None:
    """No more can be written than is stored in it; holes are not."""
    total = re.search(rb"^Total bytes read: (\d+)", listed.stderr, re.MULTILINE)
    # Of an archive that is not packed, tar reads the headers alone.
    stored = max(int(total.group(1)) if total else 0, archive.stat().st_size)
    free = shutil.disk_usage(into).free
    if free < _COPIES * stored + _SPARE:
        said = f"{stored} bytes when unpacked, which takes {_COPIES} times as much here, and {free} are free"
        hint = "free some space in the cache folder, or name another one with LAB_CACHE"
        raise ImageError(f"{spelled(str(archive))}: {said}", hint=hint)


def _member(name: str, into: Path, place: str) -> Member:
    path = into / name
    try:
        found = path.lstat()
    except OSError as missing:
        raise ImageError(f"{place}: {spelled(name)}: tar has not unpacked it", hint=_UNPACK_YOURSELF) from missing
    inside = path.resolve().is_relative_to(into.resolve())
    if not stat.S_ISREG(found.st_mode) or not inside:
        raise ImageError(f"{place}: {spelled(name)} is no file of its own", hint=_UNPACK_YOURSELF)
    path.chmod(0o600)
    return Member(PurePosixPath(name), path)
