"""Evidence: what hosts and guests wrote while a cell ran, kept beside its verdict."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from enum import Enum
from pathlib import Path

from lab.checks.journey import Journey
from lab.deadline import Deadline
from lab.errors import LabError
from lab.guests.guest import Guest
from lab.guests.observation import Observation
from lab.hosts.host import Host

__all__ = ["keep_guest", "keep_host", "keep_journey", "keep_observation"]

_CUT = "---- lab: the next log ----"
_LIBXL = "tail -n 400 /var/log/libvirt/libxl/*.log /var/log/libvirt/libvirtd.log 2>/dev/null"


def keep_host(host: Host, folder: Path, *, deadline: Deadline) -> None:
    """The host's serial console, ``xl dmesg`` and what libxl and libvirt logged. Never raises."""
    if host.console is not None and host.console.exists():
        (folder / f"{host.name}-console.log").write_bytes(host.console.read_bytes()[-400_000:])
    # One command, since each costs a quarter of a second.
    text = _try(lambda: host.shell.run("sh", "-c", f"xl dmesg; echo '{_CUT}'; {_LIBXL}", deadline=deadline).text)
    head, cut, tail = text.partition(_CUT)
    (folder / f"{host.name}-xl-dmesg.log").write_text(head)
    # Where it could not be asked, that goes for both.
    (folder / f"{host.name}-libxl.log").write_text(tail.removeprefix("\n") if cut else head)


def keep_journey(journey: Journey, path: Path) -> None:
    """All that was seen of a move, as JSON: what the checks were put to."""
    path.write_text(json.dumps(asdict(journey), default=_plain, indent=1, ensure_ascii=True) + "\n")


def _plain(value: object) -> object:
    if isinstance(value, frozenset):
        return sorted(map(str, value))
    return value.value if isinstance(value, Enum) else str(value)


def keep_guest(guest: Guest, folder: Path, *, deadline: Deadline) -> None:
    """The guest's serial console where it is now, and its domain XML. Never raises."""
    where = guest.host.name
    (folder / f"{guest.name}-on-{where}-console.log").write_text(_try(lambda: guest.console(deadline=deadline)))
    (folder / f"{guest.name}-on-{where}.xml").write_text(_try(lambda: guest.domain.xml(deadline)))


def keep_observation(seen: Observation, path: Path) -> None:
    """One look inside a guest, as lines."""
    lines = [f"{name}: {value}" for name, value in asdict(seen).items() if name != "kernel_log"]
    path.write_text("\n".join([*lines, "kernel_log:", *seen.kernel_log]) + "\n")


def _try(ask: Callable[[], str]) -> str:
    try:
        return ask()
    except LabError as trouble:
        # Evidence of a dead machine is that it could not be asked.
        return f"could not be asked: {trouble.message}\n"
