"""Faults on guests that are not there: which share one, what counts as caught, and what as nothing at all."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from lab.checks.faults import FAULTS, Fault
from lab.checks.invariants import INVARIANTS
from lab.checks.proof import CONTROL, Proof, chosen, way_of
from lab.errors import GuestError, UnknownNameError
from lab.stage.proving import Trials, rounds
from lab.verdict import Outcome
from tests.unit.checks.journeys import GOOD, METER
from tests.unit.checks.test_checks_invariants import with_agent
from tests.unit.stage.broken import BREAKS, TROUBLE, FakeGround, seen_of, silent


def tried(ground: FakeGround, folder: Path, *names: str, moves: bool = False) -> dict[str, Proof]:
    proofs = Trials(ground, lambda _fault: folder, moves).run(chosen(names))
    return {proof.fault: proof for proof in proofs}


def test_every_fault_is_caught_by_the_name_of_its_invariant_and_the_control_is_green(tmp_path: Path) -> None:
    proofs = tried(FakeGround(), tmp_path)
    assert {fault.name for fault in FAULTS} == set(BREAKS)
    assert set(proofs) == {*BREAKS, CONTROL}
    assert {name: proof.word for name, proof in proofs.items() if name != CONTROL} == dict.fromkeys(BREAKS, "caught")
    assert (proofs[CONTROL].word, proofs[CONTROL].red) == ("green", ())
    assert {proof.invariant for proof in proofs.values()} - {""} == {one.name for one in INVARIANTS}
    assert (tmp_path / "journey.json").exists()


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_guest_on_which_the_fault_does_nothing_is_a_miss(tmp_path: Path, fault: Fault) -> None:
    nothing = replace(seen_of(fault), **{name: getattr(GOOD, name) for name in ("after", "sides", "traces", "meter")})
    nothing = replace(nothing, agent_after=GOOD.agent_after, steering=nothing.steering and GOOD.steering)
    if fault.name == "not-cold":
        nothing = replace(nothing, after=replace(GOOD.after, boot_id="2222"))
    if fault.invariant == "guest-pause":
        nothing = with_agent("heartbeat", gaps=())(nothing)
    proof = tried(FakeGround(shows={fault.name: nothing}), tmp_path, fault.name)[fault.name]
    assert (proof.word, proof.red, proof.outcome) == ("missed", (), Outcome.FAIL)
    assert (tmp_path / "xl-dmesg.log").exists()


def test_those_that_can_be_healed_share_a_guest_and_the_control_is_its_last(tmp_path: Path) -> None:
    ground = FakeGround()
    tried(ground, tmp_path, "clock", "memory-intact", "no-leak", "still-steerable")
    assert ground.log == [
        *("1: stepped-clock", "1: leaked-loop", "1: none", "down"),
        *("2: flipped-page", "down", "3: stale-page", "down", "4: deaf-guest", "down"),
    ]


def test_what_really_moves_has_a_guest_of_its_own() -> None:
    faults = chosen(("clock", "no-leak"))
    assert rounds(faults, moves=True) == ((None,), (faults[0],), (faults[1],))
    assert rounds((), moves=False) == ((None,),)


def test_what_is_red_beside_it_is_told_apart(tmp_path: Path) -> None:
    proof = tried(FakeGround(), tmp_path, "reboot")["reboot"]
    assert (proof.red, proof.also) == (("same-boot", "uptime-grows"), ())
    more = BREAKS["warning"](seen_of(chosen(("reset",))[0]))
    proof = tried(FakeGround(shows={"reset": more}), tmp_path, "reset")["reset"]
    assert (proof.red, proof.also) == (("tcp-survives", "kernel-log"), ("kernel-log",))
    assert proof.seen == "tcp-survives: it ended after 479 lines: Connection reset by peer"


def test_a_control_that_is_red_proves_that_nothing_is_proven(tmp_path: Path) -> None:
    control = tried(FakeGround(shows={CONTROL: BREAKS["warning"](GOOD)}), tmp_path, "clock")[CONTROL]
    assert (control.word, control.red, control.outcome) == ("red", ("kernel-log",), Outcome.FAIL)


def test_a_meter_that_slept_has_neither_caught_nor_missed(tmp_path: Path) -> None:
    slept = replace(GOOD, steering=None, meter=silent(METER))
    proof = tried(FakeGround(shows={"silent-network": slept}), tmp_path, "network-gap")["silent-network"]
    assert (proof.word, proof.outcome) == ("unproven", Outcome.ERROR)
    assert proof.trouble == "network-gap: 8.00 s (30 of 1450 lost, 30 in a row); the meter slept for 7.90 s"


def test_trouble_costs_a_guest_and_no_more(tmp_path: Path) -> None:
    ground = FakeGround(troubles={"stepped-clock": TROUBLE, "heal leaked-loop": GuestError("busy")})
    proofs = tried(ground, tmp_path, "clock", "no-leak", "kernel-log")
    assert {name: proof.word for name, proof in proofs.items()} == {
        "stepped-clock": "unproven",
        "warning": "caught",
        "leaked-loop": "caught",
        "none": "green",
    }
    assert proofs["stepped-clock"].trouble == TROUBLE.message
    assert ground.log == ["1: stepped-clock", "down", "2: warning", "2: leaked-loop", "down", "3: none", "down"]


def test_a_guest_that_does_not_come_up_is_trouble(tmp_path: Path) -> None:
    proofs = tried(FakeGround(troubles={"subject": TROUBLE}), tmp_path, "clock")
    assert {proof.word for proof in proofs.values()} == {"unproven"}


def test_a_real_move_may_take_its_time_but_not_where_the_length_is_the_fault(tmp_path: Path) -> None:
    long = replace(BREAKS["pause-5s"](GOOD), steering=None)
    with_both = BREAKS["warning"](long)
    shows = {"warning": with_both, "pause-5s": long}
    proofs = tried(FakeGround(shows=shows), tmp_path, "warning", "pause-5s", moves=True)
    assert (proofs["warning"].red, proofs["pause-5s"].red) == (("kernel-log",), ("guest-pause",))
    assert tried(FakeGround(shows=shows), tmp_path, "warning")["warning"].also == ("guest-pause",)


def test_names_are_those_of_invariants_and_of_faults() -> None:
    assert [fault.name for fault in chosen(("memory-intact", "reboot"))] == ["reboot", "flipped-page", "stale-page"]
    assert len(chosen(())) == len(FAULTS)
    assert {way_of(fault) for fault in chosen(("new-boot", "reachable"))} == {"cold"}
    with pytest.raises(UnknownNameError, match="hint: did you mean 'memory-intact'"):
        chosen(("memory-intakt",))
