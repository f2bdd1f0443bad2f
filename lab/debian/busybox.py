"""A statically linked busybox of the right architecture, from the machine's mirror."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lab.cache import Cache, fingerprint
from lab.deadline import Deadline
from lab.debian.archive import Archive
from lab.process import run

__all__ = ["obtain_busybox"]


@contextmanager
def obtain_busybox(cache: Cache, arch: str, *, deadline: Deadline) -> Iterator[Path]:
    """The program file; any kernel of ``arch`` runs it."""
    archive = Archive(cache, "bookworm", arch)
    packages = archive.family("busybox-static", "busybox-", deadline=deadline)

    def build(folder: Path) -> None:
        for deb in archive.download(packages, folder, deadline=deadline):
            run("dpkg-deb", "-x", deb, folder / "root", deadline=deadline).check()
            deb.unlink()

    with cache.use("busybox", fingerprint(arch, packages), build, deadline=deadline) as folder:
        yield next(
            found for found in (folder / "root").rglob("busybox") if found.is_file() and found.parent.name == "bin"
        )
