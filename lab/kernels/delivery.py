"""Bringing modules into a guest whose package manager will not: only the files that are wanted and what they need."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable

from lab.deadline import Deadline
from lab.debian.kernel import Kernel
from lab.debian.module_tree import ModuleTree
from lab.events import step
from lab.shell import Shell

__all__ = ["push_modules"]

# depmod(8) reads these beside the modules themselves: without modules.builtin, modprobe would not know what is built
# in.
_INDEX = ("modules.order", "modules.builtin", "modules.builtin.modinfo")


def push_modules(shell: Shell, kernel: Kernel, names: Iterable[str], *, deadline: Deadline) -> tuple[str, ...]:
    """Send ``names`` and what they need into the guest's /lib/modules/RELEASE, and have depmod run over it there.

    What is there already stays. Returns the names of the files that were sent.

    Raises:
        ModuleNotFoundInTreeError: the kernel has no such module.
        CommandError: the guest could not unpack them (its disk is full, say).
    """
    tree = ModuleTree(kernel.modules)
    files = [*tree.closure(names), *(path for name in _INDEX if (path := kernel.modules / name).exists())]
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for file in files:
            tar.add(file, arcname=str(file.relative_to(kernel.folder / "root")))
    with step("push modules", count=len(files), bytes=packed.tell()):
        # In a merged-/usr system /lib is a link, and tar must go through it instead of putting a folder there.
        unpack = ("tar", "-x", "--keep-directory-symlink", "--no-same-owner", "-C", "/", "-f", "-")
        shell.run(*unpack, stdin=packed.getvalue(), deadline=deadline).check()
        shell.run("depmod", kernel.release, deadline=deadline).check()
    return tuple(file.name for file in files)
