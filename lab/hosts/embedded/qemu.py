"""QEMU as an embedded host's hardware: one fixed set of devices, so that a snapshot fits every later start."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from lab.deadline import Deadline
from lab.errors import HostError
from lab.hosts.embedded.network import NETS, PrivateNetwork
from lab.hosts.embedded.qmp import NotListeningError, Qmp
from lab.process import last_line, run, spawn
from lab.wait import wait_until

__all__ = [
    "HARDWARE",
    "Boot",
    "Cabling",
    "Hardware",
    "Machine",
    "Plug",
    "Start",
    "Wiring",
    "make_overlay",
    "option",
    "qemu_version",
    "save_memory",
    "start_machine",
]

PROGRAM = "qemu-system-x86_64"


@dataclass(frozen=True, slots=True)
class Hardware:
    """What a snapshot depends on besides its disk. ``memory`` is in MiB."""

    memory: int = 2560
    machine: str = "pc"

    def cpus(self, accelerator: str) -> int:
        """How many CPUs. Emulated, one: Xen takes spin locks around what it does to its APIC, each emulated CPU leaves
        them for QEMU's own lock there, and of two CPUs the other one spins: 45 % of all time while a guest was moved,
        which took 41 s with two and 17 s with one (docs/adr/0009-one-emulated-cpu.md).
        """
        return 2 if accelerator == "kvm" else 1

    def cpu(self, accelerator: str) -> str:
        """The CPU model, with what breaks Xen or its guests under emulation taken out.

        smap, smep: dom0 dies at once with a page fault under TCG. cx16: guests with 6.12 die at random right after
        cmpxchg16b. xsave, pku: a 7.2 guest as PVH panics in fpstate_reset. erms, fsrm: kernels then copy and clear
        memory by `rep movsb`, which TCG takes a byte at a time, 15 ns each. All seen with QEMU 7.2.
        """
        return "host" if accelerator == "kvm" else "max,-smap,-smep,-cx16,-xsave,-pku,-erms,-fsrm"

    def argv(self, accelerator: str, station: int) -> tuple[str, ...]:
        """The part of the command line that must be the same at a snapshot's making and at its return.

        ``station`` (0-255) tells this host's network card from those of other hosts on the switch.
        """
        return (
            *("-nodefaults", "-no-user-config", "-display", "none"),
            *("-machine", f"{self.machine},accel={accelerator}", "-cpu", self.cpu(accelerator)),
            *("-smp", str(self.cpus(accelerator)), "-m", str(self.memory)),
            *("-device", "virtio-blk-pci,id=root,drive=root"),
            # Disks of guests are plugged in while the host runs; SCSI needs no PCI hotplug in dom0 for that.
            *("-device", "virtio-scsi-pci,id=scsi"),
            *("-device", "virtio-net-pci,netdev=nat,mac=52:54:00:77:00:01"),
            *(word for card in _cards(station) for word in ("-device", card)),
            *("-device", "virtio-rng-pci"),
        )


HARDWARE = Hardware()


class Start(Protocol):
    """What a machine starts from."""

    def argv(self) -> tuple[str, ...]:
        """That part of QEMU's command line."""
        ...


class Cabling(Protocol):
    """What may differ from start to start: files in ``folder``, sockets in ``sockets``, whose path is short."""

    @property
    def folder(self) -> Path: ...

    @property
    def sockets(self) -> Path: ...

    @property
    def console(self) -> Path:
        """Everything that the machine says on its serial port."""
        ...

    def argv(self, name: str) -> tuple[str, ...]:
        """That part of QEMU's command line, for a machine called ``name``."""
        ...


@dataclass(frozen=True, slots=True)
class Boot:
    """What a machine starts from: ``xen`` with arguments, ``kernel`` with arguments and ``initrd``."""

    xen: Path
    xen_args: str
    kernel: Path
    kernel_args: str
    initrd: Path

    def argv(self) -> tuple[str, ...]:
        """QEMU's multiboot loader takes dom0's kernel and initrd as modules; a comma in one of them is doubled."""
        modules = (f"{self.kernel} {self.kernel_args}", str(self.initrd))
        joined = ",".join(module.replace(",", ",,") for module in modules)
        return ("-kernel", str(self.xen), "-append", self.xen_args, "-initrd", joined)


