"""ntfsck of ntfsprogs-plus: the checker that looks into every record, index and bitmap.

Debian has it since forky only, and there it shuts ntfs-3g out. So its package is unpacked into the cache with the
libraries that it was built for, and run by their own loader: nothing of this machine is touched.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from lab.cache import Cache, fingerprint
from lab.deadline import Deadline
from lab.debian.archive import Archive, Package
from lab.errors import LabError
from lab.events import emit
from lab.ntfs.checker import Checker
from lab.process import Completed, run

__all__ = ["NTFSCK", "found_by_ntfsck", "ntfsck", "ntfsck_if_any"]

NTFSCK = "ntfsck"
"""Its name among the checkers."""

_SUITE = "forky"
_PACKAGE = "ntfsprogs-plus"
_NOT_NEEDED = ("gcc-", "libc-gconv-")


@contextmanager
def ntfsck(cache: Cache, deadline: Deadline) -> Iterator[Checker]:
    """The checker, unpacked if it is not in the cache; it stays there as long as the context lasts.

    Raises:
        LabError: the package cannot be had, or is not what it was.
    """
    archive = Archive(cache, _SUITE)
    needed = tuple(
        package
        for package in archive.closure((_PACKAGE,), deadline=deadline)
        if not package.name.startswith(_NOT_NEEDED)
    )
    key = fingerprint("ntfsck 1", [(package.name, package.version) for package in needed])
    build = partial(_unpack, archive, needed, deadline)
    with cache.use("ntfsck", key, build, deadline=deadline, title=f"ntfsck ({_SUITE})") as folder:
        words = _words(folder / "root")
        yield Checker(NTFSCK, lambda: words, found_by_ntfsck)


@contextmanager
def ntfsck_if_any(cache: Cache, deadline: Deadline) -> Iterator[Checker | None]:
    """The checker, or None where it cannot be had: what it would have said is missing then, which an event tells."""
    with ExitStack() as stack:
        try:
            checker = stack.enter_context(ntfsck(cache, deadline))
        except LabError as trouble:
            emit("checker trouble", checker=NTFSCK, why=trouble.message)
            checker = None
        yield checker


def _unpack(archive: Archive, packages: tuple[Package, ...], deadline: Deadline, folder: Path) -> None:
    (folder / "debs").mkdir()
    for deb in archive.download(packages, folder / "debs", deadline=deadline):
        run("dpkg-deb", "-x", deb, folder / "root", deadline=deadline).check()
        deb.unlink()


def _words(root: Path) -> tuple[str, ...]:
    program = next(iter(sorted(root.glob("**/ntfsck"))), None)
    loader = next(iter(sorted(root.glob("**/ld-linux-x86-64.so.2"))), None)
    if program is None or loader is None:
        raise LabError(f"{root}: no ntfsck, or no loader, in the packages of {_SUITE}")
    libraries = sorted({str(library.parent) for library in root.glob("**/*.so*") if library.is_file()})
    return (str(loader), "--library-path", ":".join(libraries), str(program), "-n")


_NOISE = re.compile(r"^$|percent completed|^Parse #\d+|errors found|errors left", re.IGNORECASE)
"""How far it is, and its sums."""

_LINE = re.compile(r"[\r\n]|(?<=Truncate it)(?=\S)")
"""Where one of its lines ends; that of a broken run list has no end of its own."""

_QUESTION = re.compile(r"[.,]? ?(Fix it\? No|Truncate it|Fix it)$")
"""What it would do, and the answer that ``-n`` gives; neither says anything of the volume."""

_LAST = "Parse #6:"
"""Version 1.0.0 has six. Where the root directory is not one any more it gives up in the second, says "Clean, No errors
found" and ends with 0 all the same; of a sound volume it may say what it does not count as an error.
"""


def found_by_ntfsck(done: Completed) -> tuple[str, ...]:
    """What it would have mended, a line each. It ends with 0 where there is nothing, or where it has given up."""
    said = (done.stdout + done.stderr).decode("utf-8", "backslashreplace")
    if done and _LAST in said:
        return ()
    lines = tuple(_QUESTION.sub("", line) for line in map(str.strip, _LINE.split(said)) if not _NOISE.search(line))
    if done:
        return (*lines, "it gave up before its last pass")
    return lines or (f"it ended with status {done.status}",)
