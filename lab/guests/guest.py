"""A guest that runs: its domain, its shell, its disks, and the way it is moved."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from lab.deadline import Deadline
from lab.errors import DeadlineError, GuestError, LabError, UnsupportedError
from lab.events import emit, step
from lab.guests.image import GuestImage
from lab.guests.refusals import known_refusal, libxl_words
from lab.guests.testinfra import testinfra_host
from lab.hosts.host import Host
from lab.hypervisor import (
    DiskSpec,
    Domain,
    DomainSpec,
    GuestNotFoundError,
    GuestRefusedError,
    InterfaceSpec,
    device_xml,
    domain_xml,
    validate,
)
from lab.scenario.cell import GuestRequest
from lab.shell import SshShell

__all__ = ["Address", "Guest", "Held", "SilentGuestError", "domain_spec", "start_guest", "wants_shadow"]

_NETWORK, _GUESTS = "10.77", 128
"""The shared network 10.77.0.0/16, and from where on in it guests live."""


_ARRIVAL_SECONDS = 240.0
"""For the first answer of a guest that has moved, perhaps by a boot, which takes 20-40 s under emulation."""


_GONE = 2
"""Looks in a row at which a domain is not there before it counts as ended."""


class SilentGuestError(GuestError):
    """A guest that has not ended does not answer."""


@dataclass(frozen=True, slots=True)
class Address:
    """One guest's place on the network, unique in a stage.

    Above 255 are guests on hosts of the user's, which several runs may have on one wire: 256 numbers a host.
    """

    number: int

    @property
    def ip(self) -> str:
        """Its address."""
        return f"{_NETWORK}.{_GUESTS + (self.number >> 8)}.{self.number & 255}"

    @property
    def mac(self) -> str:
        """00:16:3e is Xen's own prefix (docs/man/xl-network-configuration)."""
        return f"00:16:3e:77:{self.number >> 8:02x}:{self.number & 255:02x}"


@dataclass(frozen=True, slots=True)
class Held:
    """A disk of a guest: a raw image here, and the ``serial`` by which its host knows it. ``sector`` is in bytes."""

    image: Path
    serial: str
    read_only: bool = False
    sector: int = 512

    def plug(self, host: Host, deadline: Deadline) -> str:
        """Give it to a host; the device's path there."""
        return host.disks.plug(self.image, self.serial, read_only=self.read_only, sector=self.sector, deadline=deadline)

    def spec(self, target: str, host: Host) -> DiskSpec:
        """What the libvirt of ``host`` is told of it."""
        return DiskSpec(host.disks.path(self.serial), target, readonly=self.read_only)


