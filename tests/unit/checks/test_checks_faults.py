"""Faults: done for real to an agent on this machine where that harms nobody, otherwise as commands."""

from __future__ import annotations

from typing import Any

import pytest

from lab.checks.faults import FAULTS, Fault, Paused, Scene, pause_for
from lab.checks.invariants import INVARIANTS
from lab.checks.journey import Journey
from lab.deadline import Deadline
from lab.errors import GuestError, HostError
from lab.scenario.cell import Limits
from lab.testing.shell import FakeShell
from lab.verdict import Outcome
from tests.unit.checks.journeys import GOOD
from tests.unit.guests.witnesses import Watched, hold, watched

__all__ = ["watched"]

BY_NAME = {fault.name: fault for fault in FAULTS}


class Named:
    """A domain of which only the name is asked."""

    name = "web32"


def scene(**changes: Any) -> Scene:
    return Scene(**{"domain": Named(), "guest": FakeShell(), "host": FakeShell(), **changes})


def judged(fault: Fault, seen: Journey) -> set[str]:
    """The checks of a fault's own invariant that are red."""
    (invariant,) = [one for one in INVARIANTS if one.name == fault.invariant]
    limits = Limits(network_gap=5, guest_pause=5)
    return {check.name for check in invariant.judge(seen, limits) if check.outcome is not Outcome.PASS}


@pytest.mark.parametrize("name", ["flipped-page", "killed-process", "dropped-region", "reset", "clock-set-back"])
def test_a_fault_done_for_real_is_caught_by_the_name_of_its_invariant(watched: Watched, name: str) -> None:
    fault = BY_NAME[name]
    before, metered = watched.report(), watched.measured()
    fault.inject(scene(guest=watched.shell, agent=watched.agent), Deadline(20))
    hold(0.6)  # a round of the agent's eight regions
    after, meter = watched.report(since=before.now.boot), watched.measured(since=metered.now)
    seen = Journey(
        "live",
        "web32",
        "xen-4.20",
        GOOD.before,
        GOOD.after,
        GOOD.sides,
        agent_before=before,
        agent_after=after,
        meter_before=metered,
        meter=meter,
    )
    assert judged(fault, seen) == {fault.invariant}


def test_a_pause_is_timed_on_its_host() -> None:
    host = FakeShell({"sh *": "100.5 100.6 101.6 101.75\n"})
    assert pause_for(scene(host=host), 1.0, Deadline(5)) == Paused(pytest.approx(1.0), pytest.approx(1.25))  # type: ignore[arg-type]  # nearly
    assert host.asked[0].argv[-2:] == ("web32", "1")


def test_a_pause_that_was_not_timed() -> None:
    with pytest.raises(HostError, match=r"^pause web32: 'web32 is no domain' are not four times$"):
        pause_for(scene(host=FakeShell({"sh *": "web32 is no domain"})), 1.0, Deadline(5))


def test_a_backend_that_nobody_can_freeze_and_one_that_somebody_can() -> None:
    frozen = BY_NAME["frozen-backend"]
    with pytest.raises(GuestError, match=r"^web32: nobody knows how to freeze its disk\n  hint: see FREEZERS$"):
        frozen.inject(scene(), Deadline(5))
    done: list[str] = []
    able = scene(freeze=lambda _deadline: done.append("freeze"), thaw=lambda _deadline: done.append("thaw"))
    frozen.inject(able, Deadline(5))
    assert frozen.heal is not None
    frozen.heal(able, Deadline(5))
    assert done == ["freeze", "thaw"]


@pytest.mark.parametrize(
    ("name", "where", "command"),
    [
        ("leaked-loop", "host", "sh -c truncate -s 1M /run/lab-fault-leak && losetup -f /run/lab-fault-leak sh web32"),
        ("registers-dumped", "host", "sh -c xl debug-keys d sh web32"),
        ("reboot", "guest", "sh -c (sleep 1; reboot -f) >/dev/null 2>&1 </dev/null &"),
        ("unloaded-module", "guest", "sh -c rmmod loop"),
    ],
)
def test_what_is_done_by_a_command(name: str, where: str, command: str) -> None:
    shell = FakeShell({"*": ""})
    BY_NAME[name].inject(scene(**{where: shell}), Deadline(5))
    assert shell.commands == [command]


def test_a_fault_that_cannot_be_undone_says_so() -> None:
    lasting = {fault.name for fault in FAULTS if fault.fatal}
    within = {"killed-process", "flipped-page", "stale-page", "dropped-region"}
    assert lasting == {"reboot", "another-mac"} | within
