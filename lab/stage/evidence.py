"""Evidence: what hosts and guests wrote while a cell ran, kept beside its verdict."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from lab.deadline import Deadline
from lab.errors import LabError
from lab.guests.guest import Guest
from lab.guests.observation import Observation
from lab.hosts.host import Host

__all__ = ["keep_guest", "keep_host", "keep_observation"]

_LIBXL = "tail -n 400 /var/log/libvirt/libxl/*.log /var/log/libvirt/libvirtd.log 2>/dev/null"


def keep_host(host: Host, folder: Path, *, deadline: Deadline) -> None:
    """The host's serial console, ``xl dmesg`` and what libxl and libvirt logged. Never raises."""
    if host.console is not None and host.console.exists():
        (folder / f"{host.name}-console.log").write_bytes(host.console.read_bytes()[-400_000:])
    for name, command in (("xl-dmesg", "xl dmesg"), ("libxl", _LIBXL)):
        text = _try(lambda command=command: host.shell.run("sh", "-c", command, deadline=deadline).text)  # type: ignore[misc]  # the default binds the loop's value
        (folder / f"{host.name}-{name}.log").write_text(text)


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
