"""Folders of images: which files below one are images or archives of them, by their names or by how they begin."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lab.errors import LabError, UsageError
from lab.ntfs.images.archive import begins_like_tar
from lab.ntfs.images.container import sniff
from lab.ntfs.images.source import reading
from lab.ntfs.naming import spelled

__all__ = ["Below", "look_below"]

_IMAGE = r"img|image|ima|raw|dd|ntfs|vhdx?|avhdx?|vmdk|vdi|q?cow2?|qed|hdd|e01|ex01"
_PACK = r"gz|xz|zst|bz2|lz"
_CALLED = re.compile(rf".*\.(({_IMAGE})(\.({_PACK}))?|tar(\.({_PACK}))?|t(gz|xz|zst|bz2?))", re.IGNORECASE)
"""As who makes images calls them; what else is packed are logs and manuals."""

_NAMED = 3


@dataclass(frozen=True, slots=True)
class Below:
    """What is below ``folder``: ``images``, and ``others`` that do not look like any."""

    folder: Path
    images: tuple[Path, ...]
    others: tuple[Path, ...] = ()

    @property
    def note(self) -> str:
        """What was passed over; empty if nothing was."""
        if not self.others:
            return ""
        named = ", ".join(spelled(str(path.relative_to(self.folder))) for path in self.others[:_NAMED])
        more = f" and {len(self.others) - _NAMED} more" if len(self.others) > _NAMED else ""
        return f"{spelled(str(self.folder))}: passed over, for they do not look like images: {named}{more}"


def look_below(folder: Path) -> Below:
    """All files below ``folder``, in the order of their names. Folders that are links are not entered.

    Raises:
        UsageError: there is no image below it.
    """
    images, others = list[Path](), list[Path]()
    for path in _files(folder):
        (images if _looks_like_one(path) else others).append(path)
    if not images:
        raise UsageError(f"{spelled(str(folder))}: a folder without an image", hint="name images, or a folder of them")
    return Below(folder, tuple(images), tuple(others))


def _files(folder: Path) -> Iterator[Path]:
    for at, folders, names in os.walk(folder):
        folders.sort()
        yield from (Path(at) / name for name in sorted(names))


def _looks_like_one(path: Path) -> bool:
    if not path.is_file():  # a pipe, a device, a link to nothing
        return False
    if _CALLED.fullmatch(path.name):
        return True
    try:
        with reading(path) as file:
            form = sniff(file)
            file.seek(0)
            first = file.read(512)
    except LabError:
        return False
    boots = first[3:11] == b"NTFS    " or first[510:] == b"\x55\xaa"
    return boots or form != "raw" or begins_like_tar(first)
