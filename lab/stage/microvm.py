"""The guests of benches: on a Xen host, or bare."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lab.deadline import Deadline
from lab.guests.bare import bare_guest, obtain_bare
from lab.hosts.run_folder import RunFolder
from lab.scenario.cell import GuestRequest, NtfsRequest
from lab.stage.bench import readiness
from lab.stage.benched import BenchGuest, OnXen
from lab.stage.furnishing import furnished
from lab.stage.hosts import HostPool

__all__ = ["MICROVM", "bench_guest", "make_bare"]

MICROVM = "microvm"
"""The stage on which there is no Xen."""


@contextmanager
def bench_guest(
    pool: HostPool, run: RunFolder, request: NtfsRequest, shelf: Path, *, deadline: Deadline
) -> Iterator[BenchGuest]:
    """A guest in which drivers can be tried, with ``shelf`` as a disk; gone at the end, with what it runs on.

    Raises:
        HostError, GuestError: it does not come up.
    """
    with furnished(pool, request, deadline=deadline) as ready:
        if request.stage == MICROVM:
            with bare_guest(pool.ground, request.guest, ready, run, shelf=shelf, deadline=deadline) as bare:
                yield bare
            return
        with pool.guest(request.host, request.guest, ready, shelf=shelf, deadline=deadline) as guest:
            yield OnXen(guest)


def make_bare(pool: HostPool, guest: GuestRequest, deadline: Deadline) -> None:
    """See to it that the guest is in the cache, up without a host."""
    with obtain_bare(pool.ground, guest, readiness(), deadline=deadline):
        pass