@dataclass(frozen=True, slots=True)
class Plug:
    """The raw image ``image`` as a SCSI disk that dom0 finds by ``serial`` (at most 20 characters).

    ``target`` (0-255) is its address on the bus: a snapshot finds its disks again by that. ``sector`` is in bytes. Two
    hosts may hold the same image at once: it is shared storage, and locking is off for that.
    """

    image: Path
    serial: str
    target: int
    read_only: bool
    sector: int = 512

    @property
    def node(self) -> dict[str, object]:
        """What QEMU's blockdev-add is told."""
        cache = {"direct": False, "no-flush": True}
        file = {"driver": "file", "filename": str(self.image), "locking": "off", "discard": "unmap", "cache": cache}
        node = {"driver": "raw", "node-name": f"node-{self.serial}", "read-only": self.read_only, "discard": "unmap"}
        return {**node, "cache": cache, "file": file}

    @property
    def device(self) -> dict[str, object]:
        """What QEMU's device_add is told."""
        place = {"bus": "scsi.0", "channel": 0, "scsi-id": self.target, "lun": 0}
        sizes = {"logical_block_size": self.sector, "physical_block_size": self.sector}
        drive = {"drive": f"node-{self.serial}", "serial": self.serial, "share-rw": True}
        return {"driver": "scsi-hd", "id": f"disk-{self.serial}", **place, **sizes, **drive}

    @property
    def argv(self) -> tuple[str, ...]:
        """The same for a machine that starts with it."""
        return ("-blockdev", json.dumps(self.node), "-device", json.dumps(self.device))


@dataclass(frozen=True, slots=True)
class Wiring:
    """What may differ from start to start: files and sockets in ``folder``, the ``network``, disks of guests.

    ``network`` is what hosts share, and this host's number there; None for a host that sees nobody. ``plugs`` are the
    disks that were plugged when the snapshot was taken; their files may be others.
    """

    folder: Path
    sockets: Path
    disk: Path
    network: tuple[PrivateNetwork, int] | None
    plugs: tuple[Plug, ...] = ()

    @property
    def console(self) -> Path:
        """Everything that Xen and dom0 say on the serial port."""
        return self.folder / "console.log"

    def _netdev(self, net: str) -> str:
        if self.network is None:
            return f"hubport,id={net},hubid={NETS.index(net)}"
        network, station = self.network
        return f"stream,id={net},server=off,addr.type=unix,addr.path={option(network.socket(net, station))}"

    def argv(self, name: str) -> tuple[str, ...]:
        """The rest of the command line. restrict=on: nothing inside can reach anything outside."""
        return (
            *("-name", name, "-pidfile", str(self.folder / "qemu.pid")),
            *("-drive", f"if=none,id=root,file={option(self.disk)},format=qcow2,cache=unsafe,discard=unmap"),
            *("-netdev", "user,id=nat,restrict=on,hostfwd=tcp:127.0.0.1:0-:22"),
            *(word for net in NETS for word in ("-netdev", self._netdev(net))),
            *("-chardev", f"file,id=console,path={option(self.console)},append=on", "-serial", "chardev:console"),
            *("-qmp", f"unix:{option(self.sockets / 'qmp')},server=on,wait=off"),
            *(word for plug in self.plugs for word in plug.argv),
        )


def option(path: Path) -> str:
    """A path as the value of an option; there QEMU takes a comma for the end, unless it is doubled."""
    return str(path).replace(",", ",,")


def _cards(station: int) -> list[str]:
    return [f"virtio-net-pci,netdev={net},mac=52:54:00:77:{card:02x}:{station:02x}" for card, net in enumerate(NETS, 1)]


