"""Debian kernels: fetched as packages, taken apart once, kept in the cache as ELF + modules."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lab.cache import Cache, fingerprint
from lab.deadline import Deadline
from lab.debian.archive import Archive
from lab.debian.bzimage import extract_vmlinux
from lab.errors import ImageError
from lab.process import run

__all__ = ["Kernel", "kernel_package", "obtain_kernel"]


@dataclass(frozen=True, slots=True)
class Kernel:
    """A kernel on this machine's disk. ``release`` is what uname -r will say; ``package_version`` is Debian's."""

    folder: Path
    release: str
    package_version: str
    arch: str

    @property
    def elf(self) -> Path:
        """The uncompressed kernel, as libxl and QEMU's multiboot loader want it."""
        return self.folder / "vmlinux"

    @property
    def bzimage(self) -> Path:
        """The kernel as packaged."""
        return self.folder / "vmlinuz"

    @property
    def modules(self) -> Path:
        """The tree that belongs at /lib/modules/RELEASE, with module dependencies worked out."""
        return self.folder / "root" / "lib" / "modules" / self.release

    def config(self) -> dict[str, str]:
        """The kernel's build configuration: option -> y, m or a value."""
        text = (self.folder / "config").read_text()
        return dict(re.findall(r"^(CONFIG_\w+)=(.*)$", text, re.MULTILINE))


def kernel_package(arch: str, flavour: str) -> str:
    """The name of Debian's metapackage for the newest kernel of a flavour.

    >>> kernel_package("amd64", "cloud"), kernel_package("i386", "686-pae")
    ('linux-image-cloud-amd64', 'linux-image-686-pae')
    """
    match flavour:
        case "cloud":
            return f"linux-image-cloud-{arch}"
        case "generic":
            return f"linux-image-{arch}"
        case _:
            return f"linux-image-{flavour}"


@contextmanager
def obtain_kernel(cache: Cache, suite: str, *, arch: str, flavour: str, deadline: Deadline) -> Iterator[Kernel]:
    """The newest kernel of that kind in ``suite``, fetched and unpacked if it is not in the cache.

    Raises:
        PackageError: the suite has none.
    """
    archive = Archive(cache, suite, arch)
    meta = kernel_package(arch, flavour)
    packages = archive.family(meta, "linux-", deadline=deadline)

    def build(folder: Path) -> None:
        debs = folder / "debs"
        debs.mkdir()
        root = folder / "root"
        # The metapackage holds no file, and a mirror has been seen to lack it alone (bullseye's, 5.10.262-1).
        wanted = tuple(package for package in packages if package.name != meta)
        for deb in archive.download(wanted, debs, deadline=deadline):
            run("dpkg-deb", "-x", deb, root, deadline=deadline).check()
        shutil.rmtree(debs)
        release = _adopt(folder, root, deadline)
        version = next((each.version for each in packages if release in each.name), packages[0].version)
        (folder / "release").write_text(f"{release}\n{version}\n")

    key = fingerprint("kernel 2", packages)
    with cache.use("kernel", key, build, deadline=deadline, title=f"kernel {suite} {arch} {flavour}") as folder:
        release, version = (folder / "release").read_text().split()
        yield Kernel(folder, release, version, arch)


def _adopt(folder: Path, root: Path, deadline: Deadline) -> str:
    trees = [tree for base in ("lib", "usr/lib") for tree in (root / base / "modules").glob("*") if tree.is_dir()]
    images = [
        *root.glob("boot/vmlinuz-*"),
        *root.glob("usr/lib/modules/*/vmlinuz"),
        *root.glob("lib/modules/*/vmlinuz"),
    ]
    if not trees or not images:
        raise ImageError(f"{root}: the kernel's packages hold {len(images)} images and {len(trees)} module trees")
    release = trees[0].name
    wanted = root / "lib" / "modules" / release
    if trees[0] != wanted:
        # From trixie on packages are usr-merged; the lab keeps one layout, and depmod -b reads lib/modules.
        wanted.parent.mkdir(parents=True, exist_ok=True)
        trees[0].rename(wanted)
        images = [image if image.exists() else wanted / image.name for image in images]
    shutil.copy(images[0], folder / "vmlinuz")
    configs = [*root.glob("boot/config-*"), *root.glob("usr/lib/modules/*/config"), *wanted.glob("config")]
    shutil.copy(configs[0], folder / "config") if configs else (folder / "config").touch()
    extract_vmlinux(folder / "vmlinuz", folder / "vmlinux", deadline=deadline)
    run("depmod", "-b", root, release, deadline=deadline).check()
    shutil.rmtree(root / "boot", ignore_errors=True)
    shutil.rmtree(root / "usr", ignore_errors=True)
    return release
