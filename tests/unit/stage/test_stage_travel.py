"""One move and all who watch it: who is asked when, and what silence means."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lab.checks.invariants import move_checks
from lab.checks.journey import NOT_ASKED, Journey
from lab.checks.steerable import Steering
from lab.errors import GuestError, HostError
from lab.guests.moving import move
from lab.guests.witness import AgentReport, Silent
from lab.hosts.traces import parse_traces
from lab.hypervisor import DomainState, binding
from lab.hypervisor.binding import Said
from lab.scenario.cell import Limits
from lab.stage.evidence import keep_journey
from lab.stage.travel import Travel, agent_config, state_on
from lab.testing.shell import Answer
from lab.verdict import Outcome
from tests.unit.stage.travellers import NAME, Pair, agent_says, meter_says, pair, soon, traces_say

__all__ = ["pair"]

STEERED = Steering(("paused", "resumed", "answered", "shut down"))


def travelled(pair: Pair, how: str = "live") -> Journey:
    travel = Travel(pair.guest, pair.hosts[1], how)
    travel.depart(soon())
    pair.log.append("lab: move")
    move(pair.guest, pair.hosts[1], how, deadline=soon())
    travel.arrive(soon())
    travel.steer(soon())
    return travel.journey


def red(seen: Journey) -> dict[str, str]:
    return {each.name: each.observed for each in move_checks(seen, Limits()) if each.outcome is not Outcome.PASS}


def sides(log: list[str]) -> tuple[list[str], list[str], list[str]]:
    """The log of what was done at the source, before and after the move, of what was done at the target before it, and
    of the rest: who works at one side does not wait for the other.
    """
    move = log.index("lab: move")
    before, after = log[:move], log[move + 1 :]
    assert "xen-4.14: traces" in before
    assert "xen-4.14: traces" in after
    return (
        [line for line in before if not line.startswith("xen-4.20: ") or "ask" in line],
        [line for line in before if line.startswith("xen-4.20: ") and "ask" not in line],
        [line for line in after if line != "xen-4.14: traces"],
    )


@pytest.mark.parametrize("how", ["live", "save-restore"])
def test_a_guest_that_lives_on_is_watched_all_the_way(pair: Pair, how: str) -> None:
    seen = travelled(pair, how)
    here, there, arrived = sides(pair.log)
    assert here == ["xen-4.14: traces", "guest: look inside", "xen-4.20: ask the agent", "xen-4.20: ask the meter"]
    assert there == ["xen-4.20: start the meter", "xen-4.20: traces"]
    assert arrived == [
        "xen-4.20: ask the agent",
        # After the agent, who knows whether the disk answers.
        "guest: look inside",
        "xen-4.20: ask the meter",
        # What the meter itself has on the host is gone before the host is looked at.
        "xen-4.20: stop the meter",
        "xen-4.20: traces",
        # Last, for it is off afterwards.
        "guest: stop the agent",
        "guest: answer",
    ]
    assert (seen.how, seen.guest, seen.home, seen.steering) == (how, NAME, "xen-4.20", STEERED)
    assert red(seen) == {}


@pytest.mark.parametrize("how", ["cold", "cold-shared"])
def test_who_was_off_on_the_way_is_watched_anew_where_it_arrives(pair: Pair, how: str) -> None:
    pair.off_and_on()
    seen = travelled(pair, how)
    here, there, arrived = sides(pair.log)
    assert here == ["xen-4.14: traces", "guest: look inside"]
    assert there == ["xen-4.20: traces"]
    assert arrived == [
        "guest: start the agent",
        "xen-4.20: start the meter",
        "xen-4.20: ask the agent",
        "guest: look inside",
        "xen-4.20: ask the meter",
        "xen-4.20: stop the meter",
        "xen-4.20: traces",
        "guest: stop the agent",
        "guest: answer",
    ]
    # However it gets at its disk, it is judged as a cold move.
    assert (seen.how, seen.agent_before, seen.meter_before) == ("cold", NOT_ASKED, NOT_ASKED)
    assert {"new-boot", "reachable"} <= {check.name for check in move_checks(seen, Limits())}
    assert red(seen) == {}


def test_later_reports_are_asked_of_the_time_since_the_earlier_ones(pair: Pair) -> None:
    travelled(pair)
    asked = [one.argv for one in pair.dom0s[1].asked if one.argv[0] == "ask" and '"report"' in one.argv[-1]]
    address = pair.guest.address.ip
    meter = "/run/lab-netmeter/socket"
    assert [(where, json.loads(question)["since"]) for _, where, question in asked] == [
        (f"{address}:7070", 0.0),
        (meter, 0.0),
        (f"{address}:7070", 61.0),
        (meter, 530.0),
    ]
    assert f'"address": "{address}"' in next(
        words for words in pair.dom0s[1].commands if "lab-netmeter.py start" in words
    )


def test_a_cold_guest_gets_the_agent_of_the_stage_from_its_program(pair: Pair) -> None:
    pair.off_and_on()
    travelled(pair, "cold")
    (started,) = [
        asked for asked in pair.shells[1].asked if "/run/lab-agent.py" in asked.argv and "start" in asked.argv
    ]
    # Nobody asks whether its memory is intact.
    assert json.loads(started.argv[-1]) == json.loads(agent_config(pair.guest.host).to_json()) | {"memory_mib": 1}
    assert b"lab.agent/1" in started.stdin


def test_few_writes_are_waited_for_once_more(pair: Pair) -> None:
    early = agent_says(85.0, 165, disk={"fsync_after": {"since": 80.0, "count": 7, "max": 0.1, "p95": 0.1, "last": []}})
    pair.on_host(1, "ask the agent", agent_says(61.0, 130), early, agent_says(91.0, 170))
    seen = travelled(pair)
    assert pair.log.count("lab: wait") == 1
    assert isinstance(seen.agent_after, AgentReport)
    assert seen.agent_after.now.boot == 91.0
    assert red(seen) == {}


def test_a_write_that_does_not_end_is_not_waited_for_and_nobody_asks_for_a_file(pair: Pair) -> None:
    none: dict[str, Any] = {"count": 0, "max": None, "p95": None, "last": [], "since": 80.0}
    stuck = agent_says(91.0, 150, disk={"fsync_after": none, "in_flight": 9.0, "verified": None})
    pair.on_host(1, "ask the agent", agent_says(61.0, 130), stuck)
    pair.in_guest(1, {"uptime": 95.5, "keepsake": ""})
    assert red(travelled(pair)) == {
        "disk-at-rest": "nothing",
        "disk-writes-in-flight": "the disk did not let them be read back",
        "io-moves": "a write has been under way for 9.0 s",
    }
    assert pair.log.count("lab: wait") == 0
    looks = [words for shell in pair.shells for words in shell.commands if "echo boot_id=" in words]
    assert ["iflag=direct" in words for words in looks] == [True, False]


LOST = "agent: no answer (status 1): Connection refused"


@pytest.mark.parametrize(
    "reply",
    [Answer(1, stderr="Connection refused\n"), GuestError(LOST), HostError(LOST)],
    ids=["ended", "guest", "host"],
)
def test_an_agent_that_falls_silent_on_the_way_fails_its_checks_and_raises_nothing(
    pair: Pair, reply: Answer | GuestError
) -> None:
    pair.on_host(1, "ask the agent", agent_says(61.0, 130), reply)
    seen = travelled(pair)
    assert seen.agent_after == Silent(LOST)
    lost = ("same-process", "memory-intact", "disk-writes-in-flight", "io-moves", "guest-pause", "clock-monotonic")
    assert red(seen) == dict.fromkeys(lost, LOST)
    assert {check.outcome for check in move_checks(seen, Limits()) if check.name in lost} == {Outcome.FAIL}


def test_a_meter_that_falls_silent_on_the_way_is_the_labs_trouble_and_stops_nothing(pair: Pair) -> None:
    killed = "meter: no answer (status 1): killed"
    pair.on_host(1, "ask the meter", meter_says(530.0), GuestError(killed))
    pair.on_host(1, "stop the meter", GuestError(killed))
    seen = travelled(pair)
    assert seen.meter == Silent(killed)
    assert red(seen) == {"network-gap": killed, "tcp-survives": killed}
    assert {check.outcome for check in move_checks(seen, Limits())} == {Outcome.PASS, Outcome.ERROR}


@pytest.mark.parametrize("does", ["start the meter", "ask the meter"])
def test_a_meter_that_is_not_there_before_the_move_keeps_it_from_beginning(pair: Pair, does: str) -> None:
    pair.on_host(1, does, GuestError("meter: it does not start"))
    with pytest.raises(GuestError, match=r"^meter: it does not start$"):
        Travel(pair.guest, pair.hosts[1], "live").depart(soon())


def test_an_agent_that_does_not_answer_before_the_move_is_the_labs_trouble(pair: Pair) -> None:
    pair.on_host(1, "ask the agent", GuestError(LOST))
    with pytest.raises(GuestError) as caught:
        Travel(pair.guest, pair.hosts[1], "live").depart(soon())
    assert str(caught.value) == LOST


def test_of_both_hosts_there_is_a_before_and_an_after(pair: Pair) -> None:
    seen = travelled(pair)
    there, gone = parse_traces(traces_say(3)), parse_traces(traces_say())
    assert seen.traces == {"xen-4.14": (there, gone), "xen-4.20": (gone, there)}


def test_what_is_left_on_a_host_is_told_with_its_name(pair: Pair) -> None:
    pair.on_host(0, "traces", traces_say(3), traces_say(more="loop loop0 /run/x\n"))
    assert red(travelled(pair)) == {"no-leak": "xen-4.14: + loop loop0 /run/x"}


def test_a_host_that_cannot_be_looked_at_is_the_labs_trouble(pair: Pair) -> None:
    pair.on_host(0, "traces", traces_say(3), Answer(1, "port 22\n"))
    with pytest.raises(HostError, match=r"^what is on the host: half an answer of 8 characters \(status 1\)$"):
        travelled(pair)


def test_a_guest_that_cannot_be_steered_fails_and_says_how_far_it_came(pair: Pair) -> None:
    pair.target.faults.refuse["shutdown"] = Said(binding.INTERNAL_ERROR, binding.FROM_DRIVER, "libxl: no")
    trouble = f"fake:///xen-4.20: guest {NAME}: shutdown: libxl: no"
    assert red(travelled(pair)) == {"still-steerable": f"paused, resumed, answered; then: {trouble}"}


def test_an_agent_that_cannot_be_stopped_keeps_nobody_from_steering(pair: Pair) -> None:
    pair.shells[1].answers = {"ask /run/lab-agent/socket *stop*": GuestError("agent: gone"), **pair.shells[1].answers}
    assert travelled(pair).steering == STEERED


def test_states_are_told_of_both_hosts(pair: Pair) -> None:
    pair.source.faults.leave_source = True
    seen = travelled(pair)
    assert (seen.sides.source, seen.sides.target) == (DomainState.RUNNING, DomainState.RUNNING)
    assert red(seen) == {"gone-from-source": "running"}
    assert state_on(pair.hosts[1].connection, NAME, soon()) is DomainState.SHUTOFF
    assert state_on(pair.hosts[1].connection, "nobody", soon()) is DomainState.ABSENT


def test_all_of_it_can_be_kept_as_json(pair: Pair, tmp_path: Path) -> None:
    seen = travelled(pair)
    keep_journey(seen, tmp_path / "journey.json")
    kept = json.loads((tmp_path / "journey.json").read_text())
    assert kept["sides"]["source"] == "absent"
    assert kept["agent_after"]["processes"]["hub"] == {"pid": 401, "start": 2201, "alive": True}
    assert kept["before"]["modules"] == ["ext4", "fuse", "loop"]
    assert kept["traces"]["xen-4.20"][1]["traces"] == [
        "interface vif3.0",
        f"tenant {NAME}",
        "xenstore /libxl/3",
        "xenstore /local/domain/0",
    ]