@dataclass(frozen=True, slots=True)
class Machine:
    """A running QEMU."""

    name: str
    process: subprocess.Popen[bytes]
    qmp: Qmp
    wiring: Cabling

    def watch(self) -> None:
        """Nothing, as long as QEMU runs.

        Raises:
            HostError: it ended; the last lines of the console say why.
        """
        if self.process.poll() is not None:
            console = self.wiring.console.read_bytes() if self.wiring.console.exists() else b""
            said = " | ".join(console.decode(errors="replace").splitlines()[-3:])
            raise HostError(f"{self.name}: QEMU ended with status {self.process.returncode}; its console: {said}")

    def version(self, deadline: Deadline) -> tuple[int, int]:
        """QEMU's version, as (10, 0)."""
        said = self.qmp.execute("query-version", deadline=deadline)["qemu"]
        return said["major"], said["minor"]

    def ssh_port(self, deadline: Deadline) -> int:
        """The loopback port that leads to the machine's port 22."""
        return self.port(22, deadline)

    def port(self, inside: int, deadline: Deadline) -> int:
        """The loopback port that leads to the machine's port ``inside``; the kernel chose it, so no other run has it.

        Raises:
            HostError: none does.
        """
        said = self.qmp.execute("human-monitor-command", {"command-line": "info usernet"}, deadline=deadline)
        found = re.search(rf"HOST_FORWARD\]\s+\d+\s+127\.0\.0\.1\s+(\d+)\s+\S+\s+{inside}\s", said)
        if not found:
            raise HostError(f"{self.name}: QEMU does not forward a port: {said.strip()}")
        return int(found.group(1))

    def plug(self, plug: Plug, *, deadline: Deadline) -> None:
        """Give the host a disk while it runs."""
        self.qmp.execute("blockdev-add", plug.node, deadline=deadline)
        self.qmp.execute("device_add", plug.device, deadline=deadline)

    def unplug(self, serial: str, *, deadline: Deadline) -> None:
        """Take a plugged disk away."""
        self.qmp.execute("device_del", {"id": f"disk-{serial}"}, deadline=deadline)
        wait_until(
            f"{self.name}: unplug {serial}", lambda: self._drop(serial, deadline), deadline=deadline, interval=0.05
        )

    def throttle(self, serial: str, bytes_per_second: int, *, deadline: Deadline) -> None:
        """Let a plugged disk take no more writes than that; 0 is without a limit.

        A first request gets through, and the next one waits as many seconds as it has bytes over the limit. Reads are
        not slowed down; the limits that QEMU wants besides are off at 0.
        """
        limits = dict.fromkeys(("bps", "bps_rd", "iops", "iops_rd", "iops_wr"), 0)
        arguments = {"id": f"disk-{serial}", "bps_wr": bytes_per_second, **limits}
        self.qmp.execute("block_set_io_throttle", arguments, deadline=deadline)

    def clear(self, serial: str, *, deadline: Deadline) -> None:
        """Take away what there is of a disk that was half unplugged; its device may be gone already, or its node."""
        for half in (partial(self.unplug, serial, deadline=deadline), partial(self._drop, serial, deadline)):
            with suppress(HostError):
                half()

    def link(self, net: str, *, up: bool, deadline: Deadline) -> None:
        """Pull the cable of one of the shared networks (:data:`NETS`), or put it back.

        QEMU takes it away at both ends, the card's and the network's; what is sent meanwhile is lost, and the host
        sees its carrier go.
        """
        self.qmp.execute("set_link", {"name": net, "up": up}, deadline=deadline)

    def cut_power(self) -> None:
        """End it at once, as when a plug is pulled: nothing inside is told, nothing is flushed."""
        self.process.kill()
        self.process.wait()

    def _drop(self, serial: str, deadline: Deadline) -> bool:
        try:
            self.qmp.execute("blockdev-del", {"node-name": f"node-{serial}"}, deadline=deadline)
        except HostError as trouble:
            if "in use" in trouble.message:
                return False
            raise
        return True


def _yield_to_cpu(pid: int) -> None:
    """Let no thread of a QEMU push another one off its core by waking up (SCHED_BATCH, sched(7)).

    A device's thread that wakes up as the CPU's thread gives back the big lock would take its core between two looks at
    what is asked of the CPU, and that makes it deliver an interrupt twice (:mod:`lab.guests.doubled`). It runs on
    another core, or at the end of a time slice.
    """
    with suppress(OSError):  # it has ended, or a sandbox forbids this
        os.sched_setscheduler(pid, os.SCHED_BATCH, os.sched_param(0))


