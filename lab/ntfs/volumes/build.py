"""From a recipe to a volume: mkntfs, the tree written through ntfs-3g, the edits on the finished file."""

from __future__ import annotations

import os
import struct
import tempfile
from pathlib import Path

from lab.deadline import Deadline
from lab.errors import ImageError
from lab.ntfs.manifest import Times
from lab.ntfs.volumes.fuse import mounted
from lab.ntfs.volumes.recipe import Recipe, Volume
from lab.ntfs.volumes.tree import Directory, File, Item, times_of
from lab.process import run

__all__ = ["build"]

_COMPRESSED = 0x800
_OPTIONS = ("rw", "noatime", "streams_interface=xattr", "big_writes")


def build(recipe: Recipe, into: Path, deadline: Deadline) -> Volume:
    """Build ``recipe`` as ``into/NAME.img``, a sparse file that is there whole or not at all.

    Raises:
        MissingToolError: mkntfs or ntfs-3g is not installed.
        UnsupportedError: this machine cannot mount by FUSE.
        ImageError: the file cannot be written.
        DeadlineError: it was not done in time.
    """
    path = into / f"{recipe.name}.img"
    try:
        into.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{recipe.name}-", dir=into) as work:
            draft = Path(work) / "volume.img"
            _format(recipe, draft, deadline)
            _fill(recipe, draft, Path(work), deadline)
            for edit in recipe.edits:
                edit(draft)
            draft.replace(path)
    except OSError as broken:
        if broken.errno is None:  # one of our own family
            raise
        raise ImageError(f"{path}: cannot be built: {broken.strerror}", hint="is there room on the disk?") from broken
    return Volume(path, recipe, recipe.manifest())


def _format(recipe: Recipe, draft: Path, deadline: Deadline) -> None:
    with draft.open("wb") as file:
        file.truncate(recipe.size)
    words = ["mkntfs", "--force", "--quick", "--quiet", "--zero-time", "--label", recipe.name]
    words += ["--cluster-size", str(recipe.cluster), "--sector-size", str(recipe.sector)]
    # A plain file has no geometry to ask for; without these three mkntfs warns and guesses.
    words += ["--partition-start", "0", "--heads", "16", "--sectors-per-track", "63", str(draft)]
    run(*words, deadline=deadline).check()


def _fill(recipe: Recipe, draft: Path, work: Path, deadline: Deadline) -> None:
    at = work / "mnt"
    at.mkdir()
    with mounted(draft, at, options=(*_OPTIONS, *recipe.options), deadline=deadline) as root:
        for item in recipe.items:
            deadline.check(f"{recipe.name}: writing {item.path!a}")
            _write(item, root / item.path)
        # Deepest first, and after everything is written: a new name changes its directory's times.
        for item in sorted(recipe.items, key=lambda item: item.path.count("/"), reverse=True):
            _stamp(root / item.path, times_of(item.path))


def _write(item: Item, path: Path) -> None:
    if isinstance(item, Directory):
        path.mkdir()
        if item.compressed:
            os.setxattr(path, "system.ntfs_attrib", struct.pack("<I", _COMPRESSED))
        return
    _write_file(item, path)


def _write_file(item: File, path: Path) -> None:
    content = item.content
    with path.open("xb", buffering=0) as file:
        for extent in content.extents:
            file.seek(extent.offset)
            file.write(extent.bytes())
        if file.seek(0, os.SEEK_END) < content.size:
            file.truncate(content.size)
    for name, stream in item.streams:
        os.setxattr(path, f"user.{name}", b"".join(stream.chunks()))


def _stamp(path: Path, times: Times) -> None:
    """ntfs-3g takes creation, modification and access time in this order, exact to 100 ns."""
    os.setxattr(path, "system.ntfs_times", struct.pack("<3Q", times.created, times.modified, times.accessed))
