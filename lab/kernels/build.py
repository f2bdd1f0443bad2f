"""Kernel modules that Debian does not ship, compiled for its kernels from its own packages, and kept in the cache."""

from __future__ import annotations

import json
import os
import shutil
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from lab.cache import Cache, fingerprint
from lab.deadline import Deadline
from lab.debian.archive import Package
from lab.debian.kernel import Kernel
from lab.errors import LabError, UnsupportedError
from lab.events import step
from lab.kernels.build_recipe import Built
from lab.kernels.build_system import BuildSystem, build_system
from lab.process import Completed, run

__all__ = ["BuiltModule", "ModuleBuildError", "obtain_module"]

_FACTS = "built.json"
_LAST_LINES = 4


class ModuleBuildError(LabError, OSError):
    """A module cannot be compiled; the last lines are in the message, and where all of them lie."""


@dataclass(frozen=True, slots=True)
class BuiltModule:
    """A compiled module. ``source`` is its package and version, ``srcversion`` modpost's hash of what it was made of.

    ``kernel`` is what ``uname -r`` says where it can be loaded.
    """

    folder: Path
    module: str
    kernel: str
    source: str
    srcversion: str
    options: str

    @property
    def file(self) -> Path:
        """The module, without what only a debugger reads."""
        return self.folder / f"{self.module}.ko"

    @property
    def facts(self) -> str:
        """All of this as JSON, but where it is."""
        found = {name: value for name, value in asdict(self).items() if name != "folder"}
        return json.dumps(found, indent=1) + "\n"


@contextmanager
def obtain_module(
    cache: Cache, suite: str, kernel: Kernel, built: Built, *, deadline: Deadline
) -> Iterator[BuiltModule]:
    """The module for ``kernel``, which is of ``suite``; compiled now if it is not in the cache.

    Raises:
        UnsupportedError: it is not built for kernels of that suite.
        PackageError: the suite lacks its source or the kernel's headers.
        ModuleBuildError: it cannot be compiled.
    """
    source = built.source(suite)
    if source is None:
        raise UnsupportedError(f"{built.module} is not built for {suite}", reason="module-not-built")
    package = Package(source.package, source.version or kernel.package_version)
    system = build_system(cache, suite, kernel, deadline=deadline)
    key = fingerprint(
        *("module 1", kernel.release, kernel.package_version, system.headers, package, built.directory),
        *(built.make_variables, system.rootfs.key(cache, deadline=deadline)),
    )

    def build(folder: Path) -> None:
        _Making(folder, kernel, built, package, system, deadline).make()

    title = f"module {built.module} for {kernel.release}"
    with cache.use("module", key, build, deadline=deadline, title=title) as folder:
        yield BuiltModule(folder, **json.loads((folder / _FACTS).read_text()))


@dataclass(frozen=True, slots=True)
class _Making:
    """One module on its way into ``folder``."""

    folder: Path
    kernel: Kernel
    built: Built
    package: Package
    system: BuildSystem
    deadline: Deadline

    def make(self) -> None:
        root = self.folder / "root"
        self.system.build(root, work=self.folder, deadline=self.deadline)
        place = root / "build" / self.built.module
        self._source(place)
        with step("compile", module=self.built.module, kernel=self.kernel.release):
            self._compile(root, place)
        made = place / f"{self.built.module}.ko"
        made.rename(self.folder / made.name)
        (self.folder / _FACTS).write_text(self._check(self.folder / made.name).facts)
        shutil.rmtree(root)

    def _source(self, place: Path) -> None:
        """The module's own folder of the source package, at ``place``."""
        into = self.folder
        (deb,) = self.system.archive.download((self.package,), into, deadline=self.deadline)
        run("dpkg-deb", "-x", deb, into / "source", deadline=self.deadline).check()
        deb.unlink()
        packed = into / "source" / "usr" / "src" / f"{self.package.name}.tar.xz"
        with step("unpack the source", package=self.package.name):
            unpack_folder(packed, f"{self.package.name}/{self.built.directory}", place, deadline=self.deadline)
        shutil.rmtree(into / "source")

    def _compile(self, root: Path, place: Path) -> None:
        inside = f"/{place.relative_to(root)}"
        jobs = f"-j{len(os.sched_getaffinity(0))}"
        headers = f"/usr/src/{self.system.headers.name}"
        words = ("make", jobs, "-C", headers, f"M={inside}", *self.built.make_variables, "modules")
        done = self.system.run(root, *words, deadline=self.deadline)
        if not done:
            raise self._failure(done)
        stripped = self.system.run(root, "strip", "-g", f"{inside}/{self.built.module}.ko", deadline=self.deadline)
        if not stripped:
            raise self._failure(stripped)

    def _failure(self, done: Completed) -> ModuleBuildError:
        # The folder goes with the failure; the log stays beside it.
        log = self.folder.parent / f"failed-{self.built.module}-{self.kernel.release}.log"
        log.write_bytes(done.stdout + done.stderr)
        said = [line for line in done.stderr.decode("utf-8", "backslashreplace").splitlines() if line.strip()]
        words = " | ".join(said[-_LAST_LINES:]) or "it said nothing"
        return ModuleBuildError(
            f"{self.built.module} for {self.kernel.release}: status {done.status}: {words}",
            hint=f"all that the compiler said is in {log}",
        )

    def _check(self, file: Path) -> BuiltModule:
        """What modinfo(8) says of it, if that is what was wanted.

        Raises:
            ModuleBuildError: it is for another kernel, or has no srcversion.
        """
        magic, srcversion = (
            run("modinfo", "-F", field, file, deadline=self.deadline).check().text.strip()
            for field in ("vermagic", "srcversion")
        )
        if magic.split(" ")[0] != self.kernel.release or not srcversion:
            raise ModuleBuildError(
                f"{file.name} for {self.kernel.release}: vermagic is {magic!r}, srcversion {srcversion or 'none'}"
            )
        source = f"{self.package.name} {self.package.version}"
        options = " ".join(f"{name}={value}" for name, value in self.built.options)
        return BuiltModule(self.folder, self.built.module, self.kernel.release, source, srcversion, options)


def unpack_folder(packed: Path, wanted: str, into: Path, *, deadline: Deadline) -> None:
    """Unpack one folder of a packed source tree to ``into``.

    Raises:
        ModuleBuildError: the tree has no such folder.
    """
    inside = f"{wanted}/"
    found = False
    with tarfile.open(packed, "r|xz") as tree:
        for member in tree:
            deadline.check(f"unpacking {packed.name}")
            if member.name.startswith(inside):
                found = True
                file = tree.extractfile(member) if member.isreg() else None
                if file is not None:
                    path = into / member.name.removeprefix(inside)
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(file.read())
            elif found:
                break  # a folder's files follow each other; the rest of a gigabyte need not be unpacked
    if not found:
        raise ModuleBuildError(
            f"{packed.name} has no {wanted}",
            hint="kernels lose drivers in updates, too: name a version of the source that still has it",
        )
