"""The ways in which a guest gets from one host to another; each leaves it on exactly one of them, also by failing."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from lab.deadline import Deadline
from lab.errors import LabError, UnknownNameError
from lab.events import emit, step
from lab.guests.guest import Guest, Held, SilentGuestError, domain_spec
from lab.guests.image import GuestImage
from lab.hosts.host import Host
from lab.hypervisor import Domain, DomainState, MigrationPlan, domain_xml, migrate, validate, wait_for_state
from lab.hypervisor.migration import MigrationDeadlineError, MigrationError, moving
from lab.process import run
from lab.scenario.cell import GuestRequest

__all__ = ["WAYS", "Arrival", "move"]

_SAVE_ROOM = 64 << 20
"""Bytes that a saved guest takes beyond its memory: libvirt's header, libxl's records."""

_UNDO_SECONDS = 60.0


@dataclasses.dataclass(frozen=True, slots=True)
class Arrival:
    """As what a guest arrives that was off on the way: another kernel, another type."""

    request: GuestRequest
    image: GuestImage


def move(guest: Guest, target: Host, how: str, *, arrival: Arrival | None = None, deadline: Deadline) -> float:
    """Move ``guest`` to ``target``; returns the seconds from the first call to the last.

    ``how`` is ``live``; ``save-restore`` (its memory goes through a disk that both hosts see); ``cold-shared`` (shut
    down, started over there from the same disk) or ``cold`` (likewise, from a copy of its disk). Where the second half
    fails, the guest is brought back where it came from, as far as that goes.

    Raises:
        MigrationError: it did not arrive; the error knows where it is.
        SilentGuestError: it was to shut down and went on running.
        UnknownNameError: no such way.
    """
    if how not in WAYS:
        raise UnknownNameError("way to move a guest", how, WAYS)
    guest.may_be_on(target)
    with step("migrate", guest=guest.name, source=guest.host.name, target=target.name, how=how):
        try:
            domain, seconds = WAYS[how](guest, target, arrival or Arrival(guest.request, guest.image), deadline)
        except MigrationError as failed:
            if failed.whereabouts.target.state is DomainState.ABSENT:
                guest.is_not_on(target)
            raise
    # What of the step's time were libvirt's own calls; the rest is the lab's.
    emit("moved", guest=guest.name, how=how, seconds=round(seconds, 3))
    if arrival is not None:
        guest.request, guest.image = arrival.request, arrival.image
    guest.settle(target, domain, deadline)
    return seconds


def _live(guest: Guest, target: Host, arrival: Arrival, deadline: Deadline) -> tuple[Domain, float]:
    plan = MigrationPlan(live=True, uri=f"tcp://{target.address}")
    with moving(guest.domain, target.connection), ExitStack() as undo:
        _plug(guest, target, undo, deadline)
        # libxl does not need the kernel for the move, but the domain that arrives names it and must be able to restart.
        target.mount(arrival.image.boot.disk, arrival.image.boot.key, deadline=deadline)
        try:
            moved = migrate(guest.domain, target.connection, plan, deadline)
        except LabError as failed:
            absent = isinstance(failed, MigrationError) and failed.whereabouts.target.state is DomainState.ABSENT
            if not absent:
                undo.pop_all()  # it may be using them
            raise
        undo.pop_all()
    _unplug(guest.host, guest.disks.values(), deadline)
    return moved.domain, moved.seconds


def _saved(guest: Guest, target: Host, arrival: Arrival, deadline: Deadline) -> tuple[Domain, float]:
    source, old = guest.host, guest.domain
    with _memory_disk(guest, deadline) as memory, moving(old, target.connection), ExitStack() as undo:
        target.mount(arrival.image.boot.disk, arrival.image.boot.key, deadline=deadline)
        path = memory.plug(source, deadline)
        undo.callback(
            _quietly, f"unplug {memory.serial}", partial(source.disks.unplug, memory.serial, deadline=deadline)
        )
        start = time.monotonic()
        old.save(path, deadline)
        # From here on the guest is nowhere but in that image.
        undo.callback(_quietly, f"restore {guest.name} on {source.name}", partial(_bring_back, source, path))
        source.shell.run("blockdev", "--flushbufs", path, deadline=deadline).check()
        _plug(guest, target, undo, deadline)
        dataclasses.replace(memory, read_only=True).plug(target, deadline)
        undo.callback(
            _quietly, f"unplug {memory.serial}", partial(target.disks.unplug, memory.serial, deadline=deadline)
        )
        target.connection.restore(target.disks.path(memory.serial), None, deadline)
        seconds = time.monotonic() - start
        # What was restored is gone for good once it stops, unless it is defined as well.
        domain = target.connection.define(_definition(guest, target, arrival, deadline, old.uuid), deadline)
        undo.pop_all()
        old.undefine(deadline)
        _unplug(source, (*guest.disks.values(), memory), deadline)
        target.disks.unplug(memory.serial, deadline=deadline)
    return domain, seconds


def _cold(guest: Guest, target: Host, arrival: Arrival, deadline: Deadline) -> tuple[Domain, float]:
    return _off_and_on(guest, target, arrival, deadline, copied=True)


def _cold_shared(guest: Guest, target: Host, arrival: Arrival, deadline: Deadline) -> tuple[Domain, float]:
    return _off_and_on(guest, target, arrival, deadline, copied=False)


def _off_and_on(
    guest: Guest, target: Host, arrival: Arrival, deadline: Deadline, *, copied: bool
) -> tuple[Domain, float]:
    source, old, disks = guest.host, guest.domain, dict(guest.disks)
    start = time.monotonic()
    _shut_down(guest, target, deadline)
    with moving(old, target.connection), ExitStack() as undo:
        undo.callback(_quietly, f"start {guest.name} on {source.name}", lambda: old.start(Deadline(_UNDO_SECONDS)))
        if copied:
            undo.callback(guest.disks.update, disks)
            guest.disks.update({name: _copy(held, deadline) for name, held in disks.items()})
        _plug(guest, target, undo, deadline)
        domain = target.connection.define(_definition(guest, target, arrival, deadline, old.uuid), deadline)
        undo.callback(_quietly, f"undefine {guest.name} on {target.name}", lambda: domain.undefine(Deadline(30)))
        domain.start(deadline)
        seconds = time.monotonic() - start
        undo.pop_all()
        old.undefine(deadline)
        _unplug(source, disks.values(), deadline)
    for name, held in disks.items():
        if held.image != guest.disks[name].image:
            held.image.unlink(missing_ok=True)
    return domain, seconds


def _shut_down(guest: Guest, target: Host, deadline: Deadline) -> None:
    """A third of the time that is left must do: a guest that spins would otherwise take all of it, and the hour."""
    domain, patience = guest.domain, deadline.at_most(deadline.remaining() / 3)
    try:
        with moving(domain, target.connection):
            domain.shutdown(deadline)
            wait_for_state(domain, (DomainState.SHUTOFF, DomainState.ABSENT), patience)
    except MigrationDeadlineError as late:
        if late.whereabouts.source.state.executes:
            took = f"{patience.seconds:.0f} s after it was asked to shut down"
            raise SilentGuestError(f"{guest.host.name}: guest {guest.name}: still running {took}") from late
        raise


WAYS: dict[str, Callable[[Guest, Host, Arrival, Deadline], tuple[Domain, float]]] = {
    "cold": _cold,
    "cold-shared": _cold_shared,
    "save-restore": _saved,
    "live": _live,
}


def _definition(guest: Guest, target: Host, arrival: Arrival, deadline: Deadline, identity: str) -> str:
    boot = target.mount(arrival.image.boot.disk, arrival.image.boot.key, deadline=deadline)
    disks = [held.spec(name, target) for name, held in sorted(guest.disks.items())]
    init = arrival.image.init
    guest.spec = domain_spec(
        guest.name, arrival.request, guest.address, boot=boot, init=init, disks=disks, host=target, identity=identity
    )
    xml = domain_xml(guest.spec)
    validate(xml)
    return xml


def _copy(held: Held, deadline: Deadline) -> Held:
    """A copy of a disk that nobody writes, as rsync makes one of an LVM volume; what may only be read is shared."""
    if held.read_only:
        return held
    copy = held.image.with_name(f"copy-of-{held.image.name}")
    run("cp", "--sparse=always", "--reflink=auto", held.image, copy, deadline=deadline).check()
    return dataclasses.replace(held, image=copy)


def _plug(guest: Guest, target: Host, undo: ExitStack, deadline: Deadline) -> None:
    for held in guest.disks.values():
        held.plug(target, deadline)
        undo.callback(_quietly, f"unplug {held.serial}", partial(_pull, target, held.serial))


def _pull(host: Host, serial: str) -> None:
    # Its time begins now, not when the disk was plugged.
    host.disks.unplug(serial, deadline=Deadline(10))


def _unplug(host: Host, disks: Iterable[Held], deadline: Deadline) -> None:
    for held in disks:
        host.disks.unplug(held.serial, deadline=deadline)


@contextmanager
def _memory_disk(guest: Guest, deadline: Deadline) -> Iterator[Held]:
    """A disk that a guest's memory fits on. libvirt writes to it as to a file."""
    image: Path = guest.folder / f"{guest.name}.save"
    deadline.check("save")
    with image.open("wb") as file:
        file.truncate((guest.request.memory << 20) + _SAVE_ROOM)
    try:
        yield Held(image, f"{guest.name[-14:]}-saved")
    finally:
        image.unlink(missing_ok=True)


def _bring_back(source: Host, path: str) -> None:
    source.connection.restore(path, None, Deadline(_UNDO_SECONDS))


def _quietly(what: str, action: Callable[[], None]) -> None:
    """Part of going back: the error that led here is the one to tell."""
    try:
        action()
    except LabError as trouble:
        emit("undo failed", what=what, why=trouble.message)
