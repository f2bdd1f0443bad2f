"""Bare guests: the same system that a Xen guest has, run by QEMU alone, and back in a second or two from a snapshot.

Disk, kernel and readiness are those of a guest on Xen; its initrd is laid out alike and brings virtio's drivers instead
of Xen's.
"""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

from lab.cache import Cache, birth, fingerprint
from lab.deadline import Deadline
from lab.debian.busybox import obtain_busybox
from lab.debian.initrd import INITRD_VERSION, build_initrd
from lab.debian.kernel import Kernel
from lab.errors import DeadlineError, GuestError, HostError
from lab.events import step
from lab.guests.image import GuestImage, obtain_guest_image
from lab.guests.poised import Ground, Readiness
from lab.hosts.bare.machine import ADDRESS, BareBoot, BareWiring, Drive, hardware
from lab.hosts.embedded.qemu import Machine, make_overlay, qemu_version, save_memory, start_machine
from lab.hosts.run_folder import RunFolder
from lab.keys import Keys
from lab.process import Completed
from lab.scenario.cell import GuestRequest
from lab.shell import SshNetwork, SshShell, converse
from lab.wait import wait_until

__all__ = ["BARE_MODULES", "BareGuest", "BareReadiness", "Frozen", "Furnished", "bare_guest", "obtain_bare"]

BARE_MODULES = ("virtio_pci", "virtio_blk", "virtio_net", "ext4")
"""What a bare guest's initrd loads, as far as its kernel has not built it in."""

_ROOT, _SHELF = "root", "shelf"
"""Serials of its disks."""

_SSH = 22
_FACTS = "facts.json"
_LOOPBACK = "127.0.0.1"
_BOOT_SECONDS = 600.0
"""From power-on to its shell, and until it is ready: a quarter of a minute, on a busy machine minutes."""

_ENDING = 5.0
"""Seconds from the last that a guest was heard to the end of its QEMU, on a busy machine."""

_LOG_BYTES = 400_000


class Furnished(Protocol):
    """A guest that is made ready, whatever it runs on."""

    @property
    def shell(self) -> SshShell:
        """Runs programs inside."""
        ...

    @property
    def image(self) -> GuestImage:
        """What it was started from."""
        ...


@dataclass(frozen=True, slots=True)
class BareReadiness(Readiness):
    """A readiness that asks for no host. ``ports`` are those of the guest at which it is to be spoken to afterwards."""

    make: Callable[[Furnished, Deadline], None]
    ports: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class BareGuest:
    """A guest that runs, and the QEMU that it is. ``ports`` are its own, each with the one of the loopback for it."""

    name: str
    image: GuestImage
    machine: Machine
    shell: SshShell
    ports: Mapping[int, int]
    shelf_device: str = ""

    @property
    def kernel(self) -> Kernel:
        """What it was booted with."""
        return self.image.boot.kernel

    def ask(self, port: int, question: bytes, *, deadline: Deadline, watch: Callable[[], None]) -> Completed:
        """Send a line to the program that listens there, and hear it out; nobody listening is a status other than 0.

        Raises:
            HostError: the guest, or its QEMU, ended before it had answered; ``watch`` says which.
            DeadlineError: no answer in time.
        """
        where, start, answer = f"{self.name}:{port}", time.monotonic(), b""
        try:
            with socket.create_connection((_LOOPBACK, self.ports[port]), timeout=deadline.check(where)) as line:
                answer = converse(line, question, where, deadline, watch)
        except ConnectionRefusedError:
            pass  # QEMU listens as long as it runs
        if not answer.endswith(b"\n") and self._ends(deadline):
            watch()
        words = b"" if answer else f"nobody answers at {where}".encode()
        return Completed(("ask", where), 0 if answer else 1, answer, words, time.monotonic() - start)

    def _ends(self, deadline: Deadline) -> bool:
        """Whether QEMU has ended, or does so at once: its sockets are closed before it is gone."""
        try:
            wait_until(
                f"{self.name}: its end",
                lambda: self.machine.process.poll() is not None,
                deadline=deadline.at_most(_ENDING),
                interval=0.02,
            )
        except DeadlineError:
            return False
        return True

    def watch(self) -> None:
        """Nothing, as long as QEMU runs or its guest has ended it.

        Raises:
            HostError: something else has: it was killed, or failed.
        """
        status = self.machine.process.poll()
        if status:
            how = f"was ended by signal {-status}" if status < 0 else f"ended with status {status}"
            raise HostError(f"{self.name}: QEMU {how}; its last words: {self._last_words()}")

    def is_active(self, deadline: Deadline) -> bool:
        """Whether it has not ended; a kernel that hangs has not.

        Raises:
            HostError: QEMU has stopped it (its disk is full, say), or does not answer.
            DeadlineError: QEMU did not answer in time.
        """
        if self.machine.process.poll() is not None:
            return False
        try:
            status = self.machine.qmp.execute("query-status", deadline=deadline)["status"]
            if status == "running":
                return True
            hint = "is there room on this machine's disk?"
            trouble = HostError(f"{self.name}: QEMU has stopped it: {status}", hint=hint)
        except HostError as lost:
            trouble = lost
        # It may be about to end, and then nothing is wrong with QEMU.
        if self._ends(deadline):
            return False
        raise trouble

    def console(self, *, deadline: Deadline) -> str:  # noqa: ARG002 - where it is a host that is asked, it may take time
        """What it has said on its serial console, since its boot."""
        try:
            return self.machine.wiring.console.read_bytes()[-_LOG_BYTES:].decode("utf-8", "backslashreplace")
        except OSError:
            return ""

    def acquit(self, deadline: Deadline) -> None:
        """Nothing: what an emulated CPU does twice it does on behalf of a hypervisor (:mod:`lab.guests.doubled`)."""

    def keep(self, folder: Path, *, deadline: Deadline) -> None:
        """Its console, QEMU's command line and last words. Never raises."""
        (folder / f"{self.name}-console.log").write_text(self.console(deadline=deadline), errors="backslashreplace")
        (folder / f"{self.name}-qemu.log").write_text("".join(f"{line}\n" for line in self._qemu_log()))

    def _last_words(self) -> str:
        said = _telling(self.console(deadline=Deadline(0)).splitlines())
        return " | ".join([*self._qemu_log()[1:][-1:], *said]) or "none"

    def _qemu_log(self) -> list[str]:
        """The command line, and what QEMU itself said."""
        try:
            log = (self.machine.wiring.folder / "qemu.log").read_bytes()[-_LOG_BYTES:]
        except OSError:
            return []
        return log.decode("utf-8", "backslashreplace").splitlines()


