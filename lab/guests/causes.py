"""Why a move failed, as far as libvirt's own error does not say: what both hosts know of it, in one place.

libvirt says "Failed to send migration data to destination host", whatever the target lacks; the cause is in libxl's
log on the other host, in a daemon that is another one now, or in a network that leads nowhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lab.deadline import Deadline
from lab.errors import HostError, LabError
from lab.hosts.host import Host

__all__ = ["Mark", "causes", "mark"]

_STAMP = "2026-11-22 19:36:12.842"
"""What a line of libxl's log begins with, in UTC, up to ``+0000: ``."""

_DAEMON = "systemctl show -p MainPID --value libvirtd.service"

_NOW = f"date -u '+%F %T.%3N'; {_DAEMON}"

# Errors of libxl and of its helpers carry their own prefix.
_SINCE = f"grep -hE ': (xc|libxl): ' /var/log/libvirt/libxl/*.log 2>/dev/null | sort | tail -n 30; {_DAEMON}"

_REACH_SECONDS = 3


@dataclass(frozen=True, slots=True)
class Mark:
    """A moment by a host's own clock, and the process of its libvirt daemon then."""

    at: str
    daemon: str


def mark(host: Host, *, deadline: Deadline) -> Mark:
    """The moment that it is there now.

    Raises:
        HostError: the host says something else.
    """
    lines = host.shell.run("sh", "-c", _NOW, deadline=deadline).text.splitlines()
    if len(lines) != 2 or len(lines[0]) != len(_STAMP):
        raise HostError(f"{host.name}: {' | '.join(lines)[:80]!r} are not a time and a process")
    return Mark(*lines)


def causes(source: Host, target: Host, since: Mapping[str, Mark], *, deadline: Deadline) -> tuple[str, ...]:
    """What the hosts say, those of the target first; each line names its host. Never raises.

    ``since`` is by host. A host that has died says so; another cause is not looked for then.
    """
    said = [line for host in (target, source) for line in _said_by(host, since[host.name], deadline)]
    try:
        for host in (target, source):
            host.disks.watch()
        where = (target.address, "22")
        if not source.shell.run("nc", "-z", "-w", str(_REACH_SECONDS), *where, deadline=deadline.at_most(20)):
            said.append(f"{source.name} does not reach {target.name} at {target.address}")
    except LabError:
        pass  # said already
    return tuple(said)


def _said_by(host: Host, since: Mark, deadline: Deadline) -> list[str]:
    try:
        host.disks.watch()
    except LabError as dead:
        return [dead.message]
    try:
        *lines, daemon = host.shell.run("sh", "-c", _SINCE, deadline=deadline.at_most(20)).text.splitlines() or [""]
    except LabError as trouble:
        return [f"{host.name}: could not be asked: {trouble.message}"]
    said = [f"{host.name}: {line[len(_STAMP) :].partition(': ')[2]}" for line in lines if line >= since.at]
    if daemon != since.daemon:
        said.append(f"{host.name}: libvirtd has ended meanwhile: it was process {since.daemon}, now it is {daemon}")
    return said
