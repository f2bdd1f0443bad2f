"""Guest images: the disk and the boot files of one recipe, ready to be copied for a guest."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from lab.cache import Cache, fingerprint
from lab.deadline import Deadline
from lab.debian.busybox import obtain_busybox
from lab.debian.initrd import INITRD_VERSION, build_initrd
from lab.debian.kernel import Kernel, obtain_kernel
from lab.debian.rootfs import make_ext4
from lab.debian.xen_notes import based_at_zero
from lab.guests.recipe import BOOT_MODULES, guest_rootfs
from lab.keys import Keys
from lab.process import run
from lab.scenario.cell import GuestRequest, KernelRequest

__all__ = ["BootFiles", "GuestImage", "obtain_boot_files", "obtain_guest_image"]

_DISK_MIB = 2048


@dataclass(frozen=True, slots=True)
class BootFiles:
    """A kernel as libxl starts it fastest: the ELF and a small initrd on an ext4 disk that a host can mount.

    ``key`` names its content. Through QEMU's 9p share the same files came at 8 MB/s, from a disk at 180.
    """

    key: str
    kernel: Kernel
    folder: Path

    @property
    def disk(self) -> Path:
        """ext4 with ``vmlinux`` and ``initrd``."""
        return self.folder / "disk.raw"

    @property
    def initrd(self) -> Path:
        """The initrd alone, for who boots without a host."""
        return self.folder / "initrd"


@dataclass(frozen=True, slots=True)
class GuestImage:
    """What a guest starts from. ``disk`` is never written; :meth:`copy_disk` makes the guest's own."""

    disk: Path
    boot: BootFiles
    init: str

    def copy_disk(self, into: Path, *, deadline: Deadline) -> None:
        """A sparse copy that the guest may write."""
        run("cp", "--sparse=always", "--reflink=auto", self.disk, into, deadline=deadline).check()


@contextmanager
def obtain_boot_files(cache: Cache, request: KernelRequest, *, deadline: Deadline) -> Iterator[BootFiles]:
    """A kernel with the initrd that brings a guest onto its root disk."""
    with ExitStack() as stack:
        kernel = stack.enter_context(
            obtain_kernel(cache, request.release, arch=request.arch, flavour=request.flavour, deadline=deadline)
        )
        busybox = stack.enter_context(obtain_busybox(cache, request.arch, deadline=deadline))

        def build(folder: Path) -> None:
            work, root = folder / "work", folder / "root"
            root.mkdir()
            build_initrd(kernel, BOOT_MODULES, busybox, root / "initrd", work=work, deadline=deadline)
            (root / "vmlinux").write_bytes(_for_libxl(kernel))
            shutil.copy(root / "initrd", folder / "initrd")
            size = 16 + sum(file.stat().st_size for file in root.iterdir()) // (1 << 20)
            make_ext4(root, folder / "disk.raw", size_mib=size, label="boot", deadline=deadline)
            shutil.rmtree(work)
            shutil.rmtree(root)

        making = "boot 2" if kernel.arch == "amd64" else "boot 3"
        key = fingerprint(making, INITRD_VERSION, kernel.folder.name, busybox.parents[3].name, BOOT_MODULES)
        folder = stack.enter_context(
            cache.use("boot", key, build, deadline=deadline, title=f"boot disk {kernel.release}")
        )
        yield BootFiles(key, kernel, folder)


def _for_libxl(kernel: Kernel) -> bytes:
    """The ELF that a domain is started from. A 32-bit kernel runs as PVH only, and 4.14 takes it only like this."""
    elf = kernel.elf.read_bytes()
    return based_at_zero(elf) if kernel.arch == "i386" else elf


@contextmanager
def obtain_guest_image(cache: Cache, request: GuestRequest, keys: Keys, *, deadline: Deadline) -> Iterator[GuestImage]:
    """The image of a guest, built if it is not in the cache."""
    rootfs = guest_rootfs(request.system, request.release, request.userland, keys)

    def build(folder: Path) -> None:
        root = folder / "root"
        rootfs.build(cache, root, work=folder, deadline=deadline)
        make_ext4(root, folder / "disk.raw", size_mib=_DISK_MIB, label="guest", deadline=deadline)
        shutil.rmtree(root)

    key = fingerprint("guest 1", rootfs.key(cache, deadline=deadline))
    title = f"guest {request.system} {request.release} {request.userland}"
    with (
        obtain_boot_files(cache, request.kernel, deadline=deadline) as boot,
        cache.use("guest", key, build, deadline=deadline, title=title) as folder,
    ):
        yield GuestImage(folder / "disk.raw", boot, "/sbin/init" if request.system == "debian" else "/sbin/lab-init")
