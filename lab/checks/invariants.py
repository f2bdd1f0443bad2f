"""What a migration must leave as it was: the one table of invariants, from which cells are judged, faults are injected
and the documentation is written.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lab.checks.clock import clock_check, clocksource_check, lost_at_boot, monotonic_check, strayed
from lab.checks.disk import at_rest_check, in_flight_check, io_check
from lab.checks.journey import NOT_ASKED, Journey, disk_of, memory_of
from lab.checks.leak import leak_check
from lab.checks.life import boot_checks, new_boot_check, process_check
from lab.checks.log import hypervisor_check, kernel_check
from lab.checks.memory import memory_check
from lab.checks.modules import kept_checks
from lab.checks.network import gap_check, reachable_check, tcp_check
from lab.checks.pause import pause_check
from lab.checks.steerable import steerable_check
from lab.checks.whereabouts import identity_check, whereabouts_checks
from lab.guests.witness import DiskReport
from lab.scenario.cell import Limits
from lab.verdict import Check, Outcome

__all__ = ["COLD", "INVARIANTS", "LIVE", "SAVE_RESTORE", "STEERABLE", "Invariant", "invariants_of", "move_checks"]

COLD, SAVE_RESTORE, LIVE = "cold", "save-restore", "live"
"""Kinds of moves; ``cold-shared`` is a cold one, whose disk happens to be seen by both hosts."""

STEERABLE = "still-steerable"

_RUNNING = frozenset({SAVE_RESTORE, LIVE})
"""Moves in which the guest lives on."""
_ALL = _RUNNING | {COLD}

Judge = Callable[[Journey, Limits], tuple[Check, ...]]


@dataclass(frozen=True, slots=True)
class Invariant:
    """``checks`` are the names under which it answers; any of them may catch its fault.

    ``applies`` are the ways to move for which it holds, ``how`` says in words how it is found out, and ``fault`` what
    must turn it red.
    """

    name: str
    checks: tuple[str, ...]
    applies: frozenset[str]
    how: str
    fault: str
    judge: Judge


def _whereabouts(seen: Journey, _limits: Limits) -> tuple[Check, ...]:
    return whereabouts_checks(seen.sides.source, seen.sides.target)


def _boot(seen: Journey, _limits: Limits) -> tuple[Check, ...]:
    return boot_checks(seen.before, seen.after)


def _new_boot(seen: Journey, _limits: Limits) -> tuple[Check, ...]:
    return (new_boot_check(seen.before, seen.after),)


def _process(seen: Journey, _limits: Limits) -> tuple[Check, ...]:
    if seen.agent_before is NOT_ASKED:
        return (_unseen("same-process"),)
    return (process_check(seen.agent_before, seen.agent_after),)


def _memory(seen: Journey, _limits: Limits) -> tuple[Check, ...]:
    if seen.agent_after is NOT_ASKED:
        return (_unseen("memory-intact"),)
    return (memory_check(memory_of(seen.agent_after)),)


def _at_rest(seen: Journey, _limits: Limits) -> tuple[Check, ...]:
    return (at_rest_check(seen.before, seen.after),)


def _in_flight(seen: Journey, _limits: Limits) -> tuple[Check, ...]:
    if seen.agent_before is NOT_ASKED:
        return (_unseen("disk-writes-in-flight"),)
    return (in_flight_check(disk_of(seen.agent_before), disk_of(seen.agent_after)),)


def _io(seen: Journey, limits: Limits) -> tuple[Check, ...]:
    if seen.agent_after is NOT_ASKED:
        return (_unseen("io-moves"),)
    before = disk_of(seen.agent_before)
    # A cold move starts the agent anew, and its errors with it.
    known = len(before.errors) if isinstance(before, DiskReport) and seen.how in _RUNNING else 0
    return (io_check(disk_of(seen.agent_after), limits.fsync, known=known),)


def _gap(seen: Journey, limits: Limits) -> tuple[Check, ...]:
    return (gap_check(seen.meter, limits.network_gap),)


def _reachable(seen: Journey, _limits: Limits) -> tuple[Check, ...]:
    return (_unseen("reachable"),) if seen.meter is NOT_ASKED else (reachable_check(seen.meter),)


def _tcp(seen: Journey, limits: Limits) -> tuple[Check, ...]:
    return (tcp_check(seen.meter, limits.network_gap),)


def _pause(seen: Journey, limits: Limits) -> tuple[Check, ...]:
    if seen.agent_after is NOT_ASKED:
        return (_unseen("guest-pause"),)
    return (pause_check(seen.agent_after, limits.guest_pause),)


def _clock(seen: Journey, limits: Limits) -> tuple[Check, ...]:
    booted = seen.after.boot_id != seen.before.boot_id
    lost = lost_at_boot(seen.after.kernel_log) if booted else 0.0
    return (clock_check(*strayed(seen.before, seen.after, seen.meter_before, seen.meter), limits.clock, lost=lost),)


def _monotonic(seen: Journey, _limits: Limits) -> tuple[Check, ...]:
    if seen.agent_after is NOT_ASKED:
        return (_unseen("clock-monotonic"),)
    return (monotonic_check(seen.agent_before, seen.agent_after),)


def _clocksource(seen: Journey, _limits: Limits) -> tuple[Check, ...]:
    if "type" in seen.changes:
        # Another type of guest may well have another clocksource; it must have one.
        there = bool(seen.after.clocksource)
        return (Check.that("clocksource", there, expected="any", observed=seen.after.clocksource or "none"),)
    return (clocksource_check(seen.before, seen.after),)


def _identity(seen: Journey, _limits: Limits) -> tuple[Check, ...]:
    return (identity_check(seen.sides, seen.changes),)


def _modules(seen: Journey, _limits: Limits) -> tuple[Check, ...]:
    return (kept_checks(seen.before, seen.after),)


def _kernel_log(seen: Journey, _limits: Limits) -> tuple[Check, ...]:
    return (kernel_check(seen.before, seen.after),)


def _hypervisor_log(seen: Journey, _limits: Limits) -> tuple[Check, ...]:
    if seen.traces is None:
        return (_unseen("hypervisor-log"),)
    return (hypervisor_check({host: (was.log, now.log) for host, (was, now) in seen.traces.items()}),)


def _leak(seen: Journey, _limits: Limits) -> tuple[Check, ...]:
    if seen.traces is None:
        return (_unseen("no-leak"),)
    return (leak_check(seen.traces, guest=seen.guest, home=seen.home),)


def _steerable(seen: Journey, _limits: Limits) -> tuple[Check, ...]:
    return (_unseen("still-steerable"),) if seen.steering is None else (steerable_check(seen.steering),)


def _unseen(name: str) -> Check:
    # Nobody looked, which is the lab's fault; a guest that does not answer is another matter, and a failure.
    return Check(name, Outcome.ERROR, "a look", "nobody looked")


def _one(name: str, applies: frozenset[str], how: str, fault: str, judge: Judge) -> Invariant:
    return Invariant(name, (name,), applies, how, fault, judge)


INVARIANTS: tuple[Invariant, ...] = (
    Invariant(
        "whereabouts",
        ("running-on-target", "gone-from-source"),
        _ALL,
        "both hosts' libvirt",
        "leave the guest defined on the source",
        _whereabouts,
    ),
    Invariant(
        "same-boot", ("same-boot", "uptime-grows"), _RUNNING, "/proc in the guest", "reboot it in the middle", _boot
    ),
    _one("new-boot", frozenset({COLD}), "/proc in the guest", "move it while it runs", _new_boot),
    _one("same-process", _RUNNING, "pid and start time of the agent's processes", "kill one of them", _process),
    _one("memory-intact", _RUNNING, "the agent's pattern of pages and generations", "flip one page", _memory),
    _one("disk-at-rest", _ALL, "hash of a file, caches dropped", "change one byte of it on the disk", _at_rest),
    _one(
        "disk-writes-in-flight",
        _RUNNING,
        "the agent's numbered writes, read back from the disk",
        "drop the writes of one region",
        _in_flight,
    ),
    _one("io-moves", _ALL, "how long the agent's fsyncs take after the arrival", "freeze the disk's backend", _io),
    _one(
        "network-gap", _RUNNING, "numbered datagrams from another host to the guest and back", "drop packets 5 s", _gap
    ),
    _one("reachable", frozenset({COLD}), "datagrams from another host", "take the guest's network down", _reachable),
    _one("tcp-survives", _RUNNING, "one connection from another host, numbered lines echoed", "send RST", _tcp),
    _one("guest-pause", _RUNNING, "the longest gap of the agent's heartbeat", "pause it 250 ms, 1 s, 5 s", _pause),
    _one("clock", _ALL, "the guest's REALTIME against an onlooker's", "step it by 5 s", _clock),
    _one(
        "clock-monotonic",
        _RUNNING,
        "CLOCK_MONOTONIC at each look of the heartbeat",
        "have the agent read it 1 s earlier (Linux lets nobody set it back)",
        _monotonic,
    ),
    _one("clocksource", _ALL, "sysfs in the guest", "choose another clocksource", _clocksource),
    _one("identity", _ALL, "both domain XMLs", "change a MAC", _identity),
    _one("modules-kept", _RUNNING, "/proc/modules in the guest", "unload a module", _modules),
    _one("kernel-log", _ALL, "the guest's kernel log since the look before the move", "inject a warning", _kernel_log),
    _one("hypervisor-log", _ALL, "xl dmesg of both hosts", "have Xen dump its registers", _hypervisor_log),
    _one("no-leak", _ALL, "what is on both hosts, before and after", "leave a loop device", _leak),
    _one(STEERABLE, _ALL, "libvirt on the target", "break the guest's shutdown", _steerable),
)


def invariants_of(how: str) -> tuple[Invariant, ...]:
    """Those that hold for a way to move."""
    return tuple(invariant for invariant in INVARIANTS if how in invariant.applies)


def move_checks(seen: Journey, limits: Limits) -> tuple[Check, ...]:
    """Every check of every invariant that holds for this way to move, in the order of the table."""
    return tuple(check for invariant in invariants_of(seen.how) for check in invariant.judge(seen, limits))
