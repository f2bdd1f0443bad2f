"""An interrupt that an emulated CPU delivers twice, of which a 64-bit guest dies.

On VMRUN QEMU (TCG) delivers the interrupt that the hypervisor injects, and leaves its number in ``exception_index``
(``helper_vmrun`` in target/i386/tcg/sysemu/svm_helper.c, SVM_EVTINJ_TYPE_INTR). Back in ``cpu_handle_interrupt``
(accel/tcg/cpu-exec.c) that is put back only if some other interrupt is taken. If instead the CPU is merely asked to
leave its loop just then, as by a device's thread that has waited for the big lock, ``cpu_handle_exception`` takes the
number for a new exception and delivers it again, whether the guest has interrupts on or not. Seen at
``x86_cpu_do_interrupt`` of QEMU 7.2: vector 243, that of Xen's events, not by an INT instruction, IF off, at the first
instruction of its own handler.

Where the first of the two came from user space, the second finds the kernel with the user's GS. Every access to it is a
page fault then, up to the end of the entry stack.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress

from lab.deadline import Deadline
from lab.errors import HostError, LabError
from lab.guests.guest import Guest
from lab.hosts.host import Host

__all__ = ["acquit_of_emulation", "doubled_interrupt"]

_HANDLER = re.compile(r"IP: (?:[0-9a-f]{4}:)?asm_sysvec_xen_hvm_callback\+0x0/")
_FLAGS = re.compile(r"EFLAGS: ([0-9a-f]{8})")
_IF = 0x200

_NEAR = 4
"""Lines from the one that says where a CPU was to the one with its flags; there may be the code in between."""


def doubled_interrupt(console: Iterable[str]) -> str:
    """What an oops in a guest's console says of an interrupt that came twice, or nothing: with interrupts off, at the
    first instruction of the handler of that very interrupt, no CPU takes another one.

    >>> doubled_interrupt(["RIP: 0010:asm_sysvec_xen_hvm_callback+0x0/0x20", "RSP: 0000:fe00 EFLAGS: 00000002"])
    'at asm_sysvec_xen_hvm_callback+0x0, with EFLAGS 0x2'
    """
    left = 0
    for line in console:
        if _HANDLER.search(line):
            left = _NEAR
        elif left and (flags := _FLAGS.search(line)):
            value = int(flags[1], 16)
            if not value & _IF:
                return f"at asm_sysvec_xen_hvm_callback+0x0, with EFLAGS {value:#x}"
            left = 0
        left = max(0, left - 1)
    return ""


def acquit_of_emulation(guest: Guest, host: Host, deadline: Deadline) -> None:
    """Nothing, unless it is an emulated CPU that the guest died of on that host; then nobody else is to be blamed.

    Raises:
        HostError: an interrupt came twice.
    """
    if host.accelerator != "tcg":
        return
    console = ""
    with suppress(LabError):  # a host that cannot be asked says so elsewhere
        console = guest.console(deadline=deadline, host=host)
    if said := doubled_interrupt(console.splitlines()):
        raise HostError(
            f"{guest.name} on {host.name}: died of an interrupt that QEMU delivered twice, {said} "
            "(docs/explanation/nested-xen.md)"
        )
