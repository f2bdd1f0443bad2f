"""The files that a user's words stand for: images, and what is in folders and archives of them."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from lab import events
from lab.deadline import Deadline
from lab.errors import LabError
from lab.ntfs.images.archive import is_archive, unpack
from lab.ntfs.images.folder import look_below
from lab.ntfs.images.source import look
from lab.ntfs.naming import spelled

__all__ = ["Files", "ImageFile", "at_fault", "find_files", "moving_seconds"]

_log = logging.getLogger(__name__)

_PACKED = 4
"""How much more than what is in an archive takes to move what comes out of it; it is read twice, besides."""


@dataclass(frozen=True, slots=True)
class ImageFile:
    """A file to read at ``path``, which the user knows as ``origin`` and whose row is named after ``label``.

    ``trouble`` is why an archive could not be unpacked: then there is nothing to read.
    """

    path: Path
    origin: Path
    label: Path
    trouble: LabError | None = None

    @classmethod
    def plain(cls, path: Path, trouble: LabError | None = None) -> ImageFile:
        """One that is what the user named."""
        return cls(path, path, path, trouble)

    @property
    def is_ours(self) -> bool:
        """Whether the lab has made it."""
        return self.path != self.origin


@dataclass(slots=True)
class Files:
    """What there is to open, what was wrong with a folder, and what a reader may want to know."""

    images: list[ImageFile] = field(default_factory=list)
    troubles: list[LabError] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def find_files(named: Sequence[Path], work: Path) -> Files:
    """The image files that are meant by ``named``; archives are unpacked to folders of their own in ``work``.

    An image that is named twice, by whatever names, is there once.
    """
    found = Files()
    once = _once(list(_without_folders(named, found)), found.notes)
    for number, path in enumerate(once):
        if not (path.is_file() and is_archive(path)):
            found.images.append(ImageFile.plain(path))
            continue
        into = work / f"unpacked-{number}"
        into.mkdir()
        try:
            with events.step("unpack an archive", archive=spelled(str(path))):
                found.images += _unpacked(path, into, found.notes)
        except Exception as trouble:  # noqa: BLE001 - whatever an archive does to the lab, the others have their rows
            found.images.append(ImageFile.plain(path, at_fault(trouble, spelled(str(path)))))
    return found


def at_fault(trouble: Exception, place: str) -> LabError:
    """Itself; or, for what the lab has not foreseen, an error that says where it was."""
    if isinstance(trouble, LabError):
        return trouble
    _log.error("%s: not foreseen", place, exc_info=trouble)
    said = f"{place}: the lab itself failed on it: {type(trouble).__name__}: {trouble}"
    return LabError(said, hint="this is a bug of the lab; the others are tried all the same")


def moving_seconds(size: int) -> float:
    """Time to copy or convert ``size`` bytes; a disk that does less than 5 MB/s is at its end."""
    return 300.0 + size / 5_000_000


def _without_folders(named: Iterable[Path], found: Files) -> Iterator[Path]:
    for path in named:
        if not path.is_dir():
            yield path
            continue
        try:
            below = look_below(path)
        except LabError as trouble:
            found.troubles.append(trouble)
            continue
        found.notes += [below.note] if below.note else []
        yield from below.images


def _unpacked(archive: Path, into: Path, notes: list[str]) -> Iterator[ImageFile]:
    seconds = _PACKED * moving_seconds(archive.stat().st_size)
    unpacked = unpack(archive, into, Deadline(seconds))
    if unpacked.others:
        notes.append(f"{spelled(str(archive))}: passed over, for they are no files: {unpacked.others} links or devices")
    # Most archives of images hold one, and are called as it is.
    alone = len(unpacked.members) == 1 and archive.name.startswith(unpacked.members[0].name.name)
    for member in unpacked.members:
        inside = archive / member.name
        yield ImageFile(
            member.path, archive if alone else inside, archive.parent / member.name.name if alone else inside
        )


def _once(images: Iterable[Path], notes: list[str]) -> list[Path]:
    """Each image by the first of its names. One that cannot be looked at is told when it is opened."""
    first: dict[tuple[int, ...], Path] = {}
    kept = []
    for image in dict.fromkeys(images):
        with suppress(LabError):
            known = first.setdefault(look(image).identity, image)
            if known is not image:
                notes.append(f"{spelled(str(image))}: {spelled(str(known))} by another name; tried once")
                continue
        kept.append(image)
    return kept
