"""A validated scenario -> all combinations of its axes, each resolved to a request."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product

from lab.scenario.cell import (
    BootRequest,
    GuestRequest,
    HostRequest,
    KernelRequest,
    MigrationRequest,
    ModulesRequest,
    NtfsRequest,
    Request,
)
from lab.scenario.model import GuestScenario, GuestShape, Host, Kernel, Migrate, NtfsScenario

__all__ = ["MICROVM", "SHOWN", "THERE_AND_BACK", "Candidate", "candidates", "host_requests", "kind_of"]

SHOWN: Mapping[str, tuple[str, ...]] = {
    "migration": ("source", "target", "how", "guest", "type", "userland", "kernel", "arrives"),
    "modules": ("host", "guest", "type", "userland", "kernel", "delivery"),
    "boot": ("host", "guest", "type", "userland", "kernel"),
    "ntfs": ("host", "kernel", "driver", "volume", "operation", "writer"),
}
"""The axes a kind of cell always shows where it has them; the others only where they vary."""

THERE_AND_BACK = "there-and-back"

MICROVM = HostRequest("microvm", inventory="microvm")
"""Stands for the Xen host of a cell that has none."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One combination: its value on every axis of its kind, also those that are not shown, and what it asks for."""

    axes: Mapping[str, str]
    request: Request


def kind_of(scenario: GuestScenario | NtfsScenario) -> str:
    """migration, modules, boot or ntfs, by the keys that are there."""
    if isinstance(scenario, NtfsScenario):
        return "ntfs"
    if scenario.migrate:
        return "migration"
    return "modules" if scenario.modules else "boot"


def candidates(scenario: GuestScenario | NtfsScenario) -> Iterator[Candidate]:
    """Every combination, lazily, the last axis fastest; pairs of one host with itself are left out."""
    if isinstance(scenario, NtfsScenario):
        return _ntfs(scenario)
    if scenario.migrate:
        return _migrations(scenario)
    return _boots(scenario)


def _migrations(scenario: GuestScenario) -> Iterator[Candidate]:
    sources = _hosts({"source": scenario.hosts["source"]}) if "source" in scenario.hosts else ()
    targets = _hosts({"target": scenario.hosts["target"]}) if "target" in scenario.hosts else ()
    for source, target in product(sources, targets):
        if source.name == target.name:
            continue
        for axes, request in _moves(scenario, source, target):
            labels = {"source": source.label, "target": target.label, **axes}
            if scenario.modules:
                labels["delivery"] = request.modules.delivery
            yield Candidate(labels, request)


def _moves(
    scenario: GuestScenario, source: HostRequest, target: HostRequest
) -> Iterator[tuple[dict[str, str], MigrationRequest]]:
    """What moves from the one host to the other, and how."""
    migrate = scenario.migrate
    if migrate is None:
        return
    guests = tuple(_guests(scenario))
    for how, trip, (axes, guest) in product(migrate.how, migrate.trip, guests):
        for (arrives, arrive), modules in product(tuple(_arrivals(migrate, guest)), _modules(scenario)):
            back = trip == THERE_AND_BACK
            request = MigrationRequest(source, target, guest, how, modules, arrive, back, migrate.iterations)
            yield {"how": how, "trip": trip, **axes, **arrives}, request


def _arrivals(migrate: Migrate, guest: GuestRequest) -> Iterator[tuple[dict[str, str], GuestRequest | None]]:
    """What the guest becomes on the way; nothing where it stays what it is."""
    if migrate.arrive is None:
        yield {}, None
        return
    asked = migrate.arrive.kernel or ()
    named = dict.fromkeys(request for kernel in asked for request in _kernels(kernel, guest.release))
    for kernel, type_ in product(named or (guest.kernel,), migrate.arrive.type or (guest.type,)):
        arrival = replace(guest, kernel=kernel, type=type_)
        yield {"arrives": f"{kernel.name}-{type_}"}, None if arrival == guest else arrival


