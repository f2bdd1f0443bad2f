"""What becomes of a move: every check put to what was seen, and blame only for what is the product's."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lab.deadline import Deadline
from lab.errors import GuestError, HostError
from lab.guests.guest import SilentGuestError
from lab.guests.moving import Arrival
from lab.hypervisor import Connection, Domain, DomainState, Migrated, MigrationPlan, binding, migrate
from lab.hypervisor.binding import Said
from lab.kernels.loading import load_modules
from lab.scenario.cell import HostRequest, Limits, MigrationRequest, ModulesRequest
from lab.stage.judging import judge_move
from lab.stage.prepared import PreparedMove
from lab.stage.travel import state_on
from lab.testing.shell import Answer
from lab.verdict import Outcome, Verdict
from tests.unit.guests.observations import HEALTHY
from tests.unit.stage.travellers import GUEST, NAME, Pair, agent_says, pair, soon

__all__ = ["pair"]

MODULES = ModulesRequest(load=("loop", "fuse"), load_after=("isofs",))
SOURCE, TARGET = HostRequest("source", "4.14"), HostRequest("target", "4.20")
FACTS = {"kernel_version": HEALTHY.release}


@pytest.fixture
def evidence(tmp_path: Path) -> Path:
    folder = tmp_path / "evidence"
    folder.mkdir()
    return folder


def request(how: str = "live", modules: ModulesRequest = MODULES, *, back: bool = False) -> MigrationRequest:
    return MigrationRequest(SOURCE, TARGET, GUEST, how, modules, back=back)


def prepared(pair: Pair, **more: Any) -> PreparedMove:
    return PreparedMove(pair.guest, pair.hosts[0], pair.hosts[1], FACTS, **more)


def judged(pair: Pair, evidence: Path, asked: MigrationRequest | None = None, **more: Any) -> Verdict:
    ready, wanted = prepared(pair, **more), asked or request()
    loadings = load_modules(ready.guest.shell, wanted.modules.load, deadline=soon())
    return judge_move(wanted, ready, loadings, evidence, soon())


def red(verdict: Verdict) -> set[str]:
    return {check.name for check in verdict.checks if check.outcome is not Outcome.PASS}


BEFORE = ["kernel-release", "kernel-architecture", "userland-bits"]
LOADED = ["module-loads:loop", "module-loads:fuse", "modules-listed"]
LIVE = [
    "running-on-target",
    "gone-from-source",
    "same-boot",
    "uptime-grows",
    "same-process",
    "memory-intact",
    "disk-at-rest",
    "disk-writes-in-flight",
    "io-moves",
    "network-gap",
    "tcp-survives",
    "guest-pause",
    "clock",
    "clock-monotonic",
    "clocksource",
    "identity",
    "modules-kept",
    "kernel-log",
    "hypervisor-log",
    "no-leak",
    "still-steerable",
]


def test_a_good_move_passes_every_check_and_leaves_its_evidence(pair: Pair, evidence: Path) -> None:
    verdict = judged(pair, evidence)
    assert (verdict.outcome, red(verdict), verdict.reason, verdict.facts) == (Outcome.PASS, set(), "", FACTS)
    names = [check.name for check in verdict.checks]
    assert names == [*BEFORE, *LOADED, "migrated", *LIVE, "module-loads-after:isofs"]
    assert sorted(path.name for path in evidence.iterdir()) == [
        "there-after.txt",
        "there-before.txt",
        "there-journey.json",
        f"{NAME}-on-xen-4.14-console.log",
        f"{NAME}-on-xen-4.14.xml",
        f"{NAME}-on-xen-4.20-console.log",
        f"{NAME}-on-xen-4.20.xml",
        "xen-4.14-libxl.log",
        "xen-4.14-xl-dmesg.log",
        "xen-4.20-libxl.log",
        "xen-4.20-xl-dmesg.log",
    ]
    assert (evidence / "xen-4.20-xl-dmesg.log").read_text() == "(XEN) well\n"
    assert (evidence / "xen-4.20-libxl.log").read_text() == "libxl: well"
    assert f"boot_id: {HEALTHY.boot_id}" in (evidence / "there-after.txt").read_text().splitlines()
    journey = json.loads((evidence / "there-journey.json").read_text())
    assert journey["steering"] == {"done": ["paused", "resumed", "answered", "shut down"], "trouble": ""}


def test_everybody_is_asked_in_turn_and_the_guest_is_steered_last(pair: Pair, evidence: Path) -> None:
    judged(pair, evidence)
    steps = [line for line in pair.log if line.startswith("guest: ")]
    assert steps == [
        "guest: load modules",
        "guest: look inside",
        "guest: look inside",
        "guest: load modules",
        "guest: stop the agent",
        "guest: answer",
    ]


@pytest.mark.parametrize(
    ("changes", "broken"),
    [
        ({"boot_id": "other"}, {"same-boot"}),
        ({"keepsake": ""}, {"disk-at-rest"}),
        ({"modules": frozenset({"ext4", "loop"})}, {"modules-kept"}),
        ({"kernel_log": (*HEALTHY.kernel_log, "[ 99.0] Kernel panic - not syncing")}, {"kernel-log"}),
    ],
)
def test_a_fault_on_the_way_fails_the_cell_by_the_name_of_its_check(
    pair: Pair, evidence: Path, changes: Mapping[str, Any], broken: set[str]
) -> None:
    pair.in_guest(1, {"uptime": 95.5, **changes})
    verdict = judged(pair, evidence)
    assert (verdict.outcome, red(verdict)) == (Outcome.FAIL, broken)
    assert verdict.reason.startswith(f"{min(broken)}: fail (expected ")


def test_an_agent_that_does_not_live_to_tell_fails_the_cell(pair: Pair, evidence: Path) -> None:
    pair.on_host(1, "ask the agent", agent_says(61.0, 130), Answer(1, stderr="Connection refused\n"))
    verdict = judged(pair, evidence)
    lost = {"same-process", "memory-intact", "disk-writes-in-flight", "io-moves", "guest-pause", "clock-monotonic"}
    assert (verdict.outcome, red(verdict)) == (Outcome.FAIL, lost)
    assert "no answer (status 1): Connection refused" in verdict.reason


def test_limits_are_those_of_the_scenario(pair: Pair, evidence: Path) -> None:
    verdict = judged(pair, evidence, limits=Limits(network_gap=1.0, guest_pause=1.0))
    assert (verdict.outcome, red(verdict)) == (Outcome.FAIL, {"network-gap", "guest-pause"})


def test_a_source_that_keeps_the_guest_fails_the_cell(pair: Pair, evidence: Path) -> None:
    pair.source.faults.leave_source = True
    verdict = judged(pair, evidence)
    assert (verdict.outcome, red(verdict)) == (Outcome.FAIL, {"gone-from-source"})


def test_a_module_that_does_not_load_after_the_move_is_named(pair: Pair, evidence: Path) -> None:
    fails = {"sh -c *modprobe * sh isofs": "modprobe: status 1: modprobe: FATAL: no isofs\n"}
    pair.shells[1].answers = {**pair.shells[1].answers, **fails}
    verdict = judged(pair, evidence)
    assert red(verdict) == {"module-loads-after:isofs"}
    assert "modprobe: status 1: modprobe: FATAL: no isofs" in verdict.reason


def test_a_move_without_modules_asks_nothing_of_modules_to_load(pair: Pair, evidence: Path) -> None:
    verdict = judged(pair, evidence, request(modules=ModulesRequest()))
    assert [check.name for check in verdict.checks] == [*BEFORE, "migrated", *LIVE]
    assert "guest: load modules" not in pair.log


@pytest.mark.parametrize("how", ["cold", "cold-shared"])
def test_a_guest_that_was_off_is_judged_by_where_it_boots(pair: Pair, evidence: Path, how: str) -> None:
    pair.off_and_on()
    verdict = judged(pair, evidence, request(how))
    assert (verdict.outcome, red(verdict)) == (Outcome.PASS, set())
    names = {check.name for check in verdict.checks}
    assert {"new-boot", "reachable", "io-moves", "no-leak"} <= names
    assert not {"same-boot", "memory-intact", "network-gap"} & names


def test_a_cold_guest_that_was_never_off_fails(pair: Pair, evidence: Path) -> None:
    verdict = judged(pair, evidence, request("cold"))
    assert (verdict.outcome, red(verdict)) == (Outcome.FAIL, {"new-boot"})


def test_an_arrival_is_judged_by_the_kernel_that_it_arrives_with(pair: Pair, evidence: Path) -> None:
    pair.off_and_on()
    image = replace(pair.guest.image, boot=replace(pair.guest.image.boot, key="0ther"))
    other = replace(image, boot=replace(image.boot, kernel=replace(image.boot.kernel, release="6.1.0-cloud-amd64")))
    arrival = Arrival(replace(GUEST, type="pvh"), other)
    verdict = judged(pair, evidence, request("cold"), arrival=arrival)
    # Its type may change; but it came back with the kernel that it had.
    assert (verdict.outcome, red(verdict)) == (Outcome.FAIL, {"kernel-release"})
    assert verdict.reason == "kernel-release: fail (expected 6.1.0-cloud-amd64, observed 6.12.57-cloud-amd64)"


def test_there_and_back_is_judged_twice_and_steered_once(pair: Pair, evidence: Path) -> None:
    pair.in_guest(0, {"uptime": 61.25}, {"uptime": 120.0})
    verdict = judged(pair, evidence, request(back=True))
    assert (verdict.outcome, red(verdict), verdict.reason) == (Outcome.PASS, set(), "")
    names = [check.name for check in verdict.checks]
    there = [name for name in LIVE if name != "still-steerable"]
    back = [f"back:{name}" for name in ("migrated", *LIVE)]
    assert names == [*BEFORE, *LOADED, "migrated", *there, "module-loads-after:isofs", *back]
    assert pair.guest.host is pair.hosts[0]
    assert pair.log.count("guest: stop the agent") == 1
    assert {path.name for path in evidence.glob("*-journey.json")} == {"there-journey.json", "back-journey.json"}


NO_SUPPORT = "this function is not supported by the connection driver: virDomainMigratePerform3Params"
REFUSED = Said(binding.NO_SUPPORT, binding.FROM_DRIVER, NO_SUPPORT)


def test_what_the_driver_cannot_do_is_unsupported_in_its_own_words(pair: Pair, evidence: Path) -> None:
    pair.source.faults.refuse["migrate"] = REFUSED
    verdict = judged(pair, evidence)
    assert verdict.outcome is Outcome.UNSUPPORTED
    assert verdict.reason == (
        f"fake:///xen-4.14: guest {NAME}: migrate to fake:///xen-4.20: {NO_SUPPORT}; "
        f"{NAME} is running on fake:///xen-4.14, absent on fake:///xen-4.20"
    )
    assert red(verdict) == {"migrated"}
    assert state_on(pair.hosts[0].connection, NAME, soon()) is DomainState.RUNNING


def test_a_refusal_makes_nothing_good_that_was_broken_before(pair: Pair, evidence: Path) -> None:
    pair.source.faults.refuse["migrate"] = REFUSED
    pair.shells[0].answers = {
        "sh -c *modprobe * sh loop fuse": "modprobe: status 1: no loop\nlive\n",
        **{command: reply for command, reply in pair.shells[0].answers.items() if "loop" not in command},
    }
    verdict = judged(pair, evidence)
    assert (verdict.outcome, red(verdict)) == (Outcome.FAIL, {"module-loads:loop", "migrated"})


def test_a_refusal_that_costs_the_guest_its_life_is_a_failure(
    pair: Pair, evidence: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair.source.faults.refuse["migrate"] = REFUSED
    enter = pair.source.enter

    def kill_first(verb: str) -> bool:
        if verb == "migrate":
            pair.source.end(pair.source.record(NAME))
        return enter(verb)

    monkeypatch.setattr(pair.source, "enter", kill_first)
    verdict = judged(pair, evidence)
    assert (verdict.outcome, red(verdict)) == (Outcome.FAIL, {"migrated"})
    assert f"{NAME} is shut off on fake:///xen-4.14, absent on fake:///xen-4.20" in verdict.reason


def test_a_way_back_that_is_refused_is_unsupported_only_if_the_way_there_was_good(pair: Pair, evidence: Path) -> None:
    pair.target.faults.refuse["migrate"] = REFUSED
    verdict = judged(pair, evidence, request(back=True))
    assert (verdict.outcome, red(verdict)) == (Outcome.UNSUPPORTED, {"back:migrated"})


def test_what_broke_on_the_way_there_is_told_when_the_way_back_is_refused(pair: Pair, evidence: Path) -> None:
    pair.target.faults.refuse["migrate"] = REFUSED
    pair.in_guest(1, {"uptime": 95.5, "keepsake": ""})
    verdict = judged(pair, evidence, request(back=True))
    assert (verdict.outcome, red(verdict)) == (Outcome.FAIL, {"disk-at-rest", "back:migrated"})


def test_a_move_that_fails_is_a_failure_with_the_whereabouts(pair: Pair, evidence: Path) -> None:
    pair.target.bridges = frozenset()
    verdict = judged(pair, evidence)
    assert (verdict.outcome, red(verdict), verdict.facts) == (Outcome.FAIL, {"migrated"}, FACTS)
    assert "bridge xenbr0 does not exist" in verdict.reason
    assert f"{NAME} is running on fake:///xen-4.14, absent on fake:///xen-4.20" in verdict.reason


def dying(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """The guest ends as soon as it has arrived."""
    receive = pair.target.receive

    def receive_and_end(record: Any, source: Any, plan: Any) -> None:
        receive(record, source, plan)
        pair.target.end(pair.target.record(NAME))

    monkeypatch.setattr(pair.target, "receive", receive_and_end)
    pair.dom0s[1].answers = {**pair.dom0s[1].answers, "timeout 5 *": Answer(124)}


LOGDIRTY = "xc: Failed to enable logdirty: 22: Invalid argument"


def logs(pair: Pair, host: int, line: str) -> None:
    """What libxl has logged on a host."""
    stamped = f"2026-11-22 10:00:00.000+0000: {line}\n"
    pair.dom0s[host].answers = {**pair.dom0s[host].answers, "sh -c grep -hE *": stamped}


def test_a_failure_whose_cause_is_known_by_the_hosts_own_words_is_unsupported(pair: Pair, evidence: Path) -> None:
    pair.target.bridges = frozenset()
    logs(pair, 0, LOGDIRTY)
    verdict = judged(pair, evidence)
    assert (verdict.outcome, red(verdict)) == (Outcome.UNSUPPORTED, {"migrated"})
    assert verdict.reason.startswith(f"no-log-dirty-mode: xen-4.14: {LOGDIRTY}: its hypervisor is built without ")


def test_a_failure_with_words_that_nobody_knows_is_one(pair: Pair, evidence: Path) -> None:
    pair.target.bridges = frozenset()
    logs(pair, 0, "libxl: error: libxl_dom_save.c: domain 3: saving domain failed")
    assert judged(pair, evidence).outcome is Outcome.FAIL


def test_a_known_cause_makes_nothing_good_that_was_broken_before_nor_a_lost_guest(
    pair: Pair, evidence: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    logs(pair, 1, LOGDIRTY)
    dying(pair, monkeypatch)
    assert judged(pair, evidence).outcome is Outcome.FAIL


def test_a_guest_that_ends_as_it_arrives_is_a_failure(
    pair: Pair, evidence: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dying(pair, monkeypatch)
    verdict = judged(pair, evidence)
    assert (verdict.outcome, red(verdict)) == (Outcome.FAIL, {"migrated"})
    lost = f"{NAME} on xen-4.20: it ended before it answered; console: boots"
    assert verdict.reason == f"migrated: fail (expected libvirt reports success, observed {lost})"


CUT_OFF = {"sh -c *echo boot_id=*": HostError(f"{NAME}: connection lost: no reason given")}

TWICE = """\
[   99.517488]  sysvec_xen_hvm_callback+0xa/0x90
[   99.517505] RIP: 0010:asm_sysvec_xen_hvm_callback+0x0/0x20
[   99.517511] Code: e9 85 04 00 00 <0f> 1f 00 fc
[   99.517516] RSP: 0000:fffffe0000002fd8 EFLAGS: 00000002
[   99.661508] Kernel panic - not syncing: Fatal exception in interrupt
"""


def emulated(pair: Pair, on: int, console: str) -> None:
    """Both hosts have emulated CPUs, and the guest's console on one of them says that."""
    pair.hosts[:] = [replace(host, accelerator="tcg") for host in pair.hosts]
    pair.guest.host = pair.hosts[0]
    pair.dom0s[on].answers = {**pair.dom0s[on].answers, "sh -c cat *": console}


