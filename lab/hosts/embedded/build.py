"""From a recipe to an image that QEMU can boot: root disk, Xen, dom0 kernel and initrd."""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lab.cache import Cache, fingerprint
from lab.deadline import Deadline
from lab.debian.busybox import obtain_busybox
from lab.debian.bzimage import extract_vmlinux
from lab.debian.initrd import build_initrd
from lab.debian.kernel import Kernel
from lab.debian.rootfs import make_ext4
from lab.hosts.embedded.recipe import DOM0_MODULES, EmbeddedRecipe

__all__ = ["HostImage", "obtain_host_image"]

_DISK_MIB = 6144


@dataclass(frozen=True, slots=True)
class HostImage:
    """The files of one host. ``key`` names their content."""

    key: str
    folder: Path

    @property
    def disk(self) -> Path:
        """Raw ext4, never written: every host runs on an overlay."""
        return self.folder / "disk.raw"

    @property
    def xen(self) -> Path:
        """The hypervisor as the 32-bit ELF that QEMU's multiboot loader wants."""
        return self.folder / "xen"

    @property
    def kernel(self) -> Path:
        """dom0's kernel as an ELF: Xen would need 10 s to unpack the packaged one under emulation."""
        return self.folder / "vmlinux"

    @property
    def initrd(self) -> Path:
        """dom0's small initrd."""
        return self.folder / "initrd"


@contextmanager
def obtain_host_image(cache: Cache, recipe: EmbeddedRecipe, *, deadline: Deadline) -> Iterator[HostImage]:
    """The image of a recipe, built if it is not in the cache."""
    key = fingerprint("host 2", recipe.rootfs.key(cache, deadline=deadline), DOM0_MODULES)
    with obtain_busybox(cache, "amd64", deadline=deadline) as busybox:

        def build(folder: Path) -> None:
            root = folder / "root"
            recipe.rootfs.build(cache, root, work=folder, deadline=deadline)
            _boot_files(root, folder, recipe.xen, busybox, deadline)
            make_ext4(root, folder / "disk.raw", size_mib=_DISK_MIB, label=recipe.name, deadline=deadline)
            shutil.rmtree(root)

        with cache.use("host", key, build, deadline=deadline, title=f"host {recipe.name}") as folder:
            yield HostImage(key, folder)


def _boot_files(root: Path, folder: Path, xen: str, busybox: Path, deadline: Deadline) -> None:
    (folder / "xen").write_bytes(gzip.decompress((root / f"boot/xen-{xen}-amd64.gz").read_bytes()))
    image = next(root.glob("boot/vmlinuz-*"))
    release = image.name.removeprefix("vmlinuz-")
    extract_vmlinux(image, folder / "vmlinux", deadline=deadline)
    # The kernel of the root file system, seen as the lab's own kernels are: FOLDER/root/lib/modules/RELEASE.
    kernel = Kernel(folder, release, "", "amd64")
    work = folder / "initrd.d"
    build_initrd(kernel, DOM0_MODULES, busybox, folder / "initrd", work=work, deadline=deadline)
    shutil.rmtree(work)
