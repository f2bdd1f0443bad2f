"""From a recipe to a volume: mkntfs, the tree written through ntfs-3g, the edits on the finished file."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from lab.deadline import Deadline
from lab.errors import ImageError
from lab.ntfs.fuse import mounted
from lab.ntfs.ondisk.volume_information import write_flags
from lab.ntfs.volumes.finish import finish
from lab.ntfs.volumes.recipe import Recipe, Volume
from lab.ntfs.volumes.record_size import keep_sector_size
from lab.ntfs.volumes.settle import settle
from lab.ntfs.volumes.tree import Crowd, Directory, File, HardLink, Item, Special, singles, times_of
from lab.ntfs.volumes.write import decorate, options_for, write
from lab.process import run

__all__ = ["build"]


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
            _settle(recipe, draft)
            for edit in recipe.edits:
                deadline.check(f"{recipe.name}: the edits")
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
    words += ["--cluster-size", str(recipe.cluster), "--sector-size", str(max(recipe.sector, recipe.record))]
    # A plain file has no geometry to ask for; without these three mkntfs warns and guesses.
    words += ["--partition-start", "0", "--heads", "16", "--sectors-per-track", "63", str(draft)]
    run(*words, deadline=deadline).check()


def _fill(recipe: Recipe, draft: Path, work: Path, deadline: Deadline) -> None:
    at = work / "mnt"
    at.mkdir()
    items = tuple(singles(recipe.items))
    with mounted(draft, at, options=(*options_for(items), *recipe.options), deadline=deadline) as root:
        write(items, root, lambda path: deadline.check(f"{recipe.name}: writing {path!a}"))
        # Deepest first, and after everything is written: a new name changes its directory's times.
        for item in sorted(_decorated(recipe.items), key=lambda item: item.path.count("/"), reverse=True):
            decorate(item, root)


def _decorated(items: Iterable[Item]) -> Iterator[Directory | File | Special]:
    """What is decorated through the driver; of a crowd, only its directory."""
    for item in items:
        if isinstance(item, Crowd):
            yield Directory(item.path)
        elif not isinstance(item, HardLink):
            yield item


def _settle(recipe: Recipe, draft: Path) -> None:
    if recipe.record > recipe.sector:
        keep_sector_size(draft, recipe.sector)
    items = tuple(_decorated(recipe.items))
    finish(items, draft)
    found = {item.path: times_of(item).changed for item in items}
    changed = {path: time for path, time in found.items() if time is not None}
    crowds = [item for item in recipe.items if isinstance(item, Crowd)]
    settle(draft, serial=recipe.serial, changed=changed, crowds=crowds)
    if recipe.flags:
        write_flags(draft, recipe.flags)
