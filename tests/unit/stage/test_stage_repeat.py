"""A move made again and again: what is measured, what is not, and when there is no figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from lab.checks.downtime import Iteration
from lab.deadline import Deadline
from lab.errors import GuestError, UsageError
from lab.guests.guest import Guest
from lab.guests.moving import move
from lab.hosts.host import Host
from lab.hypervisor import binding
from lab.hypervisor.binding import Said
from lab.stage.repeat import iteration_of, repeated
from lab.stage.travel import Travel
from tests.unit.checks.journeys import GOOD
from tests.unit.stage.travellers import Pair, agent_says, meter_says, pair, soon

__all__ = ["pair"]

PAUSES = ("1.0 1.05 1.30 1.35", "1.0 1.05 2.05 2.1", "1.0 1.05 6.05 6.1")


def arrived(pair: Pair, monkeypatch: pytest.MonkeyPatch, *, rooms: Sequence[int] = (40_000,)) -> Travel:
    """A guest that has moved once, and what both meters say of it from then on; ``rooms`` are KiB that it has left."""
    monkeypatch.setattr("lab.stage.repeat.pause", lambda _seconds: None)
    travel = Travel(pair.guest, pair.hosts[1], "live")
    travel.depart(soon())
    move(pair.guest, pair.hosts[1], "live", deadline=soon())
    travel.arrive(soon())
    # Before each move the guest is on the source; the pauses come once it stays on the target.
    calm, moves, pauses = agent_says(100.0, 200), (1.2, 1.4), (0.3, 1.04, 5.05)
    there = [_beats(gap) for gap in moves] + [word for gap in pauses for word in (calm, _beats(gap))]
    silences = [word for gap in (*moves, *pauses) for word in (meter_says(600.0), _silence(gap + 0.02))]
    for shell, said in zip(pair.shells, ((calm,), there), strict=True):
        shell.answers = {**shell.answers, "ask /run/lab-agent/socket *report*": said}
    pair.on_host(1, "ask the meter", *silences)
    pair.shells[1].answers = {"sh -c *MemAvailable*": [f"{room}\n" for room in rooms], **pair.shells[1].answers}
    pair.dom0s[1]._turns.clear()
    pair.dom0s[1].answers = {"sh -c *xl pause*": PAUSES, **pair.dom0s[1].answers}
    return travel


def _beats(longest: float, **parts: Mapping[str, Any]) -> str:
    gaps = [{"at": 110.0, "boot": longest, "mono": longest}]
    return agent_says(130.0, 300, heartbeat={"gaps": gaps}, **parts)


def _silence(seconds: float) -> str:
    return meter_says(630.0, udp={"silences": [{"at": 610.0, "seconds": seconds}], "missed_in_a_row": 0})


def test_every_move_there_counts_and_no_move_back(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    travel = arrived(pair, monkeypatch)
    first = iteration_of(travel.journey)
    pair.log.clear()
    found = repeated(travel, 3, soon())
    assert found.iterations == (first, Iteration(1.2, 1.2 + 0.02), Iteration(1.4, 1.4 + 0.02))
    assert [(each.asked, each.guest) for each in found.calibrations] == [(0.25, 0.3), (1.0, 1.04), (5.0, 5.05)]
    assert [complaint for each in found.calibrations for complaint in each.complaints()] == []
    assert "3 iterations of at least 30" in found.withheld
    assert pair.guest.host.name == "xen-4.20"
    assert pair.log[-1] == "xen-4.20: stop the meter"


def _no(pair: Pair, *verbs: str) -> None:
    """The target of the first move refuses these."""
    no = "this function is not supported by the connection driver: virDomainMigratePerform3Params"
    for verb in verbs:
        pair.target.faults.refuse[verb] = Said(binding.NO_SUPPORT, binding.FROM_DRIVER, no)


def test_where_the_way_back_is_refused_it_is_saved_and_restored(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    travel = arrived(pair, monkeypatch)
    _no(pair, "migrate")
    asked = []

    def noted(guest: Guest, target: Host, how: str, *, deadline: Deadline) -> float:
        asked.append(f"{how} to {target.name}")
        return move(guest, target, how, deadline=deadline)

    monkeypatch.setattr("lab.stage.repeat.moving.move", noted)
    found = repeated(travel, 3, soon())
    assert [each.guest for each in found.iterations[1:]] == [1.2, 1.4]
    assert not [said for said in found.withheld if " failed: " in said]
    there, back = "live to xen-4.20", "save-restore to xen-4.14"
    assert asked == ["live to xen-4.14", back, there, back, there]


def test_a_way_back_that_is_refused_withholds_the_figure(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    travel = arrived(pair, monkeypatch)
    _no(pair, "migrate", "save")
    pair.shells[1].answers = {
        **pair.shells[1].answers,
        "ask /run/lab-agent/socket *report*": _beats(1.0),
    }
    found = repeated(travel, 30, soon())
    assert len(found.iterations) == 1
    ways = [said.split(" failed: ")[0] for said in found.withheld if " failed: " in said]
    assert ways == ["the way back (live)", "the way back (save-restore)"]
    assert found.withheld[-2].startswith("the way back (live) failed: fake:///xen-4.20: guest web32-f00d-10: migrate")
    assert found.headline.startswith("withheld (n=1): 1 iterations of at least 30; ")
    assert pair.guest.host.name == "xen-4.20"


def test_a_guest_that_runs_out_of_memory_moves_no_more(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    travel = arrived(pair, monkeypatch, rooms=(19 << 10, 9 << 10))
    found = repeated(travel, 30, soon())
    assert len(found.iterations) == 2
    assert found.withheld[-1].startswith("the guest has 9 MiB of memory left, 10 less than at first; ")


def test_a_guest_that_killed_a_process_of_the_agent_moves_no_more(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    travel = arrived(pair, monkeypatch)
    killed = _beats(1.2, processes={"memory": {"pid": 7, "start": 70, "alive": False}})
    pair.shells[1].answers = {**pair.shells[1].answers, "ask /run/lab-agent/socket *report*": killed}
    found = repeated(travel, 30, soon())
    assert len(found.iterations) == 2
    assert found.withheld[-1].startswith("the agent lost a process (memory), ")
    assert len(found.withheld) == len(set(found.withheld))


def test_a_process_that_died_in_the_last_move_counts(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    travel = arrived(pair, monkeypatch)
    killed = _beats(1.2, processes={"memory": {"pid": 7, "start": 70, "alive": False}})
    pair.shells[1].answers = {**pair.shells[1].answers, "ask /run/lab-agent/socket *report*": killed}
    found = repeated(travel, 2, soon())
    assert len(found.iterations) == 2
    assert found.withheld[-1].startswith("the agent lost a process (memory), ")


def test_a_guest_that_does_not_tell_its_memory_is_an_error(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    travel = arrived(pair, monkeypatch)
    pair.shells[1].answers = {**pair.shells[1].answers, "sh -c *MemAvailable*": "\n"}
    with pytest.raises(GuestError, match=r"does not tell what memory is available$"):
        repeated(travel, 30, soon())


def test_a_cold_move_has_no_downtime(pair: Pair) -> None:
    with pytest.raises(UsageError, match=r"^web32-f00d-10: a cold move has no downtime to repeat\n  hint: how: live$"):
        repeated(Travel(pair.guest, pair.hosts[1], "cold"), 3, soon())


def test_a_meter_that_says_nothing_measures_nothing() -> None:
    from dataclasses import replace

    from lab.guests.witness import Silent

    assert iteration_of(GOOD) == Iteration(1.2, 1.3)
    with pytest.raises(GuestError, match=r"^web32: the meter is silent: gone$"):
        iteration_of(replace(GOOD, meter=Silent("gone")))
    with pytest.raises(GuestError, match=r"^web32: the agent is silent: gone$"):
        iteration_of(replace(GOOD, agent_after=Silent("gone")))
