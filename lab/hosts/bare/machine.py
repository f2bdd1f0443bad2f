"""QEMU as the hardware of a bare guest: one fixed set of devices, so that a snapshot fits every later start."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from lab.hosts.embedded.qemu import HARDWARE, option

__all__ = ["ADDRESS", "BareBoot", "BareWiring", "Drive", "cpu", "hardware"]

_WITHOUT_XSAVE = "-avx,-avx2,-fma,-f16c,-vaes,-vpclmulqdq"
"""What Xen takes from its guests' CPU together with XSAVE, which is off (tools of Xen: gen-cpuid.py, its dependencies).

QEMU leaves it there, and 7.2 believes it: "Oops: invalid opcode" in polyval_mul_pclmul_avx while it boots.
"""

ADDRESS = "10.0.2.15/24"
"""The address that QEMU's user network forwards to where nobody names another (qemu(1), ``-netdev user``)."""


def hardware(accelerator: str, memory: int, drives: tuple[str, ...]) -> tuple[str, ...]:
    """The part of the command line that must be the same at a snapshot's making and at its return.

    ``memory`` is in MiB; ``drives`` are the serials of the disks in their order. There is one CPU, as on Xen.
    """
    return (
        *("-nodefaults", "-no-user-config", "-display", "none"),
        *("-machine", f"pc,accel={accelerator}", "-cpu", cpu(accelerator)),
        *("-smp", "1", "-m", str(memory)),
        # A kernel that panics reboots (panic=-1), and that is QEMU's end: like that of a domain on Xen.
        "-no-reboot",
        *(word for serial in drives for word in ("-device", f"virtio-blk-pci,drive={serial},serial={serial}")),
        *("-device", "virtio-net-pci,netdev=nat,mac=52:54:00:77:00:01"),
    )


def cpu(accelerator: str) -> str:
    """The CPU model: as near to what a guest on an embedded host sees as can be."""
    model = HARDWARE.cpu(accelerator)
    return model if accelerator == "kvm" else f"{model},{_WITHOUT_XSAVE}"


@dataclass(frozen=True, slots=True)
class Drive:
    """The file of a disk. ``serial`` is how its device finds it, and by what the guest knows it."""

    serial: str
    file: Path
    form: str = "qcow2"

    @property
    def argv(self) -> tuple[str, ...]:
        """The file is not locked: volumes are put on a shelf while a guest has it."""
        cache = {"direct": False, "no-flush": True}
        file = {"driver": "file", "filename": str(self.file), "locking": "off", "cache": cache}
        node = {"driver": self.form, "node-name": self.serial, "read-only": False, "cache": cache}
        return ("-blockdev", json.dumps({**node, "file": file}))


@dataclass(frozen=True, slots=True)
class BareWiring:
    """What may differ from start to start. ``ports`` are those of the guest that this machine's loopback leads to."""

    folder: Path
    sockets: Path
    drives: tuple[Drive, ...]
    ports: tuple[int, ...]

    @property
    def console(self) -> Path:
        """Everything that the guest says on its serial port; a guest that returns goes on where its file ends."""
        return self.folder / "console.log"

    def argv(self, name: str) -> tuple[str, ...]:
        """The rest of the command line. restrict=on: nothing inside can reach anything outside."""
        forwards = "".join(f",hostfwd=tcp:127.0.0.1:0-:{port}" for port in self.ports)
        return (
            *("-name", name, "-pidfile", str(self.folder / "qemu.pid")),
            *(word for drive in self.drives for word in drive.argv),
            *("-netdev", f"user,id=nat,restrict=on{forwards}"),
            *("-chardev", f"file,id=console,path={option(self.console)},append=on", "-serial", "chardev:console"),
            *("-qmp", f"unix:{option(self.sockets / 'qmp')},server=on,wait=off"),
        )


@dataclass(frozen=True, slots=True)
class BareBoot:
    """What a bare guest starts from. ``kernel`` is the ELF: QEMU enters it as PVH, and nothing is to be unpacked."""

    kernel: Path
    initrd: Path
    cmdline: str

    def argv(self) -> tuple[str, ...]:
        """See :class:`lab.hosts.embedded.qemu.Start`."""
        # Unlike -initrd of a multiboot kernel this is one file's name, commas and all.
        return ("-kernel", str(self.kernel), "-initrd", str(self.initrd), "-append", self.cmdline)
