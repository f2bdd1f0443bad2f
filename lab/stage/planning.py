"""Making ahead of time what cells will need, two things at a time: a cold cache takes minutes to fill."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import ParamSpec

from lab.cache import Cache
from lab.deadline import Deadline
from lab.errors import DeadlineError, LabError
from lab.events import emit
from lab.guests.image import obtain_guest_image
from lab.guests.poised import AS_BOOTED, Readiness
from lab.keys import Keys
from lab.process import kill_children
from lab.scenario.cell import BootRequest, Cell, GuestRequest, HostRequest, MigrationRequest, NtfsRequest
from lab.stage.bench import readiness
from lab.stage.furnishing import is_furnished, make_furnished, make_module
from lab.stage.hosts import HostPool
from lab.stage.microvm import MICROVM, make_bare
from lab.stage.watched import WATCHED

__all__ = ["make_ahead"]

P = ParamSpec("P")


def make_ahead(cache: Cache, keys: Keys, pool: HostPool, cells: Iterable[Cell], *, deadline: Deadline) -> None:
    """Build every snapshot, guest image and kernel module that ``cells`` name and the cache lacks.

    What cannot be built is left for the cell that needs it, which says so with its own name.
    """
    hosts: dict[str, HostRequest] = {}
    arrivals: dict[GuestRequest, None] = {}
    bare: dict[GuestRequest, None] = {}
    furnish: dict[tuple[str, str, GuestRequest, str], NtfsRequest] = {}
    pairs: dict[tuple[str, GuestRequest, str], tuple[HostRequest, Readiness]] = {}
    for cell in cells:
        ready = AS_BOOTED
        match cell.request:
            case MigrationRequest(source=host, target=target, guest=guest):
                if any(each.dom0 == "i386" and not each.inventory for each in (host, target)):
                    continue  # its cell finds out that there is no such host
                hosts[target.name] = target
                ready = WATCHED
                arrivals.update({cell.request.arrive: None} if cell.request.arrive else {})
            case BootRequest(host=host, guest=guest):
                pass
            case NtfsRequest() as request if is_furnished(request):
                furnish[request.stage, request.host.name, request.guest, request.driver] = request
                hosts.update({request.host.name: request.host} if request.stage != MICROVM else {})
                continue
            case NtfsRequest(guest=guest, stage=stage) if stage == MICROVM:
                bare[guest] = None
                continue
            case NtfsRequest(host=host, guest=guest):
                ready = readiness()
        hosts[host.name] = host
        pairs[host.name, guest, ready.key] = (host, ready)
    embedded = [host for host in hosts.values() if not host.inventory]
    if embedded or bare or furnish:
        # Once, in this thread: the builders must not probe the accelerator side by side.
        _ = pool.accelerator
    guests = {
        **{guest: None for _, guest, _ in pairs},
        **bare,
        **arrivals,
        **{r.guest: None for r in furnish.values()},
    }
    compiled = {(request.driver, request.guest.kernel): request for request in furnish.values()}
    files = [
        *(_Job(f"disk of {host.name}", partial(pool.make_image, host, deadline)) for host in embedded),
        *(_Job(f"disk of {guest.name}", partial(_make_guest, cache, keys, guest, deadline)) for guest in guests),
        *(_Job(f"module {r.driver}", partial(make_module, cache, r, deadline)) for r in compiled.values()),
    ]
    snapshots = [_Job(host.name, partial(_try, pool.make_snapshot, host, deadline)) for host in embedded]
    boots = [
        *(
            _Job(f"{guest.name} on {host.name}", partial(_try, pool.make_poised, host, guest, ready, deadline))
            for (_, guest, _), (host, ready) in pairs.items()
            if not host.inventory
        ),
        *(_Job(f"{guest.name} by itself", partial(_try, make_bare, pool, guest, deadline)) for guest in bare),
        *(
            _Job(f"{r.guest.name} with {r.driver}", partial(_try, make_furnished, pool, r, deadline))
            for r in furnish.values()
        ),
    ]
    # What is in one needs all of those before it; two machines at a time, since an emulated one has one CPU
    # (docs/adr/0009-one-emulated-cpu.md).
    number, total = count(1), sum(map(len, (files, snapshots, boots)))
    for jobs in (files, snapshots, boots):
        _both([partial(_told, job, number, total) for job in jobs], deadline)


@dataclass(frozen=True, slots=True)
class _Job:
    """Something to be made; ``title`` says what."""

    title: str
    make: Callable[[], None]


def _told(job: _Job, number: Iterator[int], total: int) -> None:
    emit("making", number=next(number), total=total, title=job.title)
    job.make()


def _try(make: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> None:
    """What fails is left alone: the cell that needs it will meet the same, and say so."""
    with suppress(LabError):
        make(*args, **kwargs)


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
