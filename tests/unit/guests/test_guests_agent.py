"""The agent and the meter at work on this machine: right when nothing happens, and each harm seen for what it is."""

from __future__ import annotations

import ast
import json
import os
import runpy
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.checks.clock import monotonic_check
from lab.checks.disk import in_flight_check, io_check
from lab.checks.journey import disk_of, heartbeat_of, memory_of
from lab.checks.life import process_check
from lab.checks.memory import memory_check
from lab.checks.network import gap_check, tcp_check
from lab.checks.pause import pause_check
from lab.deadline import Deadline
from lab.errors import GuestError
from lab.guests.agent import AgentConfig, Place, agent_report, by_network, program, start_agent, stop_agent
from lab.guests.answer import as_question
from lab.guests.meter import MeterConfig, start_meter
from lab.guests.witness import AgentReport, DiskReport, HeartbeatReport, Silent
from lab.verdict import Check, Outcome
from lab.wait import wait_until
from tests.unit.guests.witnesses import HereShell, Watched, hold, watched, watching

__all__ = ["watched"]

PROGRAMS = ("agent.py", "netmeter.py")


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """An agent and a meter that nobody harms for good."""
    with watching(tmp_path_factory.mktemp("calm")) as both:
        wait_until("some writes", lambda: disk(both.report(verify=False)).number > 30, deadline=Deadline(20))
        yield both


def disk(report: AgentReport) -> DiskReport:
    assert isinstance(report.disk, DiskReport)
    return report.disk


def beats(report: AgentReport) -> HeartbeatReport:
    found = heartbeat_of(report)
    assert isinstance(found, HeartbeatReport)
    return found


def red(check: Check) -> str:
    assert check.outcome is Outcome.FAIL, str(check)
    return f"{check.name}: {check.observed}"


def green(*checks: Check) -> None:
    assert [str(check) for check in checks if check.outcome is not Outcome.PASS] == []


# --- nothing happens ------------------------------------------------------------------------------------------------


def test_nothing_happens_and_nothing_is_red(calm: Watched) -> None:
    before, metered = calm.report(), calm.measured()
    wait_until(
        "a round of writes",
        lambda: disk(calm.report(since=before.now.boot, verify=False)).writes_after.count > 12,
        deadline=Deadline(20),
    )
    wait_until(
        "a sample of the clock", lambda: calm.measured(since=metered.now).udp.clocks != (), deadline=Deadline(20)
    )
    # What this machine is busy with meanwhile is no fault of the agent's: the limits are wide.
    after, meter = calm.report(since=before.now.boot), calm.measured(since=metered.now)
    green(
        process_check(before, after),
        memory_check(memory_of(after)),
        in_flight_check(disk_of(before), disk_of(after)),
        io_check(disk_of(after), 5.0),
        pause_check(after, 5.0),
        monotonic_check(before, after),
        gap_check(meter, 5.0),
        tcp_check(meter, 5.0),
    )
    assert beats(after).ticks > beats(before).ticks
    assert beats(after).steps == ()
    assert abs(meter.udp.clocks[-1].offset) < 0.1
    assert after.boot_id == Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def test_the_report_comes_over_the_network_too(calm: Watched) -> None:
    where = by_network("127.0.0.1", calm.first.port)
    asked = agent_report(calm.shell, verify=False, where=where, deadline=Deadline(20))
    assert asked.processes == calm.report(verify=False).processes


def test_who_comes_by_the_network_cannot_do_harm(calm: Watched) -> None:
    where = by_network("127.0.0.1", calm.first.port)
    said = calm.shell.ask(where, as_question({"do": "stop"}), deadline=Deadline(20))
    assert json.loads(said.stdout) == {"schema": "lab.agent/1", "trouble": "cannot be asked to 'stop'"}


def test_two_at_once_are_refused(calm: Watched) -> None:
    with pytest.raises(GuestError, match=r"^agent: it runs already$"):
        start_agent(calm.shell, place=calm.agent, deadline=Deadline(20))
    with pytest.raises(GuestError, match=r"^meter: it runs already$"):
        start_meter(calm.shell, MeterConfig("127.0.0.1"), place=calm.meter, deadline=Deadline(20))


def test_a_fault_that_nobody_knows(calm: Watched) -> None:
    with pytest.raises(GuestError, match=r"^agent: fault burn: no fault 'burn'$"):
        calm.harm("burn")


# --- harm -----------------------------------------------------------------------------------------------------------


