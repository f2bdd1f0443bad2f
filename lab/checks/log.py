"""What kernels and hypervisors have logged since, and which of it names trouble."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from lab.guests.observation import Observation
from lab.verdict import Check

__all__ = ["hypervisor_check", "kernel_check", "new_lines", "new_log_lines"]

_KERNEL = re.compile(
    r"\bBUG:|\bOops\b|kernel BUG at|general protection fault|WARNING: CPU|blocked for more than \d+ seconds"
    r"|soft lockup|rcu.*stall|Call Trace:|I/O error|EXT4-fs error|Kernel panic"
)
"""Lines that a healthy kernel does not log across a move (lib/bug.c, kernel/hung_task.c, kernel/watchdog.c)."""

_XEN = re.compile(
    r"Xen call trace|Xen BUG|Assertion .* failed|\bdomain_crash\b|Domain \d+ (\(vcpu#\d+\) )?crashed|Unhandled"
    r"|FATAL|\b[Pp]anic\b|Watchdog|[Oo]ut of memory|Xen WARN|BUG at|general protection|#DF|\*\*\* Dumping "
)
"""What xen/common/domain.c, xen/arch/x86/traps.c and common/page_alloc.c say when something is wrong."""


def kernel_check(before: Observation, after: Observation) -> Check:
    """The guest's kernel has logged no trouble since."""
    trouble = [line for line in new_log_lines(before, after) if _KERNEL.search(line)]
    return Check.that("kernel-log", not trouble, expected="nothing new", observed=_few(trouble) or "nothing new")


def hypervisor_check(logs: Mapping[str, tuple[Sequence[str], Sequence[str]]]) -> Check:
    """No host's Xen has logged trouble since; ``logs`` is host -> (``xl dmesg`` before, after)."""
    trouble = [
        f"{host}: {line}"
        for host, (before, after) in logs.items()
        for line in new_lines(before, after)
        if _XEN.search(line)
    ]
    return Check.that("hypervisor-log", not trouble, expected="nothing new", observed=_few(trouble) or "nothing new")


def new_log_lines(before: Observation, after: Observation) -> tuple[str, ...]:
    """What the kernel has logged since; everything, if it is another boot or the ring has gone round."""
    return new_lines(before.kernel_log, after.kernel_log)


def new_lines(before: Sequence[str], after: Sequence[str]) -> tuple[str, ...]:
    """What stands in ``after`` behind the last line of ``before``; everything, where that is not found.

    A hypervisor says many a line twice, so it is the lines before it, too, that have to fit.
    """
    tail = tuple(before[-_TAIL:])
    for end in range(len(after), 0, -1):
        if tail and tuple(after[max(0, end - len(tail)) : end]) == tail[-min(len(tail), end) :]:
            return tuple(after[end:])
    return tuple(after)


_TAIL = 8


def _few(lines: Sequence[str]) -> str:
    return " | ".join(lines[:3])
