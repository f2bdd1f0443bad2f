"""Why an embedded host cannot have a 32-bit dom0: found out from the kernels that there are."""

from __future__ import annotations

import re

from lab.cache import Cache
from lab.deadline import Deadline
from lab.debian.archive import Archive, PackageError
from lab.debian.kernel import kernel_package, obtain_kernel
from lab.errors import LabError, UnsupportedError
from lab.hosts.embedded.recipe import embedded_recipe
from lab.keys import Keys
from lab.scenario.cell import HostRequest

__all__ = ["require_dom0"]

_FLAVOUR = {"i386": "686-pae"}

_LAST_PV = (5, 8)
"""The last Linux with 32-bit PV."""


def require_dom0(request: HostRequest, cache: Cache, keys: Keys, deadline: Deadline) -> None:
    """Nothing, if the host can have the dom0 that is asked for.

    dom0 is started by Xen as a PV domain (docs/misc/pvh.pandoc: or as PVH, which Debian's dom0 kernels are not built
    for), and Linux dropped 32-bit PV in 5.9 (a13f2ef168cb, "x86/xen: remove 32-bit Xen PV guest support").

    Raises:
        UnsupportedError: its kernel cannot be a dom0, or there is no such kernel; the message has what was seen.
        LabError: it cannot be fetched, and may be one that can.
    """
    flavour = _FLAVOUR.get(request.dom0)
    if flavour is None or request.inventory:
        return
    suite = embedded_recipe(request.xen, keys).rootfs.suite
    try:
        with obtain_kernel(cache, suite, arch=request.dom0, flavour=flavour, deadline=deadline) as kernel:
            if kernel.config().get("CONFIG_XEN_PV") == "y":
                return
            seen = f"{kernel.release} of Debian {suite} is built without CONFIG_XEN_PV"
    except PackageError as none:
        seen = f"Debian {suite} has no {flavour} kernel ({none.message})"
    except LabError:
        # A mirror may list what it does not have any more. Of a kernel that new nobody need see the configuration.
        version = _version(Archive(cache, suite, request.dom0), kernel_package(request.dom0, flavour), deadline)
        if tuple(map(int, re.findall(r"\d+", version)[:2])) <= _LAST_PV:
            raise
        seen = f"the {flavour} kernel of Debian {suite} is {version}, and Linux has had no 32-bit PV since 5.9"
    raise UnsupportedError(
        f"{request.name}: no 32-bit dom0 can be nested: {seen}",
        reason="no-32-bit-dom0",
        hint="run this row on a host of your own: hosts: {source: {inventory: NAME}}",
    )


def _version(archive: Archive, package: str, deadline: Deadline) -> str:
    known = {each.name: each.version for each in archive.family(package, "linux-", deadline=deadline)}
    return known[package]