def test_what_the_agent_did_to_memory_disk_and_processes_is_seen(watched: Watched) -> None:
    before = watched.report()
    watched.harm("flip-page", page=500)
    assert red(memory_check(memory_of(watched.report()))) == (
        "memory-intact: 1 of 512 pages wrong: page 500 of generation 0 differs from byte 2048 on"
    )
    watched.harm("flip-page", page=500)
    green(memory_check(memory_of(watched.report())))

    watched.harm("drop-region", region=3)
    wait_until(
        "a round of writes",
        lambda: disk(watched.report(verify=False)).number > disk(before).number + 40,
        deadline=Deadline(20),
    )
    said = red(in_flight_check(disk_of(before), disk_of(watched.report())))
    assert said.startswith("disk-writes-in-flight: 1 wrong: region 3 holds write ")

    watched.harm("lie-monotonic", seconds=1)
    hold(0.2)
    said = red(monotonic_check(before, watched.report(verify=False)))
    assert said.startswith("clock-monotonic: 1 times, at worst by 0.")

    watched.harm("kill", process="sentinel")
    pid, start = before.processes["sentinel"].pid, before.processes["sentinel"].start
    # A signal that was sent has not yet done its work.
    wait_until(
        "the sentinel's death",
        lambda: not watched.report(verify=False).processes["sentinel"].alive,
        deadline=Deadline(20),
    )
    assert red(process_check(before, watched.report(verify=False))) == (
        f"same-process: sentinel: {pid}/{start}, now {pid}/{start} (dead)"
    )

    watched.harm("kill", process="memory")
    hold(0.1)
    assert watched.report().memory == Silent("ended with signal 9")
    assert red(memory_check(memory_of(watched.report()))) == "memory-intact: ended with signal 9"


def test_a_heartbeat_that_was_stopped_for_300_ms(watched: Watched) -> None:
    since = watched.report(verify=False).now.boot
    pid = watched.first.processes["heartbeat"].pid
    hold(0.1)  # a gap begins with the last beat, which was before we asked
    os.kill(pid, signal.SIGSTOP)
    hold(0.3)
    os.kill(pid, signal.SIGCONT)
    hold(0.1)
    after = watched.report(since=since, verify=False)
    assert red(pause_check(after, 0.25)).endswith(f"{beats(after).longest:.3f} s, {beats(after).ticks} beats")
    (longest, *_) = beats(after).gaps
    assert 0.3 <= longest.seconds < 2.5
    assert since <= longest.at < after.now.boot
    assert longest not in beats(watched.report(since=after.now.boot, verify=False)).gaps


def test_a_disk_that_hangs_does_not_keep_the_report_from_coming(watched: Watched) -> None:
    before = watched.report()
    watched.harm("stall-disk", seconds=4)
    hold(0.6)
    after = watched.report(since=before.now.boot, seconds=2)
    assert red(io_check(disk_of(after), 0.5)).startswith("io-moves: a write has been under way for ")
    assert red(in_flight_check(disk_of(before), disk_of(after))) == (
        "disk-writes-in-flight: the disk did not let them be read back"
    )
    green(memory_check(memory_of(after)))


def test_a_network_that_is_silent_and_a_connection_that_is_reset(watched: Watched) -> None:
    since = watched.measured().now
    watched.harm("mute-udp", seconds=0.5)
    hold(0.9)
    meter = watched.measured(since=since)
    check = gap_check(meter, 0.3)
    assert red(check).startswith(f"network-gap: {meter.gap:.2f} s ({meter.udp.missed} of ")
    assert 0.45 <= meter.gap < 2.5
    assert 10 <= meter.udp.missed <= 60
    assert meter.udp.missed_in_a_row == meter.udp.missed
    green(gap_check(meter, 5.0), tcp_check(meter, 5.0))

    watched.harm("reset-tcp")
    hold(0.1)
    said = red(tcp_check(watched.measured(), 2.0))
    assert said.startswith("tcp-survives: it ended after ")
    assert said.endswith(" lines: Connection reset by peer")


# --- the programs themselves ----------------------------------------------------------------------------------------


def namespace(name: str) -> dict[str, Any]:
    return runpy.run_path(str(Path(__file__).parents[3] / "lab/guests/files" / name))


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_oldest_python_of_a_guest_can_read_it(name: str) -> None:
    tree = ast.parse(program(name), feature_version=(3, 5))
    told = [type(node).__name__ for node in ast.walk(tree) if isinstance(node, ast.JoinedStr | ast.AnnAssign)]
    assert told == []


