"""Small initial RAM disks: busybox, the few modules that the root disk needs, and a script.

A stock initramfs is 36 MB and is unpacked by an emulated CPU; this one is 2 MB.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from lab.deadline import Deadline
from lab.debian.kernel import Kernel
from lab.debian.module_tree import ModuleTree, module_bytes
from lab.process import run

__all__ = ["INITRD_VERSION", "USERLAND", "build_initrd"]

INITRD_VERSION = 1
"""Goes up when the script below changes, so that no cached initrd has the old one."""

USERLAND = "lab initrd: userland"
"""What every initrd of the lab says first on its console."""

_INIT = """#!/bin/busybox sh
# Mounts the disk named by root= and starts the system on it; {title}
/bin/busybox mount -t proc none /proc
/bin/busybox mount -t sysfs none /sys
/bin/busybox mount -t devtmpfs none /dev
echo "{userland}"
case " $(/bin/busybox cat /proc/cmdline) " in *" lab.probe "*) /bin/busybox poweroff -f ;; esac
for module in {modules}; do /bin/busybox insmod /modules/$module; done
mode=ro init=/sbin/init
for word in $(/bin/busybox cat /proc/cmdline); do
  case "$word" in
    root=*) root=${{word#root=}} ;;
    ro|rw) mode=$word ;;
    init=*) init=${{word#init=}} ;;
  esac
done
tries=0
until [ -b "$root" ]; do
  tries=$((tries + 1))
  if [ $tries -gt 200 ]; then echo "lab initrd: no block device $root"; /bin/busybox poweroff -f; fi
  /bin/busybox usleep 50000
done
/bin/busybox mount -t ext4 -o $mode "$root" /root || {{ echo "lab initrd: cannot mount $root"; /bin/busybox poweroff -f; }}
/bin/busybox mount --move /dev /root/dev
/bin/busybox umount /sys /proc
exec /bin/busybox switch_root /root "$init"
"""  # noqa: E501 - lines of a shell script


def build_initrd(  # noqa: PLR0913 - what goes in, where it is put together, and where it goes
    kernel: Kernel, wanted: Iterable[str], busybox: Path, into: Path, *, work: Path, deadline: Deadline
) -> None:
    """Write to ``into`` an initrd that loads ``wanted`` (those that are not built in) and switches to root=.

    ``busybox`` is a statically linked one that ``kernel`` can run; ``work`` is an empty folder to lay it out in.

    Raises:
        ModuleNotFoundInTreeError: the kernel has no such module.
    """
    for folder in ("bin", "dev", "modules", "proc", "root", "sys"):
        (work / folder).mkdir(parents=True)
    target = work / "bin" / "busybox"
    target.write_bytes(busybox.read_bytes())
    target.chmod(0o755)
    names = []
    for file in ModuleTree(kernel.modules).closure(wanted):
        name = file.name.partition(".ko")[0] + ".ko"
        (work / "modules" / name).write_bytes(module_bytes(file, deadline=deadline))
        names.append(name)
    init = work / "init"
    init.write_text(_INIT.format(modules=" ".join(names), title=f"made for {kernel.release}", userland=USERLAND))
    init.chmod(0o755)
    members = sorted(os.path.relpath(path, work) for path in work.rglob("*"))
    packed = run(
        "cpio",
        "--quiet",
        "-o",
        "-H",
        "newc",
        "-R",
        "0:0",
        stdin="\n".join(members).encode(),
        cwd=work,
        deadline=deadline,
    )
    into.write_bytes(packed.check().stdout)
