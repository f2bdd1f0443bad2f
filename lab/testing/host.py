"""A Xen host that is not there: a fake hypervisor, a shell by script, and a shelf that only keeps count."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from lab.deadline import Deadline
from lab.errors import HostError
from lab.hosts.host import Host, Rig
from lab.matrix.model import HostFacts
from lab.process import Completed
from lab.shell import SshNetwork, SshShell, Talk
from lab.testing.hypervisor import FakeHypervisor
from lab.testing.shell import FakeShell

__all__ = ["FakeDisks", "FakeNetwork", "FakeRig", "fake_host"]


@dataclass(frozen=True, slots=True)
class _ScriptedShell(SshShell):
    """Where a machine's own shell is asked for by its type: the type, and a script behind it."""

    script: FakeShell

    def run(self, *argv: str, deadline: Deadline, stdin: bytes = b"") -> Completed:
        return self.script.run(*argv, deadline=deadline, stdin=stdin)

    @contextmanager
    def talk(self, *argv: str, deadline: Deadline) -> Iterator[Talk]:
        with self.script.talk(*argv, deadline=deadline) as talk:
            yield talk

    def ask(
        self, where: str, question: bytes, *, deadline: Deadline, watch: Callable[[], None] = lambda: None
    ) -> Completed:
        return self.script.ask(where, question, deadline=deadline, watch=watch)


@dataclass(frozen=True, slots=True)
class FakeNetwork(SshNetwork):
    """Connects at once to whatever alias, with the script of ``scripts`` for it; ``open`` are the aliases now held."""

    scripts: dict[str, FakeShell] = field(default_factory=dict)
    places: dict[str, str] = field(default_factory=dict)
    open: list[str] = field(default_factory=list)

    def add(self, alias: str, *, address: str, port: int = 22, through: str = "") -> None:
        self.places[alias] = f"{address}:{port} through {through or 'nobody'}"

    def shell(self, alias: str) -> SshShell:
        """The shell of an alias, without a connection."""
        return _ScriptedShell(self, alias, self.scripts.setdefault(alias, FakeShell()))

    @contextmanager
    def connect(
        self, alias: str, *, deadline: Deadline, watch: Callable[[], None] = lambda: None
    ) -> Iterator[SshShell]:
        deadline.check(alias)
        watch()
        self.open.append(alias)
        try:
            yield self.shell(alias)
        finally:
            self.open.remove(alias)


@dataclass(slots=True)
class FakeDisks:
    """A :class:`lab.hosts.host.DiskShelf`: ``plugged`` is serial -> image and whether it may only be read.

    ``broken`` are serials whose disk cannot be plugged or unplugged; ``dead`` is why the host has died.
    """

    plugged: dict[str, tuple[Path, bool]] = field(default_factory=dict)
    broken: frozenset[str] = frozenset()
    dead: str = ""

    def path(self, serial: str) -> str:
        """As udev would name it on an embedded host."""
        return f"/dev/disk/by-id/scsi-0QEMU_QEMU_HARDDISK_{serial}"

    def plug(self, image: Path, serial: str, *, read_only: bool, sector: int, deadline: Deadline) -> str:  # noqa: ARG002 - as in DiskShelf
        """The device's path."""
        self._ask(serial, deadline)
        self.plugged[serial] = (image, read_only)
        return self.path(serial)

    def unplug(self, serial: str, *, deadline: Deadline) -> None:
        """Take it away."""
        self._ask(serial, deadline)
        if self.plugged.pop(serial, None) is None:
            raise HostError(f"no disk {serial}")

    def watch(self) -> None:
        """Raise if it is ``dead``."""
        if self.dead:
            raise HostError(self.dead)

    def _ask(self, serial: str, deadline: Deadline) -> None:
        deadline.check(serial)
        self.watch()
        if serial in self.broken:
            raise HostError(f"disk {serial}: refused")


@dataclass(slots=True)
class FakeRig:
    """A :class:`lab.hosts.host.Rig`: keeps in ``log`` what was done to the machine, and tells it to ``hear``."""

    hear: Callable[[str], None] = lambda _done: None
    log: list[str] = field(default_factory=list)

    def link(self, net: str, *, up: bool, deadline: Deadline) -> None:
        """Pull a cable, or put it back."""
        deadline.check(net)
        self._note(f"{net} {'up' if up else 'down'}")

    def cut_power(self) -> None:
        """End it."""
        self._note("power cut")

    def _note(self, done: str) -> None:
        self.log.append(done)
        self.hear(done)


def fake_host(
    name: str, folder: Path, hypervisor: FakeHypervisor, *, script: FakeShell | None = None, rig: Rig | None = None
) -> Host:
    """A host that is up. Its ``network`` is a :class:`FakeNetwork`, its ``disks`` are :class:`FakeDisks`."""
    script = script or FakeShell({"mkdir *": "", "mount *": "", "timeout *": ""})
    network = FakeNetwork(folder, folder / "key", "lab ssh-ed25519 AAAA\n", {name: script})
    return Host(
        facts=HostFacts(name, "embedded", name.removeprefix("xen-"), "11.3.0", "6.12.57-amd64", "xen-3.0-x86_64"),
        address="10.78.4.20",
        bridge="xenbr0",
        shell=network.shell(name),
        network=network,
        connection=hypervisor.connect(deadline=Deadline(10)),
        disks=FakeDisks(),
        rig=rig,
        tag="f00d",
    )