@dataclass
class Guest:
    """A running guest. It may move, so ``host``, ``domain`` and ``shell`` change; it belongs to one thread."""

    name: str
    request: GuestRequest
    spec: DomainSpec
    image: GuestImage
    address: Address
    host: Host
    domain: Domain
    shell: SshShell
    folder: Path
    disks: dict[str, Held] = field(default_factory=dict)
    """By target (xvda)."""
    _here: ExitStack = field(default_factory=ExitStack)
    _elsewhere: list[Host] = field(default_factory=list)
    """Hosts that may have something of it left, after a move that did not go well."""
    frozen: bool = False
    """It is part of a snapshot now, and there is nothing left here to be undone."""

    def attach(self, image: Path, *, read_only: bool, deadline: Deadline, sector: int = 512) -> str:
        """Plug ``image`` into the running guest; returns the device's name in the guest."""
        target = next(f"xvd{letter}" for letter in "bcdefghijklmnop" if f"xvd{letter}" not in self.disks)
        held = Held(image, f"{self.name[-11:]}-{target}-{uuid.uuid4().hex[:3]}", read_only, sector)
        held.plug(self.host, deadline)
        self.disks[target] = held
        self.domain.attach(device_xml(held.spec(target, self.host), domain_type=self.request.type), deadline)
        return f"/dev/{target}"

    def detach(self, device: str, *, deadline: Deadline) -> None:
        """Pull what :meth:`attach` plugged."""
        target = device.removeprefix("/dev/")
        held = self.disks[target]
        self.domain.detach(device_xml(held.spec(target, self.host), domain_type=self.request.type), deadline)
        self.host.disks.unplug(held.serial, deadline=deadline)
        del self.disks[target]

    def settle(self, host: Host, domain: Domain, deadline: Deadline) -> None:
        """It lives as ``domain`` on ``host`` now; nothing of it is left elsewhere."""
        self.host, self.domain = host, domain
        self._elsewhere.clear()
        self._reach(deadline.at_most(_ARRIVAL_SECONDS))

    def may_be_on(self, host: Host) -> None:
        """Something of it may be left there, if what follows does not go well."""
        self._elsewhere.append(host)

    def is_not_on(self, host: Host) -> None:
        """Nothing of it is left there."""
        self._elsewhere.remove(host)

    def console(self, *, deadline: Deadline, host: Host | None = None) -> str:
        """What the guest has said on its serial console on ``host``, or where it is now; xenconsoled keeps it, also
        after the guest's death.
        """
        log = f"/var/log/xen/console/guest-{self.name}.log"
        shell = (host or self.host).shell
        return shell.run("sh", "-c", f"cat {log} 2>/dev/null | tail -c 400000", deadline=deadline).text

    @property
    def testinfra(self) -> Any:  # noqa: ANN401 - testinfra makes its modules' attributes at run time
        """A testinfra host bound to this guest, wherever it moves."""
        return testinfra_host(self.name, lambda: self.shell)

    def reconnect(self, deadline: Deadline) -> bool:
        """Open a new shell where the guest is now, after a reboot, say; always True.

        Raises:
            GuestError, HostError: it does not answer.
        """
        self._reach(deadline)
        return True

    def know_shell(self) -> None:
        """Know its shell without opening a connection, for whoever will hardly want it: each command opens its own."""
        self._here.close()
        self.host.network.add(self.name, address=self.address.ip, through=self.host.shell.alias)
        self.shell = SshShell(self.host.network, self.name)

    def _reach(self, deadline: Deadline) -> None:
        """Open a shell through the host where the guest is now."""
        self._here.close()
        self._await_port(deadline)
        alias = f"{self.name}"
        network = self.host.network
        network.add(alias, address=self.address.ip, through=self.host.shell.alias)
        self._here = ExitStack()
        self.shell = self._here.enter_context(network.connect(alias, deadline=deadline, watch=self.host.disks.watch))

    def _await_port(self, deadline: Deadline) -> None:
        # One command on the host that waits there, instead of many handshakes from here.
        script = f"until nc -z -w 1 {self.address.ip} 22; do sleep 0.1; done"
        me = f"{self.name} on {self.host.name}"
        with step("wait for the guest", guest=self.name):
            gone = 0
            try:
                while not self.host.shell.run("timeout", "5", "sh", "-c", script, deadline=deadline):
                    self.host.disks.watch()
                    # Once may be between the two lives of a domain that reboots; 5 s later that is over.
                    gone = 0 if self.domain.is_active(deadline) else gone + 1
                    if gone == _GONE:
                        raise GuestError(f"{me}: it ended before it answered; console: {self._last_words()}")
                    deadline.check(me)
            except DeadlineError as late:
                self.host.disks.watch()
                words = f"no answer on port 22 within {deadline.seconds:g} s; console: {self._last_words()}"
                raise SilentGuestError(f"{me}: {words}") from late

    def _last_words(self) -> str:
        return " | ".join(self.console(deadline=Deadline(10)).splitlines()[-4:]) or "silent"

    def leave(self) -> None:
        """Close the shell, and leave the guest as it is."""
        self._here.close()

    def undo(self) -> None:
        """Remove the domain wherever it is, and its disks; never raises, says what it could not do."""
        self._here.close()
        deadline = Deadline(30)
        _undo(f"destroy {self.name}", partial(self.domain.destroy, deadline))
        _undo(f"undefine {self.name}", partial(self.domain.undefine, deadline))
        for host in self._elsewhere:
            _undo(f"remove {self.name} from {host.name}", partial(self._remove_from, host, deadline))
        for host in (self.host, *self._elsewhere):
            for held in self.disks.values():
                unplug = partial(host.disks.unplug, held.serial, deadline=deadline)
                _undo(f"unplug {held.serial} of {self.name}", unplug)

    def _remove_from(self, host: Host, deadline: Deadline) -> None:
        with suppress(GuestNotFoundError):
            domain = host.connection.domain(self.name, deadline)
            domain.destroy(deadline)
            domain.undefine(deadline)


def _undo(what: str, action: Callable[[], None]) -> None:
    try:
        action()
    except LabError as trouble:
        emit("undo failed", what=what, why=trouble.message)


def wants_shadow(request: GuestRequest, host: Host) -> bool:
    """Whether a guest gets shadow paging on ``host`` instead of what the CPU has for it (``hap`` off).

    TCG marks a PAE guest's page directory pointers as accessed, where that bit is reserved: Xen finds no way through
    them to the instruction that it is to emulate, and the guest spins for ever at its first CPUID. And there are hosts
    where no guest lives without. Where Xen has no shadow paging it refuses, and says so.
    """
    if request.type != "pvh" or host.accelerator != "tcg":
        return False
    return request.kernel.arch == "i386" or host.hap_fails


