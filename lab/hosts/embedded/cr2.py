"""Where an emulated CPU keeps the addresses of its page faults from guests.

Since 9.1 QEMU (TCG) takes every read of a control register for a read of CR0 when it looks whether the hypervisor wants
to know of it: ``decode_op`` in target/i386/tcg/decode-new.c.inc adds the register's number only to an exit code that is
not 0, and READ_CR0 is 0. Xen wants to know of CR0. So a guest that reads CR2, as at each page fault, comes out into
Xen, which emulates the read with a CR2 that it does not keep with nested paging: the guest gets 0, and dies at its
first page fault, before it can say so. Xen 4.20 was seen to cope (4.14 and 4.17 to fail 17 times of 17, with QEMU
10.0.2), and so does shadow paging, where Xen itself sees to page faults.
"""

from __future__ import annotations

__all__ = ["hap_fails"]

_FIRST_QEMU = (9, 1)
"""With it MOV from CR went to the new decoder; 10.0.13 is still so."""

_FIRST_XEN = (4, 20)


def hap_fails(xen: str, qemu: tuple[int, int], accelerator: str) -> bool:
    """Whether guests with nested paging die on a Xen of that version in that QEMU.

    >>> hap_fails("4.17", (10, 0), "tcg"), hap_fails("4.20", (10, 0), "tcg"), hap_fails("4.17", (7, 2), "tcg")
    (True, False, False)
    """
    version = tuple(int(part) for part in xen.split("."))
    return accelerator == "tcg" and qemu >= _FIRST_QEMU and version < _FIRST_XEN