@contextmanager
def start_machine(  # noqa: PLR0913 - the parts of one command line
    name: str, wiring: Cabling, hardware: tuple[str, ...], boot: Start, *, incoming: Path | None, deadline: Deadline
) -> Iterator[Machine]:
    """Run QEMU on ``hardware`` (:meth:`Hardware.argv`); it is killed at the end.

    ``incoming`` is a snapshot's memory to return to instead of booting.

    Raises:
        HostError: QEMU does not start; its last words are in the message.
    """
    argv = [PROGRAM, *hardware, *wiring.argv(name), *boot.argv()]
    if incoming is not None:
        argv += ["-incoming", f"exec:zstd -dc < {shlex.quote(str(incoming))}"]
    log = wiring.folder / "qemu.log"
    with log.open("wb") as words:
        words.write(shlex.join(argv).encode() + b"\n")
        words.flush()
        process = spawn(*argv, stdin=subprocess.DEVNULL, stdout=words.fileno(), stderr=words.fileno())
    try:
        _yield_to_cpu(process.pid)
        socket = wiring.sockets / "qmp"

        def greeted() -> Qmp | None:
            if process.poll() is not None:
                raise HostError(f"{name}: QEMU ended with status {process.returncode}: {last_line(log.read_bytes())}")
            # Between bind(2) and listen(2) a machine that has other things to do may take its time.
            with suppress(NotListeningError):
                return Qmp(socket, name).connect(deadline) if socket.exists() else None
            return None

        with wait_until(f"{name}: QEMU's control socket", greeted, deadline=deadline, interval=0.02) as qmp:
            machine = Machine(name, process, qmp, wiring)
            if incoming is not None:
                _await_running(machine, deadline)
            yield machine
    finally:
        process.kill()
        process.wait()
        # Killed, it leaves this behind, and its place would look taken.
        (wiring.sockets / "qmp").unlink(missing_ok=True)


def _await_running(machine: Machine, deadline: Deadline) -> None:
    def running() -> bool:
        if machine.process.poll() is not None:
            said = last_line((machine.wiring.folder / "qemu.log").read_bytes())
            raise HostError(f"{machine.name}: QEMU ended while it read the snapshot: {said}")
        status = machine.qmp.execute("query-status", deadline=deadline)["status"]
        if status == "paused":
            # The snapshot was taken from a stopped machine, and it comes back as it was.
            machine.qmp.execute("cont", deadline=deadline)
        return bool(status == "running")

    wait_until(f"{machine.name}: back from its snapshot", running, deadline=deadline, interval=0.02)


def save_memory(machine: Machine, into: Path, *, deadline: Deadline) -> None:
    """Stop the machine for good and write its memory; its disk is flushed with it."""
    machine.qmp.execute("stop", deadline=deadline)
    # The default limit of 128 MiB/s would be the bottleneck.
    machine.qmp.execute("migrate-set-parameters", {"max-bandwidth": 1 << 40}, deadline=deadline)
    machine.qmp.execute("migrate", {"uri": f"exec:zstd -q -1 -T0 > {shlex.quote(str(into))}"}, deadline=deadline)

    def written() -> bool:
        state = machine.qmp.execute("query-migrate", deadline=deadline)
        if state["status"] == "failed":
            raise HostError(f"{machine.name}: snapshot: {state.get('error-desc', 'no reason given')}")
        return bool(state["status"] == "completed")

    wait_until(f"{machine.name}: snapshot", written, deadline=deadline)
    machine.qmp.execute("quit", deadline=deadline)
    machine.process.wait(deadline.check("quit"))


def make_overlay(backing: Path, backing_format: str, into: Path, *, deadline: Deadline) -> None:
    """A new qcow2 ``into`` over ``backing``, which is never written."""
    argv = ("qemu-img", "create", "-q", "-f", "qcow2", "-b", backing, "-F", backing_format, into)
    run(*argv, deadline=deadline).check()


def qemu_version(deadline: Deadline) -> str:
    """QEMU's own words for its version; a snapshot fits only the QEMU that made it."""
    return run(PROGRAM, "--version", deadline=deadline).check().text.splitlines()[0]
