"""Why an embedded host cannot have a 32-bit dom0: found out from the kernels that there are."""

from __future__ import annotations

from lab.cache import Cache
from lab.deadline import Deadline
from lab.debian.kernel import obtain_kernel
from lab.errors import LabError, UnsupportedError
from lab.hosts.embedded.recipe import embedded_recipe
from lab.keys import Keys
from lab.scenario.cell import HostRequest

__all__ = ["require_dom0"]

_FLAVOUR = {"i386": "686-pae"}


def require_dom0(request: HostRequest, cache: Cache, keys: Keys, deadline: Deadline) -> None:
    """Nothing, if the host can have the dom0 that is asked for.

    dom0 is started by Xen as a PV domain (docs/misc/pvh.pandoc: or as PVH, which Debian's dom0 kernels are not built
    for), and Linux dropped 32-bit PV in 5.9 (a13f2ef168cb, "x86/xen: remove 32-bit Xen PV guest support").

    Raises:
        UnsupportedError: its kernel cannot be a dom0, or there is no such kernel; the message has what was seen.
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
    except LabError as missing:
        seen = f"Debian {suite} has no {flavour} kernel ({missing.message})"
    raise UnsupportedError(
        f"{request.name}: no 32-bit dom0 can be nested: {seen}",
        reason="no-32-bit-dom0",
        hint="run this row on a host of your own: hosts: {source: {inventory: NAME}}",
    )