@pytest.mark.parametrize("on", [0, 1])
def test_a_guest_that_dies_of_an_interrupt_delivered_twice_is_the_emulators_fault(
    pair: Pair, evidence: Path, monkeypatch: pytest.MonkeyPatch, on: int
) -> None:
    dying(pair, monkeypatch)
    emulated(pair, on, TWICE)
    with pytest.raises(HostError) as caught:
        judged(pair, evidence)
    where = f"{NAME} on {pair.hosts[on].name}"
    assert caught.value.message.startswith(f"{where}: died of an interrupt that QEMU delivered twice, at asm_sysvec_")


def test_and_so_it_is_where_the_guest_is_lost_before_it_moves(pair: Pair, evidence: Path) -> None:
    emulated(pair, 0, TWICE)
    pair.shells[0].answers = {**pair.shells[0].answers, **CUT_OFF}
    with pytest.raises(HostError, match="of an interrupt that QEMU delivered twice, at"):
        judged(pair, evidence)


@pytest.mark.parametrize("accelerator", ["tcg", "kvm"])
def test_a_guest_that_dies_of_anything_else_or_on_a_real_cpu_fails(
    pair: Pair, evidence: Path, monkeypatch: pytest.MonkeyPatch, accelerator: str
) -> None:
    dying(pair, monkeypatch)
    emulated(pair, 1, TWICE.replace("EFLAGS: 00000002", "EFLAGS: 00000202") if accelerator == "tcg" else TWICE)
    pair.hosts[:] = [replace(host, accelerator=accelerator) for host in pair.hosts]
    pair.guest.host = pair.hosts[0]
    assert judged(pair, evidence).outcome is Outcome.FAIL


