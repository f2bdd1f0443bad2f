"""Benches whose kernel is given a driver that Debian leaves out of it.

Such a bench has the module of one driver only: what cannot be compiled takes no other driver with it, and a guest in
which the one has oopsed is none of the other's.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from lab.cache import Cache
from lab.deadline import Deadline
from lab.debian.kernel import obtain_kernel
from lab.guests.bare import BareReadiness, obtain_bare
from lab.kernels.build import BuiltModule, obtain_module
from lab.ntfs.drivers import built_for, drivers
from lab.scenario.cell import NtfsRequest
from lab.stage.bench import readiness
from lab.stage.hosts import HostPool

__all__ = ["furnished", "is_furnished", "make_furnished", "make_module"]


def is_furnished(request: NtfsRequest) -> bool:
    """Whether the cell's driver is compiled for the cell's kernel."""
    return any(driver.name == request.driver for driver in built_for(request.guest.kernel.release))


@contextmanager
def furnished(pool: HostPool, request: NtfsRequest, *, deadline: Deadline) -> Iterator[BareReadiness]:
    """What is done to the guest of such a cell before it is frozen; for any other cell what is done to every bench.

    Raises:
        LabError: the module cannot be compiled, or what it is made of cannot be had.
    """
    if not is_furnished(request):
        yield readiness()
        return
    with _module(pool.cache, request, deadline) as module:
        yield readiness({request.driver: module})


def make_module(cache: Cache, request: NtfsRequest, deadline: Deadline) -> None:
    """See to it that the cell's module is in the cache; raises like :func:`furnished`."""
    with _module(cache, request, deadline):
        pass


def make_furnished(pool: HostPool, request: NtfsRequest, deadline: Deadline) -> None:
    """See to it that the cell's guest is in the cache, up and with its module; raises like :func:`furnished`.

    Raises:
        HostError, GuestError: it does not come up.
    """
    with furnished(pool, request, deadline=deadline) as ready:
        if request.stage == "microvm":
            with obtain_bare(pool.ground, request.guest, ready, deadline=deadline):
                pass
        elif not request.host.inventory:
            pool.make_poised(request.host, request.guest, ready, deadline)


@contextmanager
def _module(cache: Cache, request: NtfsRequest, deadline: Deadline) -> Iterator[BuiltModule]:
    wanted, built = request.guest.kernel, drivers[request.driver].built
    assert built is not None  # noqa: S101 - whoever calls has asked is_furnished()
    with (
        obtain_kernel(cache, wanted.release, arch=wanted.arch, flavour=wanted.flavour, deadline=deadline) as kernel,
        obtain_module(cache, wanted.release, kernel, built, deadline=deadline) as module,
    ):
        yield module
