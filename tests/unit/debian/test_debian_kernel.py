"""Debian's kernels, from packages to an ELF and a module tree."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from lab.cache import Cache
from lab.deadline import Deadline
from lab.debian.busybox import obtain_busybox
from lab.debian.kernel import Kernel, kernel_package, obtain_kernel
from lab.debian.module_tree import ModuleTree
from lab.errors import ImageError
from tests.unit.debian.bzimages import ELF, bzimage, payload
from tests.unit.debian.mirror import Mirror, make_deb

pytestmark = pytest.mark.skipif(
    not (shutil.which("dpkg-deb") and shutil.which("depmod")), reason="dpkg-deb or depmod is not installed"
)

RELEASE = "6.12.57+deb13-cloud-amd64"
CONFIG = b"# a comment\nCONFIG_XEN=y\nCONFIG_NTFS3_FS=m\n# CONFIG_NTFS_FS is not set\nCONFIG_HZ=250\n"


def soon() -> Deadline:
    return Deadline(20)


@pytest.mark.parametrize(
    ("arch", "flavour", "package"),
    [
        ("amd64", "cloud", "linux-image-cloud-amd64"),
        ("amd64", "generic", "linux-image-amd64"),
        ("i386", "686-pae", "linux-image-686-pae"),
        ("i386", "686", "linux-image-686"),
        ("amd64", "rt-amd64", "linux-image-rt-amd64"),
    ],
)
def test_the_metapackage_of_a_flavour(arch: str, flavour: str, package: str) -> None:
    assert kernel_package(arch, flavour) == package


def whole(lib: str, *, image: str = "", config: str = "") -> dict[str, bytes]:
    """The files of a kernel in one package; ``lib`` is where its modules are."""
    tree = f"{lib}/modules/{RELEASE}"
    return {
        image or f"boot/vmlinuz-{RELEASE}": bzimage(payload("xz")),
        config or f"boot/config-{RELEASE}": CONFIG,
        f"{tree}/kernel/fs/ntfs3/ntfs3.ko": b"no module, but a file",
        f"{tree}/modules.builtin": b"kernel/drivers/block/loop.ko\n",
        f"{tree}/modules.order": b"kernel/fs/ntfs3/ntfs3.ko\n",
    }


def ship(mirror: Mirror, folder: Path, packages: dict[str, dict[str, bytes]]) -> None:
    """A kernel whose metapackage depends on ``packages``, in a mirror that has them all."""
    mirror.has({"linux-image-cloud-amd64": f"6.12.57-1 | {', '.join(packages)}"})
    mirror.ships("linux-image-cloud-amd64", make_deb(folder, "linux-image-cloud-amd64", {}))
    for name, files in packages.items():
        mirror.has({name: "6.12.57-1+b1"})
        mirror.ships(name, make_deb(folder, name, files))


@pytest.mark.parametrize(
    "packages",
    [
        {f"linux-image-{RELEASE}": whole("lib")},
        {f"linux-image-{RELEASE}": whole("usr/lib")},
        {
            "linux-base-6.12": {"usr/share/none": b""},
            f"linux-binary-{RELEASE}": {f"usr/lib/modules/{RELEASE}/vmlinuz": bzimage(payload("xz"))},
            f"linux-modules-{RELEASE}": {
                name: content
                for name, content in whole("usr/lib", config=f"usr/lib/modules/{RELEASE}/config").items()
                if not name.startswith("boot/")
            },
        },
    ],
    ids=["classic", "usr-merged", "split"],
)
def test_every_layout_of_debians_packages_becomes_the_labs_one(
    mirror: Mirror, cache: Cache, tmp_path: Path, packages: dict[str, dict[str, bytes]]
) -> None:
    ship(mirror, tmp_path, packages)
    with obtain_kernel(cache, "trixie", arch="amd64", flavour="cloud", deadline=soon()) as kernel:
        assert (kernel.release, kernel.package_version, kernel.arch) == (RELEASE, "6.12.57-1+b1", "amd64")
        assert kernel.elf.read_bytes() == ELF
        assert kernel.bzimage.read_bytes() == bzimage(payload("xz"))
        assert kernel.modules == kernel.folder / "root/lib/modules" / RELEASE
        assert kernel.config() == {"CONFIG_XEN": "y", "CONFIG_NTFS3_FS": "m", "CONFIG_HZ": "250"}
        tree = ModuleTree(kernel.modules)
        assert (sorted(tree.loadable), sorted(tree.builtin)) == (["ntfs3"], ["loop"])  # depmod has run over it
        assert sorted(path.name for path in kernel.folder.iterdir()) == [
            "config",
            "release",
            "root",
            "vmlinux",
            "vmlinuz",
        ]


def test_a_kernel_is_fetched_once(mirror: Mirror, cache: Cache, tmp_path: Path) -> None:
    ship(mirror, tmp_path, {f"linux-image-{RELEASE}": whole("lib")})
    found: list[Kernel] = []
    for _ in range(2):
        with obtain_kernel(cache, "trixie", arch="amd64", flavour="cloud", deadline=soon()) as kernel:
            found.append(kernel)
    assert found[0] == found[1]
    # Not the metapackage: it holds no file, and need not be there.
    assert mirror.asked("apt-get download") == [f"apt-get download linux-image-{RELEASE}=6.12.57-1+b1"]


def test_packages_without_a_kernel_are_an_error_and_not_cached(mirror: Mirror, cache: Cache, tmp_path: Path) -> None:
    ship(mirror, tmp_path, {f"linux-image-{RELEASE}": {"boot/none": b""}})
    with (
        pytest.raises(
            ImageError,
            match=f"^{re.escape(str(cache.root))}/kernel/.*: the kernel's packages hold 0 images and 0 module trees$",
        ),
        obtain_kernel(cache, "trixie", arch="amd64", flavour="cloud", deadline=soon()),
    ):
        pass
    assert cache.entries() == ()


def test_busybox_is_the_program_of_the_package(mirror: Mirror, cache: Cache, tmp_path: Path) -> None:
    mirror.has({"busybox-static": "1:1.35.0-4"})
    files = {"bin/busybox": b"\x7fELF busybox", "usr/share/doc/busybox/busybox": b"no program"}
    mirror.ships("busybox-static", make_deb(tmp_path, "busybox-static", files))
    with obtain_busybox(cache, "amd64", deadline=soon()) as program:
        assert program.read_bytes() == b"\x7fELF busybox"
        assert [path.name for path in program.parents[2].iterdir()] == ["root"]  # the package itself has gone