def _boots(scenario: GuestScenario) -> Iterator[Candidate]:
    guests = tuple(_guests(scenario))
    for host, (axes, guest), modules in product(_hosts(scenario.hosts), guests, _modules(scenario)):
        labels = {"host": host.label, **axes}
        if scenario.modules:
            labels["delivery"] = modules.delivery
        yield Candidate(labels, BootRequest(host, guest, modules))


def _ntfs(scenario: NtfsScenario) -> Iterator[Candidate]:
    for stage in scenario.stage:
        hosts = _hosts(scenario.hosts) if stage == "xen" else (MICROVM,)
        for host, (axes, guest) in product(hosts, tuple(_ntfs_guests(scenario))):
            place = {"host": host.label, "kernel": axes["kernel"]}
            for labels in _ntfs_labels(scenario):
                request = NtfsRequest(host, guest, **labels, stage=stage)
                yield Candidate({**place, **labels, "stage": stage, **axes}, request)


def _ntfs_labels(scenario: NtfsScenario) -> Iterator[dict[str, str]]:
    for driver, volume, operation in product(scenario.drivers, scenario.volumes, scenario.operations):
        for writer in scenario.written_by or ("",):
            written = {"writer": writer} if writer else {}
            yield {"driver": driver, "volume": volume, "operation": operation, **written}


def host_requests(role: str, host: Host) -> tuple[HostRequest, ...]:
    """The hosts that one entry under ``hosts:`` means."""
    if host.inventory:
        return tuple(HostRequest(role, (host.xen or ("",))[0], name, host.dom0[0]) for name in host.inventory)
    return tuple(HostRequest(role, xen, dom0=dom0) for xen, dom0 in product(host.xen or (), host.dom0))


def _hosts(hosts: Mapping[str, Host]) -> tuple[HostRequest, ...]:
    return tuple(request for role, host in hosts.items() for request in host_requests(role, host))


def _modules(scenario: GuestScenario) -> tuple[ModulesRequest, ...]:
    wanted = scenario.modules
    if wanted is None:
        return (ModulesRequest(),)
    return tuple(ModulesRequest(wanted.load, wanted.load_after, delivery) for delivery in wanted.delivery)


def _guests(scenario: GuestScenario) -> Iterator[tuple[dict[str, str], GuestRequest]]:
    for name, guest in scenario.guests.items():
        for request in _shapes(name, guest, guest.kernel):
            yield {"guest": name, **_guest_axes(request), "kernel": request.kernel.name}, request


def _ntfs_guests(scenario: NtfsScenario) -> Iterator[tuple[dict[str, str], GuestRequest]]:
    requests = tuple(_shapes("ntfs", scenario.guest, scenario.kernels))
    named: dict[str, set[str]] = {}
    for request in requests:
        named.setdefault(request.kernel.release, set()).add(request.kernel.name)
    for request in requests:
        kernel = request.kernel
        label = kernel.release if len(named[kernel.release]) == 1 else kernel.name
        yield {"kernel": label, **_guest_axes(request)}, request


def _guest_axes(request: GuestRequest) -> dict[str, str]:
    memory = f"{request.memory // 1024}G" if request.memory % 1024 == 0 else f"{request.memory}M"
    return {
        "type": request.type,
        "userland": request.userland,
        "release": request.release,
        "memory": memory,
        "system": request.system,
    }


def _shapes(name: str, guest: GuestShape, kernels: tuple[Kernel, ...]) -> Iterator[GuestRequest]:
    for release in guest.release:
        # Two maps may name one kernel (one of them by default); that is one combination.
        named = dict.fromkeys(request for kernel in kernels for request in _kernels(kernel, release))
        for kernel, userland, type_, memory, system in product(
            named, guest.userland, guest.type, guest.memory, guest.system
        ):
            yield GuestRequest(name, release, userland, kernel, type_, memory, system)


def _kernels(kernel: Kernel, release: str) -> Iterator[KernelRequest]:
    for suite, arch in product(kernel.release or (release,), kernel.arch):
        for flavour in kernel.flavours(arch):
            yield KernelRequest(suite, arch, flavour)
