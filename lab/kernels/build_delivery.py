"""Bringing modules that were compiled for a guest's kernel into the guest."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping

from lab.deadline import Deadline
from lab.events import step
from lab.kernels.build import BuiltModule
from lab.shell import Shell

__all__ = ["push_built"]


def push_built(shell: Shell, modules: Mapping[str, BuiltModule], *, deadline: Deadline) -> None:
    """Send each module into its folder of the guest (an absolute path), and what is known of it as MODULE.ko.json.

    They do not go to /lib/modules: modprobe must not find them, nor mount(2) when it looks for a type.

    Raises:
        CommandError: the guest could not unpack them.
    """
    if not modules:
        return
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for folder, module in modules.items():
            path = f"{folder.lstrip('/')}/{module.file.name}"
            for name, content in ((path, module.file.read_bytes()), (f"{path}.json", module.facts.encode())):
                member = tarfile.TarInfo(name)
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    with step("push compiled modules", count=len(modules), bytes=packed.tell()):
        unpack = ("tar", "-x", "--keep-directory-symlink", "--no-same-owner", "-C", "/", "-f", "-")
        shell.run(*unpack, stdin=packed.getvalue(), deadline=deadline).check()
