"""What the user's own hosts lack, each asked by one ssh command, and the commands that mend it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from lab.deadline import Deadline
from lab.doctor.diagnosis import Diagnosis, State
from lab.errors import DeadlineError, HostError
from lab.hosts.inventory.ssh import OneShot
from lab.hosts.inventory.survey import Lack, Survey, lacks, mending, survey
from lab.scenario.inventory import Inventory, ListedHost

__all__ = ["Looked", "diagnose_hosts", "look"]

_SECONDS = 90.0
_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Looked:
    """What came of asking a host: what it said, or why it did not."""

    host: ListedHost
    seen: Survey | None
    trouble: str = ""
    hint: str = ""


def look(inventory: Inventory, *, deadline: Deadline) -> tuple[Looked, ...]:
    """Ask every host, several at once."""
    with ThreadPoolExecutor(_AT_ONCE) as workers:
        return tuple(workers.map(lambda host: _looked(host, deadline.at_most(_SECONDS)), inventory.hosts.values()))


def _looked(host: ListedHost, deadline: Deadline) -> Looked:
    try:
        return Looked(host, survey(OneShot(host), host.bridge, deadline=deadline))
    except (HostError, DeadlineError) as trouble:
        return Looked(host, None, trouble.message, trouble.hint)


def diagnose_hosts(looked: Iterable[Looked]) -> Iterator[Diagnosis]:
    """A line for a host that has all, and one for each thing that a host lacks. Pure."""
    for each in looked:
        name = each.host.name
        if each.seen is None:
            yield Diagnosis(name, State.MISSING, each.trouble.removeprefix(f"{name}: "), advice=each.hint)
            continue
        found = tuple(lacks(each.host, each.seen))
        if not any(lack.needed for lack in found):
            yield Diagnosis(name, State.WELL, _described(each.host, each.seen))
        for lack in found:
            yield _diagnosis(each.host, lack)


def _diagnosis(host: ListedHost, lack: Lack) -> Diagnosis:
    command = mending(OneShot(host).shown, (lack,))
    state = State.MISSING if lack.needed else State.NOTE
    return Diagnosis(f"{host.name}: {lack.what}", state, lack.seen, command=command, advice=lack.advice)


def _described(host: ListedHost, seen: Survey) -> str:
    free = f", {seen.free_mib} MiB free" if seen.free_mib is not None else ""
    return f"Xen {seen.xen}, libvirt answers, bridge {host.bridge}{free}"
