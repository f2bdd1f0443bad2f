"""The drivers: ways to mount NTFS, as data.

What a guest can really mount is measured there by :mod:`lab.ntfs.probe`; ``shipped`` only explains a refusal.
``built`` is what no kernel of Debian brings: the lab compiles it and pushes it into the guest.
Sources: Debian's kernel configurations and packages as of 2026-11, ``Documentation/filesystems/ntfs.rst`` and
``ntfs3.rst`` of the kernel, ntfs-3g(8).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from lab.kernels.build_recipe import Built, Source
from lab.ntfs.registry import Registry

__all__ = ["Driver", "DriverKind", "Shipped", "built_for", "drivers"]

_MODULES = "/root/modules"
"""Where a guest has the modules that were compiled for its kernel."""


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
    built: Built | None = None

    @property
    def delivered(self) -> str:
        """The guest's folder with the module that was compiled for its kernel; empty where there is none to compile."""
        return f"{_MODULES}/{self.name}" if self.built else ""

    def options(self, *, write: bool = False) -> tuple[str, ...]:
        """The mount options the lab asks for."""
        return self.write if write else self.read

    @property
    def again(self) -> tuple[str, ...]:
        """The options to read back with what was written: those that it was written with, but read-only.

        ntfs-3g shows owners and modes only with the option that makes it keep them.
        """
        return tuple("ro" if word == "rw" else word for word in self.write)

    @property
    def releases(self) -> tuple[str, ...]:
        """The Debian releases whose kernels (or packages) bring it or can be given it, as far as is known."""
        built = self.built.sources if self.built else ()
        return (*(shipped.release for shipped in self.shipped), *(source.release for source in built))

    def ships_in(self, release: str) -> bool:
        """Whether that Debian release is known to bring it; what a guest really does is the probe's to say."""
        return any(shipped.release == release for shipped in self.shipped)

    def probe_arguments(self, *, at: str = "/mnt", write: bool = False) -> tuple[str, ...]:
        """The words for ``probe.py mount-and-read`` (the operation itself and the device are the caller's)."""
        words = ["--driver", self.name, "--kind", self.kind.value, "--at", at]
        words += ["--options", ",".join(self.options(write=write)), "--streams", self.streams]
        if self.kind is DriverKind.FUSE:
            return (*words, "--program", self.program)
        words += ["--type", self.types[0], *(word for name in self.modules for word in ("--modules", name))]
        if self.built is not None:
            # The kernel's own module of that name registers the same type of file system, and was perhaps there before.
            words += ["--rmmod", self.built.module, "--insmod", f"{self.delivered}/{self.built.module}.ko"]
        return tuple(words)


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

NTFS_CLASSIC = drivers.add(
    Driver(
        "ntfs-classic",
        DriverKind.KERNEL,
        ("ntfs",),
        "the first kernel driver, of 2001, read-only here, removed in 6.9",
        modules=("nls_utf8",),
        # It knows iocharset as a name of old, and complains ("Option iocharset is deprecated").
        read=("ro", "nls=utf8"),
        write=("rw", "nls=utf8"),
        built=Built(
            "ntfs",
            "fs/ntfs",
            (("CONFIG_NTFS_FS", "m"),),
            (
                Source("bullseye", "linux-source-5.10"),
                Source(
                    "bookworm",
                    "linux-source-6.1",
                    "6.1.176-1",
                    "fs/ntfs is in 6.1.190-1 and has gone in 6.1.192-1; this is the version of Debian 12's last update",
                ),
            ),
        ),
    )
)

NTFS3_LZX = drivers.add(
    Driver(
        "ntfs3-lzx",
        DriverKind.KERNEL,
        ("ntfs3",),
        "ntfs3 that also reads system compression (LZX and XPRESS), which Debian turns off",
        read=NTFS3.read,
        write=NTFS3.write,
        built=Built(
            "ntfs3",
            "fs/ntfs3",
            (("CONFIG_NTFS3_FS", "m"), ("CONFIG_NTFS3_LZX_XPRESS", "y")),
            (
                Source("bookworm", "linux-source-6.1"),
                Source("trixie", "linux-source-6.12"),
                Source("forky", "linux-source-7.2"),
            ),
        ),
    )
)

_FUSE_TYPES = ("fuseblk", "fuse")
"""fuseblk on a block device, fuse on a plain file."""

_FUSE_READ = ("ro", "streams_interface=xattr")

_FUSE_WRITE = ("rw", "permissions", "streams_interface=xattr")
"""ntfs-3g(8): without permissions, chmod and chown do nothing and return no error, and new files get no owner. With it
and no file that maps users, owners and modes are kept by a mapping of its own, and come back as they were set.
"""

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
        read=_FUSE_READ,
        write=_FUSE_WRITE,
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
        read=_FUSE_READ,
        write=_FUSE_WRITE,
        streams="xattr",
        shipped=_NTFS_3G,
    )
)


def built_for(release: str) -> tuple[Driver, ...]:
    """The drivers that are compiled for the kernel of that release."""
    return tuple(driver for driver in drivers.values() if driver.built and driver.built.source(release))
