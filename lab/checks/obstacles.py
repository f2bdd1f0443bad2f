"""What stands in the way of a migration, put there for real: the data of ``lab prove --obstacles``.

Each obstacle says how it is put up and taken away, and by which words an error must name it.
"""

from __future__ import annotations

import dataclasses
import re
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from lab.deadline import Deadline
from lab.errors import HostError, LabError, UnknownNameError
from lab.guests.aftermath import await_daemon
from lab.guests.guest import Guest
from lab.hosts.host import DiskShelf, Host, Rig
from lab.hypervisor import DomainSpec, MigrationPlan, domain_xml, migrate

__all__ = ["BEFORE", "MIDWAY", "OBSTACLES", "Crossing", "Obstacle", "Stand", "chosen_obstacles"]

BEFORE, MIDWAY = "before", "midway"

_UNDO_SECONDS = 120.0
"""An obstacle goes whether or not there is time left: the next guest must not meet it."""


@dataclass
class Crossing:
    """A guest that is about to go from ``source`` to ``target``. ``rival`` is what a second move of it has met."""

    guest: Guest
    source: Host
    target: Host
    rival: LabError | None = None


Stand = Callable[[Crossing, Deadline], AbstractContextManager[Host]]
"""Puts an obstacle up, and takes it away at the end; gives the target as the move is to see it."""


@dataclass(frozen=True)
class Obstacle:
    """One obstacle.

    ``does`` is what is done and ``undone`` how it is taken away. ``cause`` is what an error must name, in words for
    people; ``words`` are patterns of which one must be found, with ``{guest}``, ``{disk}``, ``{bridge}``, ``{source}``
    and ``{target}`` for the names of this move's. ``when`` is ``before`` the move or ``midway``: while the guest's
    memory is on its way. ``seconds`` is the deadline of the move that meets it. ``rival``: the move that must fail is
    a second one beside it, and the first goes on. ``fatal``: the target does not come back.
    """

    name: str
    does: str
    cause: str
    words: tuple[str, ...]
    undone: str
    stand: Stand
    when: str = MIDWAY
    seconds: float = 150.0
    rival: bool = False
    fatal: bool = False

    def pattern(self, crossing: Crossing) -> re.Pattern[str]:
        """What an error must have in it."""
        names = {
            "guest": crossing.guest.name,
            "disk": crossing.guest.disks["xvda"].serial,
            "bridge": crossing.target.bridge,
            "source": crossing.source.name,
            "target": crossing.target.name,
        }
        safe = {name: re.escape(value) for name, value in names.items()}
        return re.compile("|".join(words.format(**safe) for words in self.words))


# A bridge under another name is none; the host keeps all that hangs on it. Whoever minds the host's networks may have
# dropped the address meanwhile.
_HIDE = """
ip -o -4 addr show dev "$1" | { read -r _ _ _ address _; echo "$address"; } > /run/lab-bridge
ip link set "$1" down && ip link set "$1" name lab-gone
"""
_SHOW = """
ip link set lab-gone down; ip link set lab-gone name "$1" && ip link set "$1" up || exit
read -r address < /run/lab-bridge
[ -z "$address" ] || ip addr replace "$address" dev "$1"
"""


@contextmanager
def _no_bridge(crossing: Crossing, deadline: Deadline) -> Iterator[Host]:
    target = crossing.target
    try:
        _on(target, _HIDE, target.bridge, deadline=deadline)
        yield target
    finally:
        _on(target, _SHOW, target.bridge, deadline=Deadline(_UNDO_SECONDS))


@dataclass(frozen=True, slots=True)
class _Withholding:
    """A shelf that has all disks but one, and says nothing of that."""

    shelf: DiskShelf
    serial: str

    def path(self, serial: str) -> str:
        return self.shelf.path(serial)

    def plug(self, image: Path, serial: str, *, read_only: bool, sector: int, deadline: Deadline) -> str:
        if serial == self.serial:
            return ""
        return self.shelf.plug(image, serial, read_only=read_only, sector=sector, deadline=deadline)

    def unplug(self, serial: str, *, deadline: Deadline) -> None:
        if serial != self.serial:
            self.shelf.unplug(serial, deadline=deadline)

    def watch(self) -> None:
        self.shelf.watch()


@contextmanager
def _no_disk(crossing: Crossing, _deadline: Deadline) -> Iterator[Host]:
    target = crossing.target
    yield dataclasses.replace(target, disks=_Withholding(target.disks, crossing.guest.disks["xvda"].serial))


_SQUATTER = "lab-squatter"


@contextmanager
def _no_memory(crossing: Crossing, deadline: Deadline) -> Iterator[Host]:
    guest, target = crossing.guest, crossing.target
    boot = guest.image.boot
    kernel = target.mount(boot.disk, boot.key, deadline=deadline)
    free = _free_mib(target, deadline)
    # Half of what the guest needs: its domain can be made, and its memory does not fit.
    leaves = guest.request.memory // 2
    if free <= leaves:
        yield target
        return
    spec = DomainSpec(_SQUATTER, str(uuid.uuid4()), "pv", free - leaves, 1, f"{kernel}/vmlinux", f"{kernel}/initrd")
    squatter = target.connection.define(domain_xml(spec), deadline)
    try:
        squatter.start(deadline, paused=True)
        yield target
    finally:
        undo = Deadline(_UNDO_SECONDS)
        squatter.destroy(undo)
        squatter.undefine(undo)


def _free_mib(host: Host, deadline: Deadline) -> int:
    said = host.shell.run("xl", "info", deadline=deadline).check().text
    free = re.search(r"^free_memory\s*: (\d+)", said, re.MULTILINE)
    if free is None:
        raise HostError(f"{host.name}: xl info does not tell the free memory")
    return int(free[1])


