"""The drivers: ways to mount NTFS, as data.

What a guest can really mount is measured there by :mod:`lab.ntfs.probe`; ``shipped`` only explains a refusal.
Sources: Debian's kernel configurations and packages as of 2026-11, ``Documentation/filesystems/ntfs.rst`` and
``ntfs3.rst`` of the kernel, ntfs-3g(8).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from lab.ntfs.registry import Registry

__all__ = ["Driver", "DriverKind", "Shipped", "drivers"]


class DriverKind(Enum):
    """Where the driver runs."""

    KERNEL = "kernel"
    FUSE = "fuse"


@dataclass(frozen=True, slots=True)
class Shipped:
    """A Debian ``release`` whose kernel (or package) of that ``version`` brings the driver."""

    release: str
    version: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Driver:
    """One way to mount NTFS.

    ``types`` are the file-system types /proc/self/mountinfo may show for it; the first is the one to ask for.
    ``streams`` says how named streams are shown: ``xattr`` (as ``user.*``) or ``none``.
    """

    name: str
    kind: DriverKind
    types: tuple[str, ...]
    description: str
    modules: tuple[str, ...] = ()
    program: str = ""
    package: str = ""
    read: tuple[str, ...] = ("ro",)
    write: tuple[str, ...] = ("rw",)
    streams: str = "none"
    shipped: tuple[Shipped, ...] = ()

    def options(self, *, write: bool = False) -> tuple[str, ...]:
        """The mount options the lab asks for."""
        return self.write if write else self.read

    def ships_in(self, release: str) -> bool:
        """Whether that Debian release is known to bring it; what a guest really does is the probe's to say."""
        return any(shipped.release == release for shipped in self.shipped)

    def probe_arguments(self, *, at: str = "/mnt", write: bool = False) -> tuple[str, ...]:
        """The words for ``probe.py mount-and-read`` (the operation itself and the device are the caller's)."""
        words = ["--driver", self.name, "--kind", self.kind.value, "--at", at]
        words += ["--options", ",".join(self.options(write=write)), "--streams", self.streams]
        if self.kind is DriverKind.FUSE:
            return (*words, "--program", self.program)
        return (*words, "--type", self.types[0], *(word for name in self.modules for word in ("--modules", name)))


drivers: Registry[Driver] = Registry("driver")

# iocharset is asked for, although it is Debian's default: a kernel built otherwise would show other names.
NTFS3 = drivers.add(
    Driver(
        "ntfs3",
        DriverKind.KERNEL,
        ("ntfs3",),
        "the read-write kernel driver merged in 5.15",
        modules=("ntfs3",),
        read=("ro", "iocharset=utf8"),
        write=("rw", "iocharset=utf8"),
        shipped=(Shipped("trixie", "6.12", "without LZX and XPRESS (CONFIG_NTFS3_LZX_XPRESS is off)"),),
    )
)

NTFS = drivers.add(
    Driver(
        "ntfs",
        DriverKind.KERNEL,
        ("ntfs",),
        'the new read-write kernel driver merged in 7.1, formerly "ntfsplus"',
        # It loads the table of the character set as a module of its own, unlike ntfs3, and refuses to mount without:
        # "ntfs_parse_param(): Failed to load NLS table 'utf8'" (seen with 7.2).
        modules=("ntfs", "nls_utf8"),
        read=("ro", "iocharset=utf8"),
        write=("rw", "iocharset=utf8"),
        shipped=(
            Shipped("forky", "7.2", "ntfs3 is off there"),
            Shipped("sid", "7.2"),
            Shipped("experimental", "7.3-rc"),
        ),
    )
)

_FUSE_TYPES = ("fuseblk", "fuse")
"""fuseblk on a block device, fuse on a plain file."""

_NTFS_3G = (
    Shipped("bullseye", "2017.3.23AR.3"),
    Shipped("bookworm", "2022.10.3"),
    Shipped("trixie", "2022.10.3"),
    Shipped("forky", "2026.9.28"),
)

NTFS_3G = drivers.add(
    Driver(
        "ntfs-3g",
        DriverKind.FUSE,
        _FUSE_TYPES,
        "the FUSE driver, by paths",
        modules=("fuse",),
        program="ntfs-3g",
        package="ntfs-3g",
        read=("ro", "streams_interface=xattr"),
        write=("rw", "streams_interface=xattr"),
        streams="xattr",
        shipped=_NTFS_3G,
    )
)

LOWNTFS_3G = drivers.add(
    Driver(
        "lowntfs-3g",
        DriverKind.FUSE,
        _FUSE_TYPES,
        "the FUSE driver, by inodes",
        modules=("fuse",),
        program="lowntfs-3g",
        package="ntfs-3g",
        read=("ro", "streams_interface=xattr"),
        write=("rw", "streams_interface=xattr"),
        streams="xattr",
        shipped=_NTFS_3G,
    )
)