def domain_spec(  # noqa: PLR0913 - the parts of a guest
    name: str,
    request: GuestRequest,
    address: Address,
    *,
    boot: str,
    init: str,
    disks: Iterable[DiskSpec],
    host: Host,
    identity: str = "",
) -> DomainSpec:
    """What libvirt is told of a guest. ``boot`` is the folder on ``host`` with its kernel and initrd.

    ``identity`` is the UUID of a guest that has one already.
    """
    return DomainSpec(
        name=name,
        uuid=identity or str(uuid.uuid4()),
        type=request.type,
        memory_mib=request.memory,
        vcpus=1,
        kernel=f"{boot}/vmlinux",
        initrd=f"{boot}/initrd",
        cmdline=(
            f"root=/dev/xvda rw console=hvc0 net.ifnames=0 quiet mitigations=off init={init} lab.ip={address.ip}/16"
        ),
        disks=tuple(disks),
        interfaces=(InterfaceSpec(address.mac, host.bridge),),
        # Xen intercepts RDTSCP, and TCG gives no instruction length for it: the guest would die. Where Xen runs on
        # hardware it is to do with the counter what it does for everybody.
        tsc_native=request.type == "pvh" and host.accelerator != "hardware",
        hap=not wants_shadow(request, host),
        tags=(("run", host.tag or "lab"),),
    )


@contextmanager
def start_guest(  # noqa: PLR0913, PLR0917 - what it is made from, and where it lives
    name: str,
    host: Host,
    request: GuestRequest,
    image: GuestImage,
    address: Address,
    folder: Path,
    *,
    shelf: Path | None = None,
    deadline: Deadline,
) -> Iterator[Guest]:
    """Define and start a guest on ``host`` and wait for its shell; it is gone at the end, wherever it moved.

    ``folder`` gets its disk and the domain XML that libvirt was given. ``shelf`` is an image that it sees as
    /dev/xvdb.

    Raises:
        GuestError: libvirt refuses it, or it does not come up; its last words are in the message.
    """
    disk = folder / f"{name}.raw"
    held = {"xvda": Held(disk, f"{name[-15:]}-xvda")}
    if shelf is not None:
        held["xvdb"] = Held(shelf, f"{name[-15:]}-xvdb")
    with ExitStack() as undoing:
        undoing.callback(disk.unlink, missing_ok=True)
        image.copy_disk(disk, deadline=deadline)
        with ExitStack() as unplugging:
            for each in held.values():
                each.plug(host, deadline)
                unplugging.callback(_unplug, host, each.serial)
            disks = [each.spec(target, host) for target, each in held.items()]
            boot = host.mount(image.boot.disk, image.boot.key, deadline=deadline)
            spec = domain_spec(name, request, address, boot=boot, init=image.init, disks=disks, host=host)
            xml = domain_xml(spec)
            validate(xml)
            (folder / f"{name}.xml").write_text(xml)
            domain = host.connection.define(xml, deadline)
            # From here on they are the guest's, and go where it goes.
            unplugging.pop_all()
        guest = Guest(name, request, spec, image, address, host, domain, host.shell, folder, held)
        undoing.callback(guest.undo)
        with step("start a guest", guest=name, host=host.name):
            try:
                domain.start(deadline)
            except GuestRefusedError as refused:
                raise _explained(refused, host) from refused
            guest.reconnect(deadline)
        yield guest
        if guest.frozen:
            undoing.pop_all()


_NEWER_QEMU = (
    "; nested paging is no way out, since QEMU from 9.1 on keeps page faults from guests of this Xen, as 7.2 does not "
    "(docs/explanation/nested-xen.md)"
)


def _explained(refused: GuestRefusedError, host: Host) -> LabError:
    """Libvirt says that libxl failed; why is in libxl's log."""
    words = libxl_words(host, Deadline(20))
    if not words:
        return refused
    message = "; ".join((refused.message, *words[-3:]))
    known = known_refusal(words, host.facts)
    if known is not None:
        refusal, line = known
        because = f"{refusal.because}{_NEWER_QEMU if host.hap_fails else ''}"
        return UnsupportedError(f"{refused.message}: {line}: {because}", reason=refusal.reason)
    return GuestError(message, hint=refused.hint)


def _unplug(host: Host, serial: str) -> None:
    _undo(f"unplug {serial}", partial(host.disks.unplug, serial, deadline=Deadline(10)))
