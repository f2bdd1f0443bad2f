"""Making ahead of time what cells will need, two things at a time: a cold cache takes minutes to fill."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from functools import partial

from lab.cache import Cache
from lab.deadline import Deadline
from lab.errors import DeadlineError, LabError
from lab.guests.image import obtain_guest_image
from lab.keys import Keys
from lab.process import kill_children
from lab.scenario.cell import BootRequest, Cell, GuestRequest, HostRequest, MigrationRequest, NtfsRequest
from lab.stage.hosts import HostPool

__all__ = ["make_ahead"]


def make_ahead(cache: Cache, keys: Keys, pool: HostPool, cells: Iterable[Cell], *, deadline: Deadline) -> None:
    """Build every snapshot and guest image that ``cells`` name and the cache lacks.

    What cannot be built is left for the cell that needs it, which says so with its own name.
    """
    hosts: dict[HostRequest, None] = {}
    guests: dict[GuestRequest, None] = {}
    for cell in cells:
        match cell.request:
            case MigrationRequest(source=source, target=target, guest=guest):
                hosts.update({source: None, target: None})
            case BootRequest(host=host, guest=guest):
                hosts[host] = None
            case NtfsRequest(host=host, guest=guest):
                hosts[host] = None
        guests[guest] = None
    # Once, in this thread: the builders must not probe the accelerator side by side.
    _ = pool.accelerator
    versions = {host.xen: host for host in hosts if not host.inventory}
    jobs = [partial(pool.make_image, host, deadline) for host in versions.values()]
    jobs += [partial(_make_guest, cache, keys, guest, deadline) for guest in guests]
    _both(jobs, deadline)
    # One boot at a time: a host has two CPUs, and two hosts at once took 146 s where one after the other took 75.
    for host in versions.values():
        with suppress(LabError):  # the cell that needs it will meet the same, and say so
            pool.make_snapshot(host, deadline)


def _make_guest(cache: Cache, keys: Keys, request: GuestRequest, deadline: Deadline) -> None:
    with obtain_guest_image(cache, request, keys, deadline=deadline):
        pass


def _both(jobs: Sequence[Callable[[], None]], deadline: Deadline) -> None:
    workers = ThreadPoolExecutor(max_workers=min(2, os.cpu_count() or 1))
    try:
        _await([workers.submit(job) for job in jobs], deadline)
    except BaseException:
        # Ctrl-C came to this thread; the builders sit in programs that do not hear it.
        workers.shutdown(wait=False, cancel_futures=True)
        kill_children()
        raise
    finally:
        workers.shutdown(wait=True, cancel_futures=True)


def _await(running: list[Future[None]], deadline: Deadline) -> None:
    _, late = wait(running, timeout=deadline.remaining(), return_when=FIRST_EXCEPTION)
    if late and deadline.expired:
        raise DeadlineError(f"images and snapshots: not all made within {deadline.seconds:g} s")
    wait(running, timeout=deadline.remaining())
