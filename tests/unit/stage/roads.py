"""Two hosts and a guest that wants to cross, all in memory, that meet obstacles as real ones do.

What a host's programs say follows from what the fake hypervisor holds, so a test only says what is different.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from lab.checks.obstacles import Crossing
from lab.deadline import Deadline
from lab.debian.kernel import Kernel
from lab.errors import HostError
from lab.guests.guest import Address, start_guest
from lab.guests.image import BootFiles, GuestImage
from lab.hosts.host import Host
from lab.hypervisor import binding
from lab.matrix.model import HostFacts
from lab.process import Completed
from lab.scenario.cell import GuestRequest, KernelRequest
from lab.testing.host import FakeDisks, FakeNetwork, FakeRig, fake_host
from lab.testing.hypervisor import FakeHypervisor
from lab.testing.hypervisor_world import FakeRefusal
from lab.testing.shell import Answer, FakeShell

__all__ = ["BOOT", "NAME", "SENDING", "Dom0", "FakeRoads", "Road", "road", "soon"]

NAME = "web32-f00d-10"
GUEST = GuestRequest("web32", "bookworm", "i386", KernelRequest("trixie"), "pv", 128)
FREE = 1400

BOOT = "7d0c5a0e-0f9b-4d9c-8a53-0f6d1f1b7a11"
_LIFE = f"{BOOT}\n401/2201\n402/2203\n"
_BEFORE, _AFTER = "2026-11-22 19:36:10.000", "2026-11-22 19:36:14.130"
SENDING = "internal error: Failed to send migration data to destination host"


def soon() -> Deadline:
    return Deadline(20)


@dataclass
class Dom0(FakeShell):
    """A host's shell. ``log`` is libxl's; ``more`` are traces that no domain explains; ``helpers`` are those of libxl
    that still send or wait, and ``end`` is called when they are told to end. ``half`` is a domain that nobody wants,
    ``job`` what libvirt says of one, and a host that ``hides`` its bridge does so when it is told.
    """

    world: FakeHypervisor = field(default_factory=FakeHypervisor)
    log: list[str] = field(default_factory=list)
    more: str = ""
    daemon: int = 319
    dead: str = ""
    helpers: list[str] = field(default_factory=list)
    end: Callable[[], None] = lambda: None
    half: str = ""
    job: str = "None"
    reaches: bool = True
    incoming: bool = False
    killed: Callable[[], None] = lambda: None
    hides: bool = True

    def run(self, *argv: str, deadline: Deadline, stdin: bytes = b"") -> Completed:
        if self.dead:
            raise HostError(self.dead)
        text = " ".join(argv)
        for words, answer in self._known.items():
            if words in text:
                said = super().run(*argv, deadline=deadline, stdin=stdin)  # it is noted
                reply = answer(argv)
                reply = Answer(stdout=reply) if isinstance(reply, str) else reply
                return Completed(said.argv, reply.status, reply.stdout.encode(), reply.stderr.encode())
        return super().run(*argv, deadline=deadline, stdin=stdin)

    @property
    def _known(self) -> dict[str, Callable[[tuple[str, ...]], str | Answer]]:
        return {
            "xenstore-ls": lambda _: self._traces(),
            "date -u": lambda _: f"{_BEFORE}\n{self.daemon}\n",
            "grep -hE ': (xc|libxl): '": lambda _: "".join(f"{line}\n" for line in (*self.log, str(self.daemon))),
            "kill -TERM": lambda _: self._end(),
            "xl domid": lambda _: self._drop(),
            "domjobinfo": lambda _: f"Job type:         {self.job}\n",
            "systemctl restart": lambda _: self._restart(),
            "systemctl start": lambda _: self._restart() if self.world.faults.down else "",
            "virsh -q -c xen:///system version": lambda _: "",
            "kill -KILL": lambda _: self._kill(),
            "name lab-gone": lambda _: self._hide(),
            "ip link set lab-gone": lambda _: self._show(),
            "xl info": lambda _: f"free_memory            : {FREE}\n",
            "nc -z -w 3": lambda _: Answer(0 if self.reaches else 1),
            'xl list "$1"': lambda _: Answer(0 if self.incoming else 1),
        }

    def _traces(self) -> str:
        lines = []
        records = [record for record in self.world.records.values() if record.active]
        for number, record in enumerate(records, 3):
            lines += [f"tenant {number} {record.identity.name} 128 1 -b---- 3.2 {record.identity.uuid} -"]
            lines += [f"xenstore /libxl/{number}"]
        if self.half:
            lines += [f"tenant 9 {NAME} 16 1 --p--- 0.0 {self.half} -", "xenstore /libxl/9"]
        return "\n".join([*lines, *self.more.splitlines(), "xl dmesg", "(XEN) Xen version 4.17\n"])

    def _end(self) -> str:
        ended = "".join(f"{pid}\n" for pid in self.helpers)
        self.helpers.clear()
        self.end()
        return ended

    def _drop(self) -> str:
        dropped, self.half = self.half, ""
        return "9\n" if dropped else ""

    def _kill(self) -> str:
        self.daemon = 0
        self.killed()
        return ""

    def _restart(self) -> str:
        self.daemon = 977
        self.world.faults.down = ""
        self.job = "None"
        return ""

    def _hide(self) -> str:
        self.world.bridges = frozenset() if self.hides else None
        return ""

    def _show(self) -> str:
        self.world.bridges = None
        return ""


@dataclass
class Road:
    """A crossing, and what it is made of. ``stuck``: memory that comes in is not heard of again, until ``ended``."""

    crossing: Crossing
    worlds: list[FakeHypervisor]
    dom0s: list[Dom0]
    guest: FakeShell
    rig: FakeRig
    ended: threading.Event = field(default_factory=threading.Event)

    def disks(self, host: Host) -> FakeDisks:
        assert isinstance(host.disks, FakeDisks)
        return host.disks

    def meanwhile(self, *acts: Callable[[], object]) -> None:
        """Do that when memory comes in, one act a move, and nothing after the last."""
        turns = iter(acts)

        def act() -> None:
            for turn in turns:
                turn()
                break

        self.worlds[1].on_the_way = act

    def slow(self, *, fails: bool) -> None:
        """From now on memory comes in until ``ended``; then it has not arrived, if it ``fails``."""

        def wait() -> None:
            self.dom0s[1].incoming = True
            self.ended.wait(10)
            if fails:
                raise FakeRefusal(binding.INTERNAL_ERROR, SENDING)

        self.ended.clear()
        self.worlds[1].on_the_way = wait

    def quick(self) -> None:
        """Memory comes in at once again."""
        self.worlds[1].on_the_way = None
        self.dom0s[1].incoming = False

    def ready_for(self, name: str) -> None:
        """Behave as real hosts do when they meet that obstacle."""
        _source, target = self.dom0s
        match name:
            case "no-bridge":
                target.log.append(f"{_AFTER}+0000: libxl: x.c:1: script: Could not find bridge device xenbr0")
            case "no-memory":
                self.worlds[1].free_mib = FREE
            case "no-disk":
                plugged = self.disks(self.crossing.target).plugged
                self.worlds[1].sees = lambda path: any(path.endswith(f"_{serial}") for serial in plugged)
            case "unreachable":
                self._hanging()
                self.rig.hear = self._cable
            case "killed-libvirtd":
                self.slow(fails=True)
                target.half = "0b0f1e7e-0000-4111-8111-0123456789ab"
                target.killed = self._daemon_dies
            case "moved-twice":
                self.slow(fails=False)
                self._watch_for_rival()
            case "power-cut":
                self._hanging()
                self.rig.hear = lambda _done: self._die()
            case _:
                pass

    def _hanging(self) -> None:
        self.slow(fails=True)
        self.worlds[0].faults.no_abort = True
        self.dom0s[0].helpers = ["812"]
        self.dom0s[0].end = self._give_up

    def _give_up(self) -> None:
        self.quick()
        self.ended.set()

    def _cable(self, done: str) -> None:
        self.dom0s[0].reaches = done == "moves up"

    def _daemon_dies(self) -> None:
        self.worlds[1].faults.down = "internal error: client socket is closed"
        self.quick()
        self.ended.set()

    def _watch_for_rival(self) -> None:
        job = self.worlds[0].job

        @contextmanager
        def noticed(record: object) -> Iterator[None]:
            try:
                with job(record):  # type: ignore[arg-type] # handed on as it came
                    yield
            except FakeRefusal:
                self.quick()
                self.ended.set()
                raise

        self.worlds[0].job = noticed  # type: ignore[method-assign] # of this one world

    def _die(self) -> None:
        why = "xen-4.20: QEMU ended with status -9; its console: (XEN) well"
        self.disks(self.crossing.target).dead = why
        self.dom0s[1].dead = "xen-4.20: connection lost"
        self.worlds[1].faults.down = "internal error: client socket is closed"


@contextmanager
def road(folder: Path) -> Iterator[Road]:
    """A guest on xen-4.14 that may go to xen-4.20."""
    worlds = [FakeHypervisor(uri=f"fake:///xen-{version}") for version in ("4.14", "4.20")]
    scripted = {"mkdir *": "", "mount *": "", "timeout 5 *": "", "timeout 60 *": "", "sh -c cat *": "boots\n"}
    dom0s = [Dom0(dict(scripted), world=world) for world in worlds]
    shell = FakeShell({"sh -c *boot_id*": _LIFE, "true": ""})
    rig = FakeRig()
    hosts = []
    for name, world, dom0 in zip(("xen-4.14", "xen-4.20"), worlds, dom0s, strict=True):
        (folder / name).mkdir(parents=True)
        hosts.append(fake_host(name, folder / name, world, script=dom0, rig=rig))
        assert isinstance(hosts[-1].network, FakeNetwork)
        hosts[-1].network.scripts[NAME] = shell
    disk = folder / "image.raw"
    disk.touch()
    kernel = Kernel(folder, "6.12.57+deb13-amd64", "6.12.57-1", "amd64")
    image = GuestImage(disk, BootFiles("b00t", kernel, folder), "/sbin/init")
    with ExitStack() as stack:
        guest = stack.enter_context(start_guest(NAME, hosts[0], GUEST, image, Address(10), folder, deadline=soon()))
        made = Road(Crossing(guest, hosts[0], hosts[1]), worlds, dom0s, shell, rig)
        stack.callback(made.ended.set)
        for world in worlds:
            stack.callback(world.release)
        yield made


@dataclass
class FakeRoads:
    """A ground whose crossings a test prepares: ``prepare`` gets each and its number, from 1."""

    folder: Path
    prepare: Callable[[Road, int], None]
    log: list[str] = field(default_factory=list)
    roads: list[Road] = field(default_factory=list)
    accelerator: str = "tcg"

    def hosts(self) -> tuple[HostFacts, ...]:
        return tuple(host.facts for road_ in self.roads[:1] for host in (road_.crossing.source, road_.crossing.target))

    def plan(self, deadline: Deadline) -> None:
        deadline.check("plan")

    @contextmanager
    def crossing(self, deadline: Deadline) -> Iterator[Crossing]:
        deadline.check("crossing")
        number = len(self.roads) + 1
        with road(self.folder / f"road-{number}") as made:
            self.roads.append(made)
            self.prepare(made, number)
            self.log.append(f"{number} up")
            try:
                yield made.crossing
            finally:
                self.log.append(f"{number} down")

    def salvage(self, folder: Path) -> None:
        self.log.append("salvage")
        (folder / "xl-dmesg.log").write_text("(XEN) nothing to see\n")