def test_a_guest_that_ends_while_it_is_looked_at_is_a_failure(pair: Pair, evidence: Path) -> None:
    pair.source.faults.lose_guest = True
    pair.shells[1].answers = {**pair.shells[1].answers, **CUT_OFF}
    verdict = judged(pair, evidence)
    assert (verdict.outcome, red(verdict)) == (Outcome.FAIL, {"migrated"})
    assert verdict.reason == (
        "migrated: fail (expected libvirt reports success, "
        f"observed {NAME}: connection lost: no reason given; it has ended)"
    )


def test_a_guest_that_lives_and_cannot_be_asked_blames_nobody(pair: Pair, evidence: Path) -> None:
    pair.shells[1].answers = {**pair.shells[1].answers, **CUT_OFF}
    with pytest.raises(HostError, match=f"^{NAME}: connection lost: no reason given$"):
        judged(pair, evidence)


def test_a_guest_that_is_silent_on_arrival_is_blamed_only_where_silence_is_its_own(
    pair: Pair, evidence: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = f"{NAME} on xen-4.20: no answer on port 22 within 240 s; console: silent"

    def silent(*_: object, **__: object) -> float:
        raise SilentGuestError(said)

    monkeypatch.setattr("lab.guests.moving.move", silent)
    verdict = judged(pair, evidence)
    assert (verdict.outcome, red(verdict)) == (Outcome.FAIL, {"migrated"})
    with pytest.raises(SilentGuestError) as caught:
        judged(pair, evidence, blames_silence=False)
    assert str(caught.value) == f"{said}; emulated, nobody is blamed before it is seen twice"


def test_a_guest_that_ends_since_its_host_has_died_is_the_labs_trouble(
    pair: Pair, evidence: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dying(pair, monkeypatch)
    ended = pair.target.end

    def end(record: Any) -> None:
        pair.disks(1).dead = "xen-4.20: QEMU ended with status -9"
        ended(record)

    monkeypatch.setattr(pair.target, "end", end)
    with pytest.raises(HostError, match=r"^xen-4\.20: QEMU ended with status -9$"):
        judged(pair, evidence)


@pytest.mark.parametrize("does", ["start the meter", "traces", "ask the agent"])
def test_a_look_before_the_move_that_fails_blames_nobody(pair: Pair, evidence: Path, does: str) -> None:
    pair.on_host(1, does, GuestError("nobody there"))
    with pytest.raises(GuestError, match=r"^nobody there$"):
        judged(pair, evidence)
    assert state_on(pair.hosts[0].connection, NAME, soon()) is DomainState.RUNNING


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the time that there is, a migration gets a moment."""

    def moment(domain: Domain, target: Connection, plan: MigrationPlan, deadline: Deadline) -> Migrated:
        return migrate(domain, target, plan, deadline.at_most(0.2))

    monkeypatch.setattr("lab.guests.moving.migrate", moment)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("end", ["source", "target"])
def test_a_move_that_hangs_since_a_host_has_died_is_the_labs_trouble(
    pair: Pair, evidence: Path, end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair.source.faults.hang.add("migrate")
    disks = pair.disks(("source", "target").index(end))
    enter = pair.source.enter

    def die(verb: str) -> bool:
        if verb == "migrate":
            disks.dead = f"{end}: QEMU ended with status -9"
        return enter(verb)

    monkeypatch.setattr(pair.source, "enter", die)
    try:
        with pytest.raises(HostError, match=f"^{end}: QEMU ended with status -9$"):
            judged(pair, evidence)
    finally:
        pair.source.release()


@pytest.mark.usefixtures("impatient")
def test_a_move_that_only_hangs_is_the_products_failure(pair: Pair, evidence: Path) -> None:
    pair.source.faults.hang.add("migrate")
    try:
        verdict = judged(pair, evidence)
    finally:
        pair.source.release()
    assert (verdict.outcome, red(verdict)) == (Outcome.FAIL, {"migrated"})