@pytest.mark.parametrize(("name", "config"), [("agent.py", AgentConfig()), ("netmeter.py", MeterConfig(""))])
def test_settings_have_the_same_defaults_on_both_sides(name: str, config: AgentConfig | MeterConfig) -> None:
    assert json.loads(config.to_json()) == namespace(name)["DEFAULTS"]


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize(
    ("words", "trouble"),
    [
        ([], r"what to do\? start"),
        (["start", "--config", '{"colour": 1}'], "no such setting: colour"),
        (["start", "--config"], "expected pairs of --name value, got: --config"),
        (["start", "--config", "{"], "Expecting property name"),
    ],
)
def test_what_cannot_be_meant_is_said(
    name: str, words: list[str], trouble: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert namespace(name)["main"](words) == 1
    said = json.loads(capsys.readouterr().out)
    assert said["trouble"].startswith(trouble.replace("\\", ""))


def test_an_agent_that_cannot_write_to_its_disk_does_not_start(tmp_path: Path) -> None:
    config = AgentConfig(disk_file=str(tmp_path / "no" / "disk"), port=-1, echo_port=0, memory_mib=1, lock=False)
    place = Place(str(tmp_path / "agent.py"), str(tmp_path / "agent"))
    with pytest.raises(GuestError, match=r"^agent: disk: \[Errno 2\] No such file or directory: '.*/no/disk'$"):
        start_agent(HereShell(), config, place=place, deadline=Deadline(30))
    with pytest.raises(GuestError, match=r"^agent: no answer \(status 1\): nobody answers at .*/agent/socket\n"):
        stop_agent(HereShell(), place=place, deadline=Deadline(30))


@pytest.fixture(scope="module")
def agent() -> dict[str, Any]:
    return namespace("agent.py")


def test_a_page_of_an_earlier_generation_is_called_that(agent: dict[str, Any]) -> None:
    memory = agent["Memory"](dict(agent["DEFAULTS"], memory_mib=1))
    for _ in range(memory.hot // memory.burst + 1):
        memory.rewrite()
    assert memory.verify() == {"pages": 256, "wrong": 0, "first": None}
    memory.answer({"do": "stale-page", "page": 9})
    assert memory.verify() == {
        "pages": 256,
        "wrong": 1,
        "first": {"page": 9, "offset": 12, "generation": 1, "found_page": 9, "found_generation": 0},
    }


def board_of(agent: dict[str, Any]) -> Any:
    return agent["Beats"]([0.0] * agent["BOARD"], 0.025)


def test_a_suspended_guest_is_seen_by_the_clock_that_counts_it(agent: dict[str, Any]) -> None:
    seen = board_of(agent)
    seen.begin(100.0, 90.0, 1000.0)
    seen.see(100.08, 103.085, 90.085, 1003.085, 16)  # Xen had it suspended for 3 s: MONOTONIC does not know
    report = agent["heartbeat_report"](seen.board, {"tick": 0.005, "notable": 0.025}, 0.0)
    (gap,) = report["gaps"]
    assert (gap["at"], round(gap["boot"], 6), round(gap["mono"], 6)) == (100.08, 3.005, 0.005)
    assert (report["backwards"], report["steps"]) == (0, [])


def test_a_stepped_clock_is_no_pause(agent: dict[str, Any]) -> None:
    seen = board_of(agent)
    seen.begin(100.0, 90.0, 1000.0)
    seen.see(100.075, 100.08, 90.08, 1002.08, 16)
    report = agent["heartbeat_report"](seen.board, {"tick": 0.005, "notable": 0.025}, 0.0)
    assert report["gaps"] == []
    assert [(step["at"], round(step["seconds"], 6)) for step in report["steps"]] == [(100.08, 2.0)]


def test_gaps_from_before_are_not_told_and_too_many_are_confessed(agent: dict[str, Any]) -> None:
    seen = board_of(agent)
    seen.begin(0.0, 0.0, 0.0)
    for number in range(1, agent["RING"] + 3):
        seen.see(number - 1.0, float(number), float(number), float(number), 16)
    config = {"tick": 0.005, "notable": 0.025}
    last = agent["heartbeat_report"](seen.board, config, agent["RING"] - 1.5)
    assert len(last["gaps"]) == 4
    assert last["forgotten"] is False
    assert agent["heartbeat_report"](seen.board, config, 0.5)["forgotten"] is True
