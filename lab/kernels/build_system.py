"""The system that a kernel's modules are compiled in: the kernel's own Debian release, with its compiler and headers.

The headers are not enough: what kbuild runs (modpost, objtool) is linked with the C library of its release, 2.38 for
Debian 13's kernel, which Debian 12 does not have; and the flags in the headers are those of the compiler that built the
kernel. So neither this machine's Debian nor its compiler matters, and it needs none.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from lab.cache import Cache
from lab.deadline import Deadline
from lab.debian.archive import Archive, Package
from lab.debian.kernel import Kernel
from lab.debian.rootfs import Rootfs
from lab.errors import LabError
from lab.process import Completed, run

__all__ = ["BuildSystem", "HeadersError", "build_system"]

# linux-headers-*-amd64 itself is unpacked beside them: from Debian 13 on it brings the kernel's image and all that an
# image makes of a system.
_TOOLS = re.compile(r"linux-headers-.+-common|linux-kbuild-.+|linux-compiler-.+|gcc-\d+(-for-host)?")

_ENVIRONMENT = ("env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C")
"""make takes its variables from the environment too (ARCH, CROSS_COMPILE, KBUILD_*): a user's must not count."""


class HeadersError(LabError, LookupError):
    """A kernel's headers are not to be had in its version."""


@dataclass(frozen=True, slots=True)
class BuildSystem:
    """The recipe of such a system: ``rootfs`` and the kernel's ``headers``, which lie in /usr/src."""

    archive: Archive
    rootfs: Rootfs
    headers: Package

    def build(self, root: Path, *, work: Path, deadline: Deadline) -> None:
        """Install it into the new folder ``root``; ``work`` is for what is fetched on the way.

        Raises:
            ImageError: the system cannot be installed.
            CommandError: the headers cannot be fetched or unpacked.
        """
        (work / "overlay").mkdir()
        self.rootfs.build(self.archive.cache, root, work=work, deadline=deadline)
        for deb in self.archive.download((self.headers,), work, deadline=deadline):
            files = run("dpkg-deb", "--fsys-tarfile", deb, deadline=deadline).check().stdout
            # Its /lib is a link, and tar must go through it instead of putting a folder there.
            unpack = ("tar", "-x", "--keep-directory-symlink", "-C", root, "-f", "-")
            run(*unpack, stdin=files, deadline=deadline).check()
            deb.unlink()

    def run(self, root: Path, *argv: str, deadline: Deadline) -> Completed:
        """Run a program in the system that was built in ``root``."""
        # objtool of 7.2 wants /proc ("read_stack_limit: fopen failed"); in a namespace of its own it needs no undoing,
        # and nothing that make has started outlives it.
        inside = ("unshare", "--pid", "--fork", "--kill-child", f"--mount-proc={root / 'proc'}", "chroot", str(root))
        return run(*inside, *_ENVIRONMENT, *argv, deadline=deadline)


def build_system(cache: Cache, suite: str, kernel: Kernel, *, deadline: Deadline) -> BuildSystem:
    """The recipe for a kernel of ``suite``.

    Raises:
        PackageError: the suite has no headers for it.
        HeadersError: it has them in another version only.
    """
    archive = Archive(cache, suite, kernel.arch)
    name = f"linux-headers-{kernel.release}"
    found = {package.name: package for package in archive.closure((name,), deadline=deadline)}
    version = found[name].version if name in found else "none"
    if version != kernel.package_version:
        raise HeadersError(
            f"{suite}: {name} is of version {version}, the kernel of {kernel.package_version}",
            hint="the mirror has moved on since the kernel was fetched: `lab clean --all` resolves anew",
        )
    tools = sorted(each for each in found if _TOOLS.fullmatch(each))
    # From Debian 14 on gcc brings only binutils whose names begin with the architecture.
    return BuildSystem(archive, Rootfs(suite, kernel.arch, (*tools, "binutils", "make")), found[name])
