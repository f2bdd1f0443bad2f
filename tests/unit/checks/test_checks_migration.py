"""Each check of a migration: green on a healthy pair of looks, and with its fault red, it and no other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from lab.checks.migration import Sides, live_checks, new_log_lines, whereabouts_checks
from lab.guests.observation import Observation
from lab.hypervisor import DiskIdentity, DomainIdentity, DomainState
from lab.verdict import Check, Outcome, Verdict
from tests.unit.guests.observations import HEALTHY, LOG

DOMAIN = DomainIdentity(
    name="web32",
    uuid="0b0f1e7e-0000-4111-8111-0123456789ab",
    type="pvh",
    memory_kib=262144,
    vcpus=1,
    macs=("00:16:3e:77:00:0a",),
    disks=(DiskIdentity("xvda", "/dev/disk/by-id/scsi-0QEMU_QEMU_HARDDISK_web32-xvda", readonly=False),),
    tags=(("run", "f00d"),),
)
SIDES = Sides(DomainState.ABSENT, DomainState.RUNNING, DOMAIN, DOMAIN)
ARRIVED = (
    "[   70.100000] Freezing user space processes completed",
    "[   70.900000] xen:grant_table: Grant tables using version 1 layout",
    "[   71.000000] OOM killer enabled.",
)
AFTER = replace(HEALTHY, uptime=95.5, clock_offset=0.31, clock_error=0.2, kernel_log=LOG + ARRIVED)

NAMES = [
    "running-on-target",
    "gone-from-source",
    "same-boot",
    "uptime-grows",
    "same-process",
    "disk-at-rest",
    "clock",
    "clocksource",
    "identity",
    "modules-kept",
    "kernel-log",
]


def red(checks: Iterable[Check]) -> dict[str, str]:
    """The checks that broke, by name, with what they saw."""
    return {check.name: check.observed for check in checks if check.outcome is not Outcome.PASS}


def judge(
    after: Mapping[str, Any] | None = None,
    sides: Mapping[str, Any] | None = None,
    before: Mapping[str, Any] | None = None,
) -> dict[str, str]:
    """What breaks with these faults."""
    return red(
        live_checks(
            replace(HEALTHY, **(before or {})), replace(AFTER, **(after or {})), replace(SIDES, **(sides or {}))
        )
    )


def test_a_good_move_breaks_nothing() -> None:
    checks = live_checks(HEALTHY, AFTER, SIDES)
    assert [check.name for check in checks] == NAMES
    assert red(checks) == {}
    assert Verdict.of(checks).outcome is Outcome.PASS


LOST = {"sentinel": "431/", "reused": "431/9921", "other": "877/2210"}
OTHER_KEEPSAKE = "60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752"

FAULTS = [
    ("another boot", {"boot_id": "1111-0000"}, {}, "same-boot", "1111-0000"),
    ("uptime starts anew", {"uptime": 3.0}, {}, "uptime-grows", "3 s"),
    ("uptime stands still", {"uptime": HEALTHY.uptime}, {}, "uptime-grows", "61.25 s"),
    ("the sentinel is gone", {"sentinel": LOST["sentinel"]}, {}, "same-process", "431/"),
    ("another process has its number", {"sentinel": LOST["reused"]}, {}, "same-process", "431/9921"),
    ("another process has its start", {"sentinel": LOST["other"]}, {}, "same-process", "877/2210"),
    ("the keepsake differs", {"keepsake": OTHER_KEEPSAKE}, {}, "disk-at-rest", OTHER_KEEPSAKE[:16]),
    ("the keepsake is missing", {"keepsake": ""}, {}, "disk-at-rest", "nothing"),
    ("the clock jumped ahead", {"clock_offset": 2.98}, {}, "clock", "+3.00 s, give or take 0.35"),
    ("the clock fell behind", {"clock_offset": -3.02}, {}, "clock", "-3.00 s, give or take 0.35"),
    ("another clocksource", {"clocksource": "tsc"}, {}, "clocksource", "tsc"),
    ("no clocksource", {"clocksource": ""}, {}, "clocksource", ""),
    (
        "another MAC",
        {},
        {"after": replace(DOMAIN, macs=("00:16:3e:77:00:0b",))},
        "identity",
        "macs: ('00:16:3e:77:00:0a',) -> ('00:16:3e:77:00:0b',)",
    ),
    ("less memory", {}, {"after": replace(DOMAIN, memory_kib=131072)}, "identity", "memory_kib: 262144 -> 131072"),
    ("one more CPU", {}, {"after": replace(DOMAIN, vcpus=2)}, "identity", "vcpus: 1 -> 2"),
    ("another type", {}, {"after": replace(DOMAIN, type="pv")}, "identity", "type: pvh -> pv"),
    ("a module is lost", {"modules": HEALTHY.modules - {"fuse"}}, {}, "modules-kept", "lost: fuse"),
    ("all modules are lost", {"modules": frozenset[str]()}, {}, "modules-kept", "lost: ext4 fuse loop"),
    (
        "still on the source",
        {},
        {"source": DomainState.RUNNING},
        "gone-from-source",
        "running",
    ),
    ("shut off on the source", {}, {"source": DomainState.SHUTOFF}, "gone-from-source", "shut off"),
    ("the source cannot be asked", {}, {"source": DomainState.UNKNOWN}, "gone-from-source", "unknown"),
    ("not on the target", {}, {"target": DomainState.ABSENT}, "running-on-target", "absent"),
    ("paused on the target", {}, {"target": DomainState.PAUSED}, "running-on-target", "paused"),
    ("crashed on the target", {}, {"target": DomainState.CRASHED}, "running-on-target", "crashed"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("after", "sides", "name", "observed"), [row[1:] for row in FAULTS], ids=[row[0] for row in FAULTS]
)
def test_a_fault_turns_its_own_check_red_and_no_other(
    after: Mapping[str, Any], sides: Mapping[str, Any], name: str, observed: str
) -> None:
    assert judge(after, sides) == {name: observed}


TROUBLE = [
    "BUG: kernel NULL pointer dereference, address: 0000000000000008",
    "kernel BUG at drivers/xen/events/events_base.c:1234!",
    "Oops: 0002 [#1] PREEMPT SMP PTI",
    "general protection fault, probably for non-canonical address 0xdead000000000122: 0000 [#1]",
    "WARNING: CPU: 0 PID: 1 at arch/x86/xen/time.c:101 xen_clocksource_resume+0x1/0x2",
    "INFO: task jbd2/xvda-8:97 blocked for more than 120 seconds.",
    "watchdog: BUG: soft lockup - CPU#0 stuck for 23s! [swapper/0:0]",
    "rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:",
    "Call Trace:",
    "I/O error, dev xvda, sector 2048 op 0x1:(WRITE) flags 0x800 phys_seg 1 prio class 2",
    "EXT4-fs error (device xvda): ext4_find_entry:1683: inode #2: comm ls: reading directory lblock 0",
    "Kernel panic - not syncing: Attempted to kill init!",
]


@pytest.mark.parametrize("line", TROUBLE)
def test_each_kind_of_trouble_in_the_kernels_log_is_seen(line: str) -> None:
    said = f"[   72.000000] {line}"
    assert judge({"kernel_log": (*AFTER.kernel_log, said)}) == {"kernel-log": said}


@pytest.mark.parametrize("line", ARRIVED)
def test_what_a_kernel_says_of_a_move_is_no_trouble(line: str) -> None:
    assert judge({"kernel_log": (*LOG, line)}) == {}


def test_trouble_from_before_the_move_is_not_the_moves() -> None:
    old = ("[    1.000000] WARNING: CPU: 0 PID: 1 at old", *LOG)
    assert judge({"kernel_log": old + ARRIVED}, before={"kernel_log": old}) == {}


def test_only_the_first_lines_of_much_trouble_are_told() -> None:
    lines = tuple(f"[   72.00000{number}] BUG: {number}" for number in range(6))
    assert judge({"kernel_log": (*LOG, *lines)}) == {"kernel-log": " | ".join(lines[:3])}


@pytest.mark.parametrize(
    ("before", "after", "new"),
    [
        (("a", "b"), ("a", "b", "c"), ("c",)),
        (("a", "b"), ("a", "b"), ()),
        ((), ("a",), ("a",)),
        (("a", "b"), ("x", "y"), ("x", "y")),  # another boot
        (("a", "b", "c"), ("c", "d"), ("d",)),  # the ring has lost what came first
        (("a", "b"), (), ()),
    ],
)
def test_new_lines_are_those_behind_the_last_one_known(
    before: tuple[str, ...], after: tuple[str, ...], new: tuple[str, ...]
) -> None:
    looks: list[Observation] = [replace(HEALTHY, kernel_log=log) for log in (before, after)]
    assert new_log_lines(looks[0], looks[1]) == new


@pytest.mark.parametrize("sentinel", ["/", "431/"])
def test_a_sentinel_that_never_lived_proves_nothing(sentinel: str) -> None:
    assert judge({"sentinel": sentinel}, before={"sentinel": sentinel}) == {"same-process": sentinel}


def test_a_keepsake_that_never_was_proves_nothing() -> None:
    assert judge({"keepsake": ""}, before={"keepsake": ""}) == {"disk-at-rest": "nothing"}


@pytest.mark.parametrize(("offset", "broken"), [(1.9, False), (-1.9, False), (2.2, False), (2.4, True), (-2.4, True)])
def test_a_clock_may_stray_by_two_seconds_and_what_is_not_known(offset: float, broken: bool) -> None:  # noqa: FBT001 - a column of the table
    found = judge({"clock_offset": offset, "clock_error": 0.2}, before={"clock_offset": 0.0, "clock_error": 0.1})
    assert bool(found) is broken


def test_a_reboot_on_the_way_breaks_all_that_lived_in_memory() -> None:
    booted = {"boot_id": "other", "uptime": 2.0, "sentinel": "/", "modules": frozenset({"ext4"}), "kernel_log": LOG}
    assert set(judge(booted)) == {"same-boot", "uptime-grows", "same-process", "modules-kept"}


def test_new_modules_are_no_loss() -> None:
    assert judge({"modules": HEALTHY.modules | {"dm_mod"}}) == {}


@pytest.mark.parametrize(
    ("source", "target", "broken"),
    [
        (DomainState.ABSENT, DomainState.RUNNING, set()),
        (DomainState.ABSENT, DomainState.BLOCKED, set()),
        (DomainState.RUNNING, DomainState.RUNNING, {"gone-from-source"}),
        (DomainState.RUNNING, DomainState.ABSENT, {"gone-from-source", "running-on-target"}),
        (DomainState.ABSENT, DomainState.ABSENT, {"running-on-target"}),
    ],
)
def test_a_guest_is_on_one_host_and_never_on_both_or_neither(
    source: DomainState, target: DomainState, broken: set[str]
) -> None:
    assert set(red(whereabouts_checks(source, target))) == broken


def test_every_check_has_a_fault_that_was_shown_to_turn_it_red() -> None:
    assert {row[3] for row in FAULTS} | {"kernel-log"} == set(NAMES)
