"""What is in an initrd, and that its script is one."""

from __future__ import annotations

import lzma
import shutil
import subprocess
from pathlib import Path

import pytest

from lab.deadline import Deadline
from lab.debian.initrd import USERLAND, build_initrd
from lab.debian.kernel import Kernel
from lab.debian.module_tree import ModuleNotFoundInTreeError
from tests.unit.debian.trees import RELEASE, file_of, make_tree

pytestmark = pytest.mark.skipif(not shutil.which("cpio"), reason="cpio is not installed")

NEEDS = {"crc16": (), "mbcache": (), "jbd2": ("crc16",), "ext4": ("jbd2", "mbcache"), "xen-blkfront": ()}


@pytest.fixture
def kernel(tmp_path: Path) -> Kernel:
    tree = make_tree(tmp_path / "root", NEEDS, builtin=["loop"])
    # As Debian ships them from 13 on.
    plain = tree / file_of("crc16")
    packed = plain.with_suffix(".ko.xz")
    packed.write_bytes(lzma.compress(plain.read_bytes()))
    plain.unlink()
    index = tree / "modules.dep"
    index.write_text(index.read_text().replace(file_of("crc16"), f"{file_of('crc16')}.xz"))
    return Kernel(tmp_path, RELEASE, "6.12.57-1", "amd64")


def build(kernel: Kernel, *wanted: str) -> Path:
    busybox = kernel.folder / "busybox"
    busybox.write_bytes(b"\x7fELF busybox")
    into = kernel.folder / "initrd"
    build_initrd(kernel, wanted, busybox, into, work=kernel.folder / "work", deadline=Deadline(20))
    return into


def unpack(initrd: Path) -> Path:
    """A folder with what is in it."""
    folder = initrd.with_name("unpacked")
    folder.mkdir()
    subprocess.run(("cpio", "-id", "--quiet"), cwd=folder, input=initrd.read_bytes(), check=True, timeout=20)
    return folder


def test_it_holds_busybox_a_script_and_the_modules_with_all_they_need(kernel: Kernel) -> None:
    initrd = build(kernel, "xen_blkfront", "loop", "ext4")
    listed = subprocess.run(
        ("cpio", "-tv", "--quiet"), input=initrd.read_bytes(), capture_output=True, check=True, timeout=20
    ).stdout.decode()
    rows = [line.split() for line in listed.splitlines()]
    assert [row[-1] for row in rows] == [
        "bin",
        "bin/busybox",
        "dev",
        "init",
        "modules",
        "modules/crc16.ko",
        "modules/ext4.ko",
        "modules/jbd2.ko",
        "modules/mbcache.ko",
        "modules/xen-blkfront.ko",
        "proc",
        "root",
        "sys",
    ]
    assert {tuple(row[2:4]) for row in rows} == {("root", "root")}
    modes = {row[-1]: row[0] for row in rows}
    assert (modes["init"], modes["bin/busybox"]) == ("-rwxr-xr-x", "-rwxr-xr-x")


def test_modules_are_unpacked_and_loaded_in_their_order(kernel: Kernel) -> None:
    folder = unpack(build(kernel, "ext4", "xen_blkfront"))
    assert (folder / "modules/crc16.ko").read_bytes() == b"the module crc16"
    script = (folder / "init").read_text()
    assert "for module in crc16.ko jbd2.ko mbcache.ko ext4.ko xen-blkfront.ko; do" in script


def test_the_script_is_one_that_a_shell_reads(kernel: Kernel) -> None:
    script = unpack(build(kernel, "ext4")) / "init"
    assert subprocess.run(("sh", "-n", str(script)), check=False, timeout=20).returncode == 0
    first, second, *rest = script.read_text().splitlines()
    assert (first, second) == (
        "#!/bin/busybox sh",
        f"# Mounts the disk named by root= and starts the system on it; made for {RELEASE}",
    )
    assert not [line for line in rest if "{{" in line or "}}" in line]  # nothing of the template is left
    assert f'echo "{USERLAND}"' in rest


def test_the_script_finds_root_mode_and_init_in_the_kernels_command_line(kernel: Kernel) -> None:
    lines = (unpack(build(kernel, "ext4")) / "init").read_text().splitlines()
    loop = lines[lines.index("mode=ro init=/sbin/init") : lines.index("tries=0")]
    line = "root=/dev/xvda rw console=hvc0 init=/sbin/lab-init lab.ip=10.77.128.10/16"
    script = "\n".join(loop).replace("/bin/busybox cat /proc/cmdline", f"echo {line}")
    said = subprocess.run(
        ("sh", "-c", f'{script}\necho "$root $mode $init"'), capture_output=True, text=True, check=True, timeout=20
    )
    assert said.stdout == "/dev/xvda rw /sbin/lab-init\n"


def test_a_probe_ends_before_anything_is_loaded(kernel: Kernel) -> None:
    lines = (unpack(build(kernel, "ext4")) / "init").read_text().splitlines()
    said = lines.index(f'echo "{USERLAND}"')
    assert lines[said + 1] == (
        'case " $(/bin/busybox cat /proc/cmdline) " in *" lab.probe "*) /bin/busybox poweroff -f ;; esac'
    )
    assert lines[said + 2].startswith("for module in ")


def test_a_module_that_the_kernel_has_not_is_an_error(kernel: Kernel) -> None:
    with pytest.raises(ModuleNotFoundInTreeError, match=f"^kernel {RELEASE} has no module 'virtio_blk'$"):
        build(kernel, "virtio_blk")
