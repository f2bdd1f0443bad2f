"""Volumes that are whole, but not to be taken for granted: hibernated, an unclean log, a medium nobody may write."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from lab.ntfs.ondisk.logfile import Log, pages
from lab.ntfs.ondisk.mft import LOG_FILE, Mft
from lab.ntfs.volumes.content import Content, Extent, text
from lab.ntfs.volumes.mixture import MIB, mixture
from lab.ntfs.volumes.recipe import Recipe, State, recipes
from lab.ntfs.volumes.tree import Directory, File

__all__: list[str] = []

_SIZE = 24 * MIB


def _hibernated(signature: bytes) -> File:
    """The header of a hibernation file; the rest is zeros, as after a first hibernation of a machine without memory."""
    return File("hiberfil.sys", Content(2 * MIB, (Extent(0, len(signature), "", raw=signature),)))


for _name, _signature, _state, _what in (
    ("hibernated", b"hibr", State.HIBERNATED, "Windows sleeps on it, and will go on with what it remembers"),
    ("hibernated-upper", b"HIBR", State.HIBERNATED, "the same by the signature of Windows 8 and later"),
    ("resumed", b"\0\0\0\0", State.CLEAN, "its hibernation file has been used up: no longer hibernated"),
):
    recipes.add(
        Recipe(_name, _what, (_hibernated(_signature), Directory("Windows"), *mixture(4096)), state=_state, size=_SIZE)
    )


def _write_log(path: Path, *, clean: bool, major: int) -> None:
    with Mft.open(path, write=True) as mft:
        run, size = mft.first_run(LOG_FILE)
        for offset, page in pages(Log(size, clean, major)):
            mft.write_bytes(run, offset, page)


for _name, _clean, _major, _what in (
    ("unclean-log", False, 1, "its log says that a system had it mounted when the plug was pulled"),
    ("unclean-log-2", False, 2, "the same in the format of Windows 8 and later (fast startup leaves it so)"),
    ("clean-log", True, 1, "its log says that it was left cleanly"),
):
    recipes.add(
        Recipe(
            _name,
            _what,
            (File("log.txt", text(_name, 3000)), *mixture(4096)),
            state=State.CLEAN if _clean else State.UNCLEAN_LOG,
            size=_SIZE,
            edits=(partial(_write_log, clean=_clean, major=_major),),
        )
    )

READ_ONLY_MEDIUM = recipes.add(
    Recipe("read-only-medium", "a sound volume on a write-protected medium", mixture(4096), size=_SIZE, read_only=True)
)