@contextmanager
def _name_taken(crossing: Crossing, deadline: Deadline) -> Iterator[Host]:
    namesake = dataclasses.replace(crossing.guest.spec, uuid=str(uuid.uuid4()))
    domain = crossing.target.connection.define(domain_xml(namesake), deadline)
    try:
        yield crossing.target
    finally:
        domain.undefine(Deadline(_UNDO_SECONDS))


@contextmanager
def _cut_link(crossing: Crossing, deadline: Deadline) -> Iterator[Host]:
    source, target = crossing.source, crossing.target
    rig = _rig_of(target)
    rig.link("moves", up=False, deadline=deadline)
    try:
        yield target
    finally:
        undo = Deadline(_UNDO_SECONDS)
        rig.link("moves", up=True, deadline=undo)
        # The host takes a while to configure a network that came back.
        script = f"until nc -z -w 2 {target.address} 22; do sleep 0.2; done"
        source.shell.run("timeout", "60", "sh", "-c", script, deadline=undo).check(
            hint=f"{source.name} does not reach {target.name} again"
        )


@contextmanager
def _killed_daemon(crossing: Crossing, deadline: Deadline) -> Iterator[Host]:
    target = crossing.target
    try:
        _on(target, 'kill -KILL "$(systemctl show -p MainPID --value libvirtd.service)"', deadline=deadline)
        yield target
    finally:
        await_daemon(target, deadline=Deadline(_UNDO_SECONDS))


@contextmanager
def _second_move(crossing: Crossing, deadline: Deadline) -> Iterator[Host]:
    source, target = crossing.source, crossing.target
    # As somebody else would do it: by connections of their own.
    with source.connection.reconnect(deadline) as here, target.connection.reconnect(deadline) as there:
        plan = MigrationPlan(live=True, uri=f"tcp://{target.address}")
        try:
            migrate(here.domain(crossing.guest.name, deadline), there, plan, deadline)
        except LabError as refused:
            crossing.rival = refused
    yield target


@contextmanager
def _power_cut(crossing: Crossing, _deadline: Deadline) -> Iterator[Host]:
    _rig_of(crossing.target).cut_power()
    yield crossing.target


def _rig_of(host: Host) -> Rig:
    if host.rig is None:
        raise HostError(
            f"{host.name}: nobody can pull its plugs", hint="only embedded hosts are the lab's own machines"
        )
    return host.rig


def _on(host: Host, script: str, *words: str, deadline: Deadline) -> None:
    host.shell.run("sh", "-c", script, "sh", *words, deadline=deadline).check()


OBSTACLES: tuple[Obstacle, ...] = (
    Obstacle(
        "no-bridge",
        "the target's bridge is renamed, so that there is none of the name that the guest wants",
        "the bridge",
        # The first is of Xen's script vif-bridge, by way of libxl's log.
        ("bridge device {bridge}", "bridge {bridge}"),
        "the bridge gets its name back, and its address",
        _no_bridge,
        BEFORE,
    ),
    Obstacle(
        "no-disk",
        "the guest's disk is not plugged into the target",
        "the disk's path",
        ("failed to stat: .*{disk}", "{disk}: No such file or directory"),
        "the next move plugs it",
        _no_disk,
        BEFORE,
    ),
    Obstacle(
        "no-memory",
        "another domain on the target takes all memory but half of what the guest needs",
        "the memory",
        # The first is of libxenguest: the hypervisor did not give it all the pages that it asked for.
        ("populat\\w* (the )?physmap", "[Cc]annot allocate memory", "not enough free memory", "mempool"),
        "that domain is destroyed",
        _no_memory,
        BEFORE,
    ),
    Obstacle(
        "name-taken",
        "another domain of the guest's name is defined on the target",
        "the name, and that it is taken",
        ("'{guest}' already exists",),
        "that domain is undefined",
        _name_taken,
        BEFORE,
    ),
    Obstacle(
        "unreachable",
        "the target's cable of the network for migrations is pulled while memory is sent (QMP set_link)",
        "that the source does not reach the target",
        ("{source} does not reach {target}", "Connection timed out", "No route to host"),
        "the cable is put back, and who still sends or waits for memory is told to end",
        _cut_link,
        seconds=90.0,
    ),
    Obstacle(
        "killed-libvirtd",
        "SIGKILL to the target's libvirtd while memory is sent",
        "that the target's libvirtd has ended",
        ("{target}: libvirtd has ended",),
        "libvirtd is started again, and what it had half made of the guest is destroyed",
        _killed_daemon,
    ),
    Obstacle(
        "moved-twice",
        "a second migration of the guest is begun by other connections while the first sends its memory",
        "the migration that is under way",
        ("state change lock", "is already (active|being started)"),
        "nothing is to be undone: the first goes on, and is the next move",
        _second_move,
        seconds=180.0,
        rival=True,
    ),
    Obstacle(
        "power-cut",
        "the target's QEMU is killed while memory is sent",
        "that the target's machine has ended",
        ("{target}: QEMU ended",),
        "not at all: the next move is another guest's, on fresh hosts",
        _power_cut,
        seconds=90.0,
        fatal=True,
    ),
)
"""The negative cases of a migration. Midway is when the target has a part of the guest's memory."""


def chosen_obstacles(names: Sequence[str]) -> tuple[Obstacle, ...]:
    """Those of that names, or all for none, in the order of the table.

    Raises:
        UnknownNameError: no obstacle is called that.
    """
    known = {obstacle.name for obstacle in OBSTACLES}
    for name in names:
        if name not in known:
            raise UnknownNameError("obstacle", name, known)
    return tuple(obstacle for obstacle in OBSTACLES if not names or obstacle.name in names)
