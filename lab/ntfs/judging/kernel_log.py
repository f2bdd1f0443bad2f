"""What a kernel's log gives away: a driver that crashed, or one that hangs."""

from __future__ import annotations

import re
from collections.abc import Iterable

__all__ = ["crash_in", "hang_in", "memory_spent_in", "write_in"]

_CRASH = re.compile(
    r"Oops: |\bOops\b.*\[#\d+\]|BUG: (unable to handle|kernel NULL|Bad |KASAN|sleeping function)|kernel BUG at |"
    r"general protection fault|Internal error: |Kernel panic - not syncing|double fault|"
    r"KASAN: |KFENCE: (?!initialized)|stack segment: |invalid opcode: |UBSAN: "
)
_HANG = re.compile(
    r"blocked for more than \d+ seconds|soft lockup - CPU#|hard LOCKUP on cpu|self-detected stall|"
    r"rcu_\w+ (kthread starved|detected (expedited )?stalls)|hung_task: blocked tasks"
)
_SPENT = re.compile(r"Out of memory: Killed process \d+ \([^)]*\)")
# The first comes once a device, the second for every write (seen with 6.12 and 7.2; op 0x1 is REQ_OP_WRITE).
_WRITE = re.compile(
    r"Trying to write to read-only block-device \S+|I/O error, dev loop\d+, sector \d+ op 0x1:\(WRITE\)"
)


def crash_in(lines: Iterable[str]) -> str:
    """The first line that tells of an oops, a BUG or a panic, or an empty string."""
    return next((line.strip() for line in lines if _CRASH.search(line)), "")


def hang_in(lines: Iterable[str]) -> str:
    """The first line that tells of a task or a processor that makes no progress, or an empty string."""
    return next((line.strip() for line in lines if _HANG.search(line)), "")


def memory_spent_in(lines: Iterable[str]) -> str:
    """What the kernel killed for want of memory, in its own words, or an empty string."""
    return next((found[0] for found in map(_SPENT.search, lines) if found), "")


def write_in(lines: Iterable[str]) -> str:
    """What the kernel says of a write to a device that cannot be written (block/blk-core.c), or an empty string."""
    return next((found[0] for found in map(_WRITE.search, lines) if found), "")
