"""Each invariant of a move: green on a good one, red by its own name with its fault, and no other with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from lab.checks.faults import FAULTS, faults_of, without_fault
from lab.checks.invariants import INVARIANTS, invariants_of, move_checks
from lab.checks.journey import NOT_ASKED, Journey
from lab.checks.steerable import Steering
from lab.guests.meter import MeterReport, Silence
from lab.guests.witness import AgentReport, Arrears, DiskReport, Gap, HeartbeatReport, MemoryReport, Silent
from lab.hosts.traces import Trace, Traces
from lab.hypervisor import DomainState
from lab.scenario.cell import Limits
from lab.verdict import Outcome
from tests.unit.checks.journeys import GOOD, SOURCE_AFTER, SOURCE_BEFORE, TARGET_AFTER, TARGET_BEFORE

LIMITS = Limits()
Change = Callable[[Journey], Journey]


def red(seen: Journey, limits: Limits = LIMITS) -> dict[str, str]:
    return {check.name: check.observed for check in move_checks(seen, limits) if check.outcome is not Outcome.PASS}


def agent(seen: Journey) -> AgentReport:
    assert isinstance(seen.agent_after, AgentReport)
    return seen.agent_after


def meter(seen: Journey) -> MeterReport:
    assert isinstance(seen.meter, MeterReport)
    return seen.meter


def with_agent(part: str, **changes: Any) -> Change:
    def change(seen: Journey) -> Journey:
        report = replace(getattr(agent(seen), part), **changes)
        return replace(seen, agent_after=replace(agent(seen), **{part: report}))

    return change


def with_meter(part: str, **changes: Any) -> Change:
    def change(seen: Journey) -> Journey:
        return replace(seen, meter=replace(meter(seen), **{part: replace(getattr(meter(seen), part), **changes)}))

    return change


def with_after(**changes: Any) -> Change:
    return lambda seen: replace(seen, after=replace(seen.after, **changes))


def with_sides(**changes: Any) -> Change:
    return lambda seen: replace(seen, sides=replace(seen.sides, **changes))


def with_journey(**changes: Any) -> Change:
    return lambda seen: replace(seen, **changes)


def with_trace(host: str, trace: Trace | None = None, log: str = "") -> Change:
    def change(seen: Journey) -> Journey:
        assert seen.traces is not None
        before, after = seen.traces[host]
        more = Traces(
            after.tenants, after.traces | ({trace} if trace else set()), (*after.log, *([log] if log else []))
        )
        return replace(seen, traces={**seen.traces, host: (before, more)})

    return change


def killed(seen: Journey) -> Journey:
    processes = dict(agent(seen).processes)
    processes["sentinel"] = replace(processes["sentinel"], alive=False)
    return replace(seen, agent_after=replace(agent(seen), processes=processes))


DISK = agent(GOOD).disk
BEATS = agent(GOOD).heartbeat
MEMORY = agent(GOOD).memory
assert isinstance(DISK, DiskReport)
assert isinstance(BEATS, HeartbeatReport)
assert isinstance(MEMORY, MemoryReport)
DOMAIN = GOOD.sides.before

BROKEN: list[tuple[str, Change, dict[str, str]]] = [
    ("still on the source", with_sides(source=DomainState.SHUTOFF), {"gone-from-source": "shut off"}),
    ("not on the target", with_sides(target=DomainState.PAUSED), {"running-on-target": "paused"}),
    ("another boot", with_after(boot_id="1111"), {"same-boot": "1111"}),
    ("uptime starts anew", with_after(uptime=3.0), {"uptime-grows": "3 s"}),
    ("a killed process", killed, {"same-process": "sentinel: 401/2201, now 401/2201 (dead)"}),
    (
        "a flipped page",
        with_agent("memory", verified=Arrears(6144, 1, "page 7 of generation 0 differs from byte 2048 on")),
        {"memory-intact": "1 of 6144 pages wrong: page 7 of generation 0 differs from byte 2048 on"},
    ),
    ("pages never compared", with_agent("memory", verified=None), {"memory-intact": "it was not compared"}),
    ("a changed sector", with_after(keepsake="60303ae22b998861bce3"), {"disk-at-rest": "60303ae22b998861"}),
    (
        "a dropped region",
        with_agent("disk", verified=Arrears(64, 1, "region 3 holds write 900, and write 1220 was confirmed")),
        {"disk-writes-in-flight": "1 wrong: region 3 holds write 900, and write 1220 was confirmed"},
    ),
    (
        "a region never written",
        with_agent("disk", numbers=(999, *DISK.numbers[1:])),
        {"disk-writes-in-flight": "not written meanwhile: 1, the first is 0"},
    ),
    (
        "writes only after the arrival",
        with_agent("disk", writes_after=replace(DISK.writes_after, count=280)),
        {"disk-writes-in-flight": "no write between the look before the move and the arrival"},
    ),
    (
        "a frozen backend",
        with_agent("disk", in_flight=9.0, verified=None, writes_after=replace(DISK.writes_after, count=0, most=None)),
        {
            "disk-writes-in-flight": "the disk did not let them be read back",
            "io-moves": "a write has been under way for 9.0 s",
        },
    ),
    (
        "a slow write",
        with_agent("disk", writes_after=replace(DISK.writes_after, most=6.5)),
        {"io-moves": "a write took 6.5 s"},
    ),
    (
        "too few writes",
        with_agent("disk", writes_after=replace(DISK.writes_after, count=2)),
        {"io-moves": "only 2 writes since it arrived"},
    ),
    (
        "a failed write",
        with_agent("disk", errors=("region 4: Input/output error",)),
        {"io-moves": "1 writes failed: region 4: Input/output error"},
    ),
    (
        "packets dropped for 5 s",
        with_meter("udp", missed=300, missed_in_a_row=300, silences=(Silence(520.0, 6.02),)),
        {"network-gap": "6.02 s (300 of 1450 lost, 300 in a row)"},
    ),
    (
        "the connection was reset",
        with_meter("tcp", ended="Connection reset by peer"),
        {"tcp-survives": "it ended after 479 lines: Connection reset by peer"},
    ),
    (
        "a line out of order",
        with_meter("tcp", wrong="b'9' came where 8 was due"),
        {"tcp-survives": "b'9' came where 8 was due"},
    ),
    (
        "a connection that is stuck",
        with_meter("tcp", silences=(Silence(520.0, 10.0),)),
        {"tcp-survives": "silent for 10.0 s; 1 lines are under way"},
    ),
    ("nothing came back", with_meter("tcp", answers=0), {"tcp-survives": "nothing came back; 1 lines are under way"}),
    (
        "a pause of 5.5 s",
        with_agent("heartbeat", gaps=(Gap(80.0, 5.5, 5.5),)),
        {"guest-pause": "5.500 s, 9000 beats"},
    ),
    ("it beats no more", with_agent("heartbeat", last=70.0), {"guest-pause": "no beat for 20.0 s"}),
    (
        "more gaps than it can remember",
        with_agent("heartbeat", forgotten=True),
        {"guest-pause": "1.200 s, 9000 beats; so many gaps that some are lost"},
    ),
    (
        "a clock stepped by 2 s",
        with_meter("udp", clocks=(replace(meter(GOOD).udp.clocks[0], offset=2.31),)),
        {"clock": "+2.01 s, give or take 0.00"},
    ),
    (
        "MONOTONIC went back",
        with_agent("heartbeat", backwards=1, backwards_worst=-0.995),
        {"clock-monotonic": "1 times, at worst by 0.995 s"},
    ),
    ("another clocksource", with_after(clocksource="tsc"), {"clocksource": "tsc"}),
    (
        "another MAC",
        with_sides(after=replace(DOMAIN, macs=("00:16:3e:77:00:8a",))),
        {"identity": "macs: ('00:16:3e:77:00:0a',) -> ('00:16:3e:77:00:8a',)"},
    ),
    ("a lost module", with_after(modules=frozenset({"ext4", "loop"})), {"modules-kept": "lost: fuse"}),
    (
        "a warning in the guest",
        with_after(kernel_log=(*GOOD.after.kernel_log, "WARNING: CPU: 0")),
        {"kernel-log": "WARNING: CPU: 0"},
    ),
    (
        "Xen complains",
        with_trace("xen-4.20", log="(XEN) Xen call trace:"),
        {"hypervisor-log": "xen-4.20: (XEN) Xen call trace:"},
    ),
    (
        "Xen dumps registers",
        with_trace("xen-4.20", log="(XEN) *** Dumping CPU0 guest state (d0v0): ***"),
        {"hypervisor-log": "xen-4.20: (XEN) *** Dumping CPU0 guest state (d0v0): ***"},
    ),
    (
        "a loop device is left",
        with_trace("xen-4.17", Trace("loop", "loop0 /run/x")),
        {"no-leak": "xen-4.17: + loop loop0 /run/x"},
    ),
    (
        "the guest's own backend is left on the source",
        with_trace("xen-4.17", Trace("backend", "vbd-3-51712")),
        {"no-leak": "xen-4.17: = backend vbd-3-51712"},
    ),
    (
        "a helper is left on the target",
        with_trace("xen-4.20", Trace("process", "libxl-save-help libxl-save-helper --restore-domain")),
        {"no-leak": "xen-4.20: + process libxl-save-help libxl-save-helper --restore-domain"},
    ),
    (
        "it does not shut down",
        with_journey(steering=Steering(("paused", "resumed", "answered"), "shut down: not seen within 60 s; running")),
        {"still-steerable": "paused, resumed, answered; then: shut down: not seen within 60 s; running"},
    ),
]


def test_a_good_move_breaks_nothing() -> None:
    checks = move_checks(GOOD, Limits())
    assert red(GOOD) == {}
    assert [check.name for check in checks] == [name for one in invariants_of("live") for name in one.checks]
    assert len(checks) >= 12


@pytest.mark.parametrize(("change", "broken"), [row[1:] for row in BROKEN], ids=[row[0] for row in BROKEN])
def test_a_fault_turns_its_own_check_red_and_no_other(change: Change, broken: dict[str, str]) -> None:
    assert red(change(GOOD)) == broken


def test_every_check_of_a_live_move_was_shown_to_go_red() -> None:
    assert {name for _, _, broken in BROKEN for name in broken} == {
        name for one in invariants_of("live") for name in one.checks
    }


def test_every_invariant_has_a_fault_and_every_fault_an_invariant() -> None:
    assert without_fault() == ()
    assert {fault.invariant for fault in FAULTS} == {invariant.name for invariant in INVARIANTS}
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)
    assert [fault.name for fault in faults_of("guest-pause")] == ["pause-0.25s", "pause-1s", "pause-5s"]


def test_a_pause_is_a_fault_by_the_limits_that_it_comes_with() -> None:
    for fault in faults_of("guest-pause"):
        seconds = float(fault.name.removeprefix("pause-").removesuffix("s"))
        seen = with_agent("heartbeat", gaps=(Gap(80.0, seconds, seconds),))(GOOD)
        assert set(red(seen, fault.limits)) == {"guest-pause"}


def test_what_nobody_looked_at_is_the_labs_error_and_never_green() -> None:
    blind = Journey("live", "web32", "xen-4.20", GOOD.before, GOOD.after, GOOD.sides)
    wrong = {check.name for check in move_checks(blind, Limits()) if check.outcome is Outcome.ERROR}
    assert wrong == {
        "same-process",
        "memory-intact",
        "disk-writes-in-flight",
        "io-moves",
        "network-gap",
        "tcp-survives",
        "guest-pause",
        "clock-monotonic",
        "hypervisor-log",
        "no-leak",
        "still-steerable",
    }


def test_an_agent_that_fell_silent_in_the_move_is_a_failure() -> None:
    silent = replace(GOOD, agent_after=Silent("agent: no answer"))
    failed = {check.name: check.observed for check in move_checks(silent, Limits()) if check.outcome is Outcome.FAIL}
    lost = ("same-process", "memory-intact", "disk-writes-in-flight", "io-moves", "guest-pause", "clock-monotonic")
    assert failed == dict.fromkeys(lost, "agent: no answer")


def test_a_meter_that_slept_itself_blames_nobody() -> None:
    seen = with_meter("udp", silences=(Silence(520.0, 8.0),), own_silence=7.9)(GOOD)
    (check,) = [check for check in move_checks(seen, Limits()) if check.name == "network-gap"]
    assert check.outcome is Outcome.ERROR
    assert check.observed == "8.00 s (30 of 1450 lost, 30 in a row); the meter slept for 7.90 s"


def test_a_cold_move_wants_another_boot_and_nothing_that_lived_in_memory() -> None:
    after = replace(GOOD.after, boot_id="2222", uptime=9.0, modules=frozenset({"ext4"}), kernel_log=("[ 0.0] Linux",))
    seen = replace(GOOD, how="cold", after=after)
    assert red(seen) == {}
    assert red(replace(seen, after=replace(after, boot_id=GOOD.before.boot_id))) == {"new-boot": GOOD.before.boot_id}
    assert set(red(with_meter("udp", sent=100, missed=100)(seen))) == {"reachable"}


def test_a_cold_move_may_change_what_it_means_to_change() -> None:
    after = replace(GOOD.after, boot_id="2222", clocksource="tsc")
    sides = replace(GOOD.sides, after=replace(DOMAIN, type="pv"))
    seen = replace(GOOD, how="cold", after=after, sides=sides)
    assert set(red(seen)) == {"clocksource", "identity"}
    assert red(replace(seen, changes=frozenset({"type"}))) == {}
    assert red(replace(seen, changes=frozenset({"type"}), after=replace(after, clocksource=""))) == {
        "clocksource": "none"
    }


def test_a_guest_that_went_there_and_back_is_at_home_on_the_source() -> None:
    there_and_back = replace(
        GOOD, traces={"xen-4.17": (SOURCE_BEFORE, SOURCE_BEFORE), "xen-4.20": (TARGET_BEFORE, TARGET_BEFORE)}
    )
    assert red(replace(there_and_back, home="xen-4.17")) == {}
    left = {"xen-4.17": (SOURCE_BEFORE, SOURCE_BEFORE), "xen-4.20": (TARGET_BEFORE, TARGET_AFTER)}
    observed = red(replace(GOOD, home="xen-4.17", traces=left))["no-leak"]
    assert observed.startswith("xen-4.20: + backend vbd-5-51712; xen-4.20: + backend vif-5-0; ")
    assert observed.endswith(" and 6 more")


def test_another_guest_that_vanished_is_told() -> None:
    other = Trace("tenant", "other")
    before = replace(SOURCE_BEFORE, traces=SOURCE_BEFORE.traces | {other})
    traces = {"xen-4.17": (before, SOURCE_AFTER), "xen-4.20": (TARGET_BEFORE, TARGET_AFTER)}
    assert red(replace(GOOD, traces=traces)) == {"no-leak": "xen-4.17: - tenant other"}


STABLE = "[    9.899833] sched_clock: Marking stable (9864345617, 34153714)->(12306219428, -2407720097)"
"""Of a PV guest whose host was short of CPU time: 2.44 s."""


@pytest.mark.parametrize(
    ("offset", "boot", "told"),
    [
        (-3.2, "new", ""),  # 2 s are allowed, and 2.44 s are explained
        (-5.0, "new", "-4.98 s, give or take 0.35; up to 2.44 s behind were lost while its kernel booted"),
        (3.0, "new", "+3.02 s, give or take 0.35"),
        (-3.2, "same", "-3.18 s, give or take 0.35"),
    ],
)
def test_what_a_kernel_lost_while_it_booted_is_no_moves_fault(offset: float, boot: str, told: str) -> None:
    boot_id = GOOD.before.boot_id if boot == "same" else boot
    after = replace(GOOD.after, boot_id=boot_id, clock_offset=offset, kernel_log=(*GOOD.after.kernel_log, STABLE))
    assert red(replace(GOOD, meter_before=NOT_ASKED, after=after)).get("clock", "") == told


def test_a_clock_is_told_by_a_shell_where_the_meter_has_no_sample() -> None:
    seen = replace(GOOD, meter_before=NOT_ASKED, after=replace(GOOD.after, clock_offset=3.0))
    assert red(seen) == {"clock": "+3.02 s, give or take 0.35"}