@dataclass(frozen=True, slots=True)
class Frozen:
    """A guest in the cache: ``folder`` has its disk and memory, its console up to then, and what was learned of it."""

    key: str
    folder: Path
    request: GuestRequest
    image: GuestImage
    boot: BareBoot
    hardware: tuple[str, ...]

    @property
    def name(self) -> str:
        """The guest's name, the same at each return."""
        return f"{self.request.name}-{self.key[:4]}"

    @property
    def disk(self) -> Path:
        """qcow2 over the image; never written."""
        return self.folder / "disk.qcow2"

    @property
    def memory(self) -> Path:
        """QEMU's migration stream, packed by zstd."""
        return self.folder / "memory.zst"

    @property
    def console(self) -> Path:
        """What it said until it was frozen."""
        return self.folder / "console.log"

    @property
    def shelf_device(self) -> str:
        """As what it knows its shelf."""
        facts: dict[str, str] = json.loads((self.folder / _FACTS).read_text())
        return facts[_SHELF]


@contextmanager
def bare_guest(  # noqa: PLR0913 - what it is made from, and where it lives
    ground: Ground, request: GuestRequest, readiness: BareReadiness, run: RunFolder, *, shelf: Path, deadline: Deadline
) -> Iterator[BareGuest]:
    """A guest that is ready, with ``shelf`` as a disk; gone at the end.

    Raises:
        HostError: it does not come up, or does not come back.
    """
    with ExitStack() as stack:
        frozen = stack.enter_context(obtain_bare(ground, request, readiness, deadline=deadline))
        # Not the guest's own name: a place that has the name of what ssh reaches there is a host's.
        place = run.place(f"microvm-{frozen.name}")
        disk = place.folder / "disk.qcow2"
        make_overlay(frozen.disk, "qcow2", disk, deadline=deadline)
        shutil.copyfile(frozen.console, place.folder / frozen.console.name)
        wiring = BareWiring(place.folder, place.sockets, _drives(disk, shelf), (_SSH, *readiness.ports))
        with step("resume a guest", guest=frozen.name):
            machine = stack.enter_context(_machine(frozen, wiring, frozen.memory, deadline))
            guest = _guest(frozen, machine, wiring, ground.keys, deadline)
        yield dataclasses.replace(guest, shelf_device=frozen.shelf_device)


@contextmanager
def obtain_bare(
    ground: Ground, request: GuestRequest, readiness: BareReadiness, *, deadline: Deadline
) -> Iterator[Frozen]:
    """The frozen guest, made if it is not in the cache."""
    with ExitStack() as stack:
        image = stack.enter_context(obtain_guest_image(ground.cache, request, ground.keys, deadline=deadline))
        boot = stack.enter_context(_obtain_boot(ground.cache, image, deadline))
        devices = hardware(ground.accelerator, request.memory, (_ROOT, _SHELF))
        key = fingerprint(
            *("bare 2", _making(image.disk.parent), _making(boot.initrd.parent), image.boot.kernel.folder.name),
            *(asdict(request), boot.cmdline, devices, qemu_version(deadline), readiness.key, readiness.shelf),
        )

        def build(folder: Path) -> None:
            _freeze(Frozen(key, folder, request, image, boot, devices), ground.keys, readiness, deadline)

        title = f"{request.name} ({request.kernel.name}) without a host"
        folder = stack.enter_context(ground.cache.use("bare", key, build, deadline=deadline, title=title))
        yield Frozen(key, folder, request, image, boot, devices)


