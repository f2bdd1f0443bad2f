"""A guest that is harmed: in place or around a real move, when the fault is done, and who looks meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest

from lab.checks.faults import FAULTS, Fault, Scene
from lab.checks.journey import Journey
from lab.checks.proof import prove
from lab.deadline import Deadline
from lab.hypervisor import DomainState
from lab.scenario.cell import Limits
from lab.stage.subject import WatchedGuest
from lab.testing.host import FakeDisks
from tests.unit.stage.travellers import NAME, Pair, agent_says, meter_says, pair, soon, traces_say

__all__ = ["pair"]

BY_NAME = {fault.name: fault for fault in FAULTS}
Note = Callable[[str], None]


@pytest.fixture
def noted(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> Pair:
    """The pair, whose guest stays on the first host, and pauses there take no time."""
    monkeypatch.setattr("lab.stage.subject.pause", lambda seconds: pair.log.append(f"lab: wait {seconds:g} s"))
    there, gone = traces_say(3), traces_say()
    pair.on_host(0, "traces", there)
    pair.on_host(1, "traces", gone)
    pair.dom0s[0].answers = {**pair.dom0s[0].answers, "sh -c *xl pause*": "1.0 1.1 1.6 1.7\n"}
    pair.in_guest(0, {"uptime": 61.25}, {"uptime": 99.0})
    return pair


def fault_of(name: str, note: Note, **changes: object) -> Fault:
    """That fault, which only leaves a note."""

    def inject(scene: Scene, _deadline: Deadline) -> None:
        note(f"fault: {name} on {scene.domain.name}")

    return replace(BY_NAME[name], inject=inject, heal=None, **changes)  # type: ignore[arg-type]  # a field each


def word(fault: Fault | None, seen: Journey) -> tuple[str, tuple[str, ...]]:
    proof = prove(fault, seen, Limits(), 0.0)
    return proof.word, proof.red


def test_nothing_happens_to_a_guest_in_place_and_nothing_is_red(noted: Pair) -> None:
    subject = WatchedGuest(noted.guest, noted.hosts[1])
    seen = subject.try_out(None, soon())
    assert word(None, seen) == ("green", ())
    assert (seen.home, seen.how, sorted(seen.traces or ())) == ("xen-4.14", "live", ["xen-4.14", "xen-4.20"])
    assert (seen.sides.source, seen.sides.target) == (DomainState.ABSENT, DomainState.RUNNING)
    assert seen.steering is not None
    assert seen.steering.trouble == ""
    assert "lab: move" not in noted.log
    assert [line for line in noted.log if "meter" in line and "4.20" in line] == []
    assert [asked for asked in noted.dom0s[0].commands if "xl pause" in asked and asked.endswith(f"sh {NAME} 0.5")]


def test_a_guest_that_is_defined_on_the_other_host_too(noted: Pair) -> None:
    subject = WatchedGuest(noted.guest, noted.hosts[1])
    fault = BY_NAME["still-on-source"]
    seen = subject.try_out(fault, soon())
    assert word(fault, seen) == ("caught", ("gone-from-source",))
    subject.heal(fault, soon())
    assert noted.target.records == {}


def test_the_fault_comes_after_the_pause_that_stands_for_the_move(noted: Pair) -> None:
    subject = WatchedGuest(noted.guest, noted.hosts[1])
    subject.try_out(fault_of("flipped-page", noted.log.append, fatal=False), soon())
    begin = noted.log.index("lab: wait 1 s")
    assert noted.log[begin : begin + 3] == ["lab: wait 1 s", f"fault: flipped-page on {NAME}", "lab: wait 1 s"]
    assert not [line for line in noted.log if "stop the agent" in line]


def test_a_fault_that_is_a_pause_needs_no_other(noted: Pair) -> None:
    subject = WatchedGuest(noted.guest, noted.hosts[1])
    subject.try_out(BY_NAME["pause-1s"], soon())
    assert [asked.rpartition(" ")[2] for asked in noted.dom0s[0].commands if "xl pause" in asked] == ["1"]


def test_the_meter_counts_while_the_network_is_down(noted: Pair) -> None:
    silent = meter_says(540.0, udp={"sent": 200, "missed": 200})
    noted.on_host(0, "ask the meter", meter_says(500.0), meter_says(530.0), silent, meter_says(560.0))
    fault = fault_of("network-off", noted.log.append)
    seen = WatchedGuest(noted.guest, noted.hosts[1]).try_out(fault, soon())
    assert (seen.how, word(fault, seen)) == ("cold", ("caught", ("reachable",)))
    assert [line for line in noted.log if line.startswith("lab: wait")][:4] == [
        "lab: wait 1 s",
        "lab: wait 1 s",
        "lab: wait 5 s",
        "lab: wait 10 s",
    ]


@dataclass
class Throttled(FakeDisks):
    """Disks that can be held back."""

    limits: list[tuple[str, int]] = field(default_factory=list)

    def throttle(self, serial: str, bytes_per_second: int, *, deadline: Deadline) -> None:
        deadline.check(serial)
        self.limits.append((serial, bytes_per_second))


def test_a_frozen_disk_is_caught_and_nobody_waits_for_it(noted: Pair) -> None:
    disks = Throttled(dict(noted.disks(0).plugged))
    noted.guest.host = replace(noted.hosts[0], disks=disks)
    noted.on_host(0, "ask the agent", agent_says(61.0, 130), agent_says(91.0, 131, disk={"in_flight": 9.0}))
    subject, fault = WatchedGuest(noted.guest, noted.hosts[1]), BY_NAME["frozen-backend"]
    seen = subject.try_out(fault, soon())
    caught, red = word(fault, seen)
    assert (caught, red[0]) == ("caught", "io-moves")
    assert "sync\n" not in noted.shells[0].commands[-1]
    subject.heal(fault, soon())
    assert disks.limits == [(noted.guest.disks["xvda"].serial, 1), (noted.guest.disks["xvda"].serial, 0)]


@pytest.mark.parametrize(("name", "after"), [("flipped-page", ""), ("leaked-loop", ""), ("reset", "move")])
def test_around_a_real_move_a_fault_is_done_when_it_is_due(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, name: str, after: str
) -> None:
    monkeypatch.setattr("lab.stage.subject.pause", lambda _seconds: None)
    migrate = pair.source.enter

    def enter(verb: str) -> bool:
        if verb == "migrate":
            pair.log.append("lab: move")
        return migrate(verb)

    monkeypatch.setattr(pair.source, "enter", enter)
    subject = WatchedGuest(pair.guest, pair.hosts[1], moves=True)
    seen = subject.try_out(fault_of(name, pair.log.append), soon())
    assert (pair.log.index(f"fault: {name} on {NAME}") > pair.log.index("lab: move")) == bool(after)
    assert (seen.home, subject.other.name, pair.guest.host.name) == ("xen-4.20", "xen-4.14", "xen-4.20")


def test_a_fault_of_some_length_is_tried_in_place_even_then(noted: Pair) -> None:
    subject = WatchedGuest(noted.guest, noted.hosts[1], moves=True)
    seen = subject.try_out(BY_NAME["pause-1s"], soon())
    assert (seen.home, noted.guest.host.name) == ("xen-4.14", "xen-4.14")