def _freeze(making: Frozen, keys: Keys, readiness: BareReadiness, deadline: Deadline) -> None:
    """Boot it, make it ready, and write it out where it is to be."""
    make_overlay(making.image.disk, "raw", making.disk, deadline=deadline)
    shelf = making.folder / "shelf.raw"
    with shelf.open("wb") as file:
        file.truncate(readiness.shelf)
    with tempfile.TemporaryDirectory(prefix="lab-") as short:
        wiring = BareWiring(making.folder, Path(short), _drives(making.disk, shelf), (_SSH,))
        with _machine(making, wiring, None, deadline) as machine:
            guest = _guest(making, machine, wiring, keys, deadline)
            with _shell(guest, deadline.at_most(_BOOT_SECONDS)):
                readiness.make(guest, deadline)
                (making.folder / _FACTS).write_text(json.dumps({_SHELF: _shelf_device(guest, deadline)}))
                guest.shell.run("sync", deadline=deadline).check()
            with step("write the snapshot", guest=making.name):
                save_memory(machine, making.memory, deadline=deadline)
    (making.folder / "qemu.pid").unlink(missing_ok=True)
    shelf.unlink()


def _machine(
    frozen: Frozen, wiring: BareWiring, incoming: Path | None, deadline: Deadline
) -> AbstractContextManager[Machine]:
    return start_machine(frozen.name, wiring, frozen.hardware, frozen.boot, incoming=incoming, deadline=deadline)


def _guest(frozen: Frozen, machine: Machine, wiring: BareWiring, keys: Keys, deadline: Deadline) -> BareGuest:
    """The guest of a machine, with a shell that connects when it is first used."""
    ports = {port: machine.port(port, deadline) for port in wiring.ports}
    network = SshNetwork(wiring.sockets, keys.user, keys.known_host("lab"))
    network.add(frozen.name, address=_LOOPBACK, port=ports[_SSH])
    return BareGuest(frozen.name, frozen.image, machine, SshShell(network, frozen.name), ports)


@contextmanager
def _shell(guest: BareGuest, deadline: Deadline) -> Iterator[None]:
    """Hold its shell open, once it has booted so far that it lets us in."""
    network = guest.shell.network
    with ExitStack() as connection:
        with step("boot a guest", guest=guest.name):
            try:
                connection.enter_context(network.connect(guest.name, deadline=deadline, watch=guest.machine.watch))
            except (DeadlineError, HostError) as late:
                said = " | ".join(_telling(guest.console(deadline=deadline).splitlines())) or "silent"
                raise GuestError(f"{guest.name}: it does not come up: {late.message}; console: {said}") from late
        yield


def _telling(lines: Sequence[str]) -> Sequence[str]:
    """The lines of a console that tell why it ended: those before and at a panic, not what is dumped after it."""
    panic = next((index for index, line in enumerate(lines) if "Kernel panic" in line), len(lines) - 1)
    return lines[max(0, panic - 3) : panic + 1]


def _shelf_device(guest: BareGuest, deadline: Deadline) -> str:
    """The block device that bears the shelf's serial (virtio_blk shows it in sysfs)."""
    script = f"grep -lx {_SHELF} /sys/block/vd*/serial"
    said = guest.shell.run("sh", "-c", script, deadline=deadline).text
    found = re.fullmatch(r"/sys/block/(vd[a-z])/serial", said)
    if found is None:
        raise GuestError(f"{guest.name}: no block device bears the serial {_SHELF!r}: {said or 'none bears any'}")
    return f"/dev/{found[1]}"


def _drives(disk: Path, shelf: Path) -> tuple[Drive, ...]:
    return Drive(_ROOT, disk), Drive(_SHELF, shelf, "raw")


@contextmanager
def _obtain_boot(cache: Cache, image: GuestImage, deadline: Deadline) -> Iterator[BareBoot]:
    """The kernel of a guest on Xen, with an initrd that finds its disk on virtio."""
    kernel = image.boot.kernel
    with obtain_busybox(cache, kernel.arch, deadline=deadline) as busybox:

        def build(folder: Path) -> None:
            work = folder / "initrd.d"
            build_initrd(kernel, BARE_MODULES, busybox, folder / "initrd", work=work, deadline=deadline)
            shutil.rmtree(work)

        key = fingerprint("bare initrd 1", INITRD_VERSION, kernel.folder.name, busybox.parents[3].name, BARE_MODULES)
        title = f"initrd {kernel.release} without Xen"
        with cache.use("bare-boot", key, build, deadline=deadline, title=title) as folder:
            yield BareBoot(kernel.elf, folder / "initrd", _CMDLINE.format(init=image.init))


_CMDLINE = f"root=/dev/vda rw console=ttyS0 net.ifnames=0 quiet mitigations=off panic=-1 init={{init}} lab.ip={ADDRESS}"
"""As on Xen, but for the names of devices, and panic=-1: there a panic ends the domain without being told to."""


def _making(folder: Path) -> str:
    """Which making of what it is; see :func:`lab.cache.birth`."""
    return birth(folder) or folder.name
