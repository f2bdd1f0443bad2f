"""After a move that failed: who it was that died of what, what is left, and what is put away. No Xen."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from lab.deadline import Deadline
from lab.errors import DeadlineError, GuestError, HostError, LabError
from lab.guests.aftermath import await_daemon, await_landing, drop_half_made, end_transfers, free_from_job, renewed
from lab.guests.causes import Mark, causes, mark
from lab.guests.life import Life, life_of
from lab.hosts.host import Host
from lab.hypervisor import MigrationPlan
from lab.testing.host import FakeDisks, fake_host
from lab.testing.hypervisor import FakeHypervisor
from lab.testing.shell import Answer, FakeShell, Reply
from tests.unit.guests.witnesses import HereShell
from tests.unit.programs import Programs

JOB = "timeout 30 virsh -q -c xen:///system domjobinfo web32"
LOG = "sh -c grep -hE *"
SINCE = {name: Mark("2026-11-22 19:36:12.842", "319") for name in ("xen-4.14", "xen-4.20")}


def soon() -> Deadline:
    return Deadline(10)


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Host]:
    """Makes a host whose shell answers so."""

    def host(name: str = "xen-4.20", answers: dict[str, Reply] | None = None) -> Host:
        (tmp_path / name).mkdir()
        world = FakeHypervisor(uri=f"fake:///{name}")
        return fake_host(name, tmp_path / name, world, script=FakeShell(answers or {}))

    return host


@pytest.fixture
def here(make: Callable[..., Host]) -> Host:
    """A host that is this machine."""
    return dataclasses.replace(make(), shell=HereShell())  # type: ignore[arg-type] # it runs and it asks


def test_a_guest_lives_as_long_as_its_boot_and_its_agent() -> None:
    before = Life("7d0c", frozenset({"401/2201", "402/2203"}))
    assert before.lost(Life("7d0c", frozenset({"401/2201", "402/2203", "900/7777"}))) == ""
    assert before.lost(Life("beef", before.agent)) == "boot_id was 7d0c, is beef"
    other = Life("7d0c", frozenset({"401/2201", "402/9999"}))
    assert before.lost(other) == "processes of the agent are gone: 402/2203"


def test_a_life_is_read_from_the_guest() -> None:
    asleep = subprocess.Popen((sys.executable, "-c", "import time; time.sleep(60)", "/run/lab-agent.py"))
    try:
        life = life_of(HereShell(), deadline=soon())
        again = life_of(HereShell(), deadline=soon())
    finally:
        asleep.kill()
        asleep.wait()
    assert life.boot_id == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    (mine,) = [each for each in life.agent if each.startswith(f"{asleep.pid}/")]
    assert mine.partition("/")[2].isdigit()
    assert mine in again.agent


@pytest.mark.parametrize(
    ("said", "words"),
    [("7d0c\n", "no agent runs in the boot 7d0c"), ("", "it does not tell its boot id")],
)
def test_a_guest_without_a_life_is_an_error(said: str, words: str) -> None:
    with pytest.raises(GuestError, match=f"^{words}$"):
        life_of(FakeShell({"sh *": said}), deadline=soon())


def test_a_moment_is_a_time_and_a_process(here: Host, programs: Programs) -> None:
    programs.add("systemctl", 'echo "$*" > "$HERE/asked"; echo 319')
    now = mark(here, deadline=soon())
    assert len(now.at) == len("2026-11-22 19:36:12.842")
    assert now.daemon == "319"
    assert programs.note("asked") == ["show -p MainPID --value libvirtd.service"]


def test_a_host_that_does_not_know_the_time(make: Callable[..., Host]) -> None:
    with pytest.raises(HostError, match=r"^xen-4\.20: 'later' are not a time and a process$"):
        mark(make(answers={"sh *": "later\n"}), deadline=soon())


def both(make: Callable[..., Host], source: dict[str, Reply], target: dict[str, Reply]) -> tuple[Host, Host]:
    return make("xen-4.14", {LOG: "319\n", "nc *": "", **source}), make("xen-4.20", {LOG: "319\n", **target})


def test_only_what_was_logged_since_is_a_cause(make: Callable[..., Host]) -> None:
    old = "2026-11-22 19:36:12.841+0000: xc: Save failed (22 = Invalid argument): Internal error\n"
    new = "2026-11-22 19:36:14.130+0000: libxl: x.c:850:f: Domain 1:script: Could not find bridge device xenbr0\n"
    hosts = both(make, {}, {LOG: f"{old}{new}319\n"})
    assert causes(*hosts, SINCE, deadline=soon()) == (
        "xen-4.20: libxl: x.c:850:f: Domain 1:script: Could not find bridge device xenbr0",
    )


def test_a_daemon_that_is_another_one_is_a_cause(make: Callable[..., Host]) -> None:
    hosts = both(make, {}, {LOG: "977\n"})
    words = "xen-4.20: libvirtd has ended meanwhile: it was process 319, now it is 977"
    assert causes(*hosts, SINCE, deadline=soon()) == (words,)


def test_a_network_that_leads_nowhere_is_a_cause(make: Callable[..., Host]) -> None:
    hosts = both(make, {"nc -z -w 3 10.78.4.20 22": Answer(1)}, {})
    assert causes(*hosts, SINCE, deadline=soon()) == ("xen-4.14 does not reach xen-4.20 at 10.78.4.20",)


def test_a_dead_machine_is_cause_enough(make: Callable[..., Host]) -> None:
    source, target = both(make, {"nc *": Answer(1)}, {})
    assert isinstance(target.disks, FakeDisks)
    target.disks.dead = "xen-4.20: QEMU ended with status -9"
    assert causes(source, target, SINCE, deadline=soon()) == ("xen-4.20: QEMU ended with status -9",)


def test_a_host_that_cannot_be_asked_says_that(make: Callable[..., Host]) -> None:
    lost = HostError("xen-4.20: connection lost: no reason given")
    assert causes(*both(make, {"nc *": lost}, {LOG: lost}), SINCE, deadline=soon()) == (
        "xen-4.20: could not be asked: xen-4.20: connection lost: no reason given",
    )


def test_helpers_are_told_to_end(here: Host, programs: Programs) -> None:
    programs.add("libxl-save-helper", "read -r line\n")
    with subprocess.Popen(("libxl-save-helper",), stdin=subprocess.PIPE) as helper:
        wanted = f"xen-4.20: libxl's helper {helper.pid} was ended"
        for _ in range(100):  # until it has become what it is called
            if wanted in end_transfers(here, deadline=soon()):
                break
        assert helper.wait(10) == -15
    assert end_transfers(here, deadline=soon()) == ()


def test_half_a_domain_is_destroyed(here: Host, programs: Programs) -> None:
    programs.add("sleep", "")
    programs.add("xl", 'echo "$*" >> "$HERE/asked"; [ "$1" = domid ] && echo 9; true')
    assert drop_half_made(here, "web32", deadline=soon()) == ("xen-4.20: domain 9, half made of web32, was destroyed",)
    assert programs.note("asked") == [*["domid web32"] * 20, "destroy 9"]


def test_a_domain_that_goes_by_itself_is_not_destroyed(here: Host, programs: Programs) -> None:
    programs.add("sleep", "")
    programs.add("xl", 'echo "$*" >> "$HERE/asked"; [ $(wc -l < "$HERE/asked") -lt 3 ] && echo 9')
    assert drop_half_made(here, "web32", deadline=soon()) == ()
    assert programs.note("asked") == ["domid web32"] * 3


@pytest.mark.parametrize("said", ["Job type:         None\n", Answer(1, stderr="error: no domain\n"), "\n"])
def test_a_daemon_that_holds_no_job_is_left_alone(make: Callable[..., Host], said: Reply) -> None:
    assert free_from_job(make(answers={JOB: said}), "web32", deadline=soon()) == ()


def test_a_daemon_that_holds_a_job_is_restarted(make: Callable[..., Host]) -> None:
    host = make(answers={JOB: "Job type:         Unbounded    \n", "timeout *": ""})
    words = "xen-4.20: libvirtd was restarted, it held a job of web32 that nobody would end"
    assert free_from_job(host, "web32", deadline=soon()) == (words,)
    shell = host.network.scripts["xen-4.20"]  # type: ignore[attr-defined] # a FakeNetwork
    assert shell.commands[1:] == [
        "timeout 120 systemctl restart libvirtd.service",
        "timeout 120 systemctl start libvirtd.service",
        "timeout 30 virsh -q -c xen:///system version",
    ]


def test_a_daemon_that_does_not_come_back_ends_with_the_deadline(make: Callable[..., Host]) -> None:
    with pytest.raises(DeadlineError, match=r"^timeout: not done within 0\.05 s$"):
        await_daemon(make(), deadline=Deadline(0.05))


def test_a_connection_that_works_is_kept_and_another_replaced(make: Callable[..., Host]) -> None:
    host = make()
    world = host.connection.hypervisor  # type: ignore[attr-defined] # a FakeConnection
    with ExitStack() as keep:
        assert renewed(host, keep, deadline=soon()) is host
        world.faults.down = "client socket is closed"
        with pytest.raises(HostError, match=r"^xen-4\.20: fake:///xen-4\.20: connect: client socket is closed$"):
            renewed(host, keep, deadline=soon())
        world.faults.down = ""
        fresh = renewed(host, keep, deadline=soon())
        assert fresh.connection is not host.connection
        assert fresh.connection.domains(soon()) == ()
    assert fresh.connection.broken is not None  # closed with the stack


def test_a_call_in_the_air_is_waited_for(make: Callable[..., Host], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lab.hypervisor.calls.GRACE", 0.01)
    host, target = make(), make("xen-4.17")
    world = host.connection.hypervisor  # type: ignore[attr-defined] # a FakeConnection
    domain = host.connection.define("<domain><name>x</name><os><type>linux</type></os></domain>", soon())
    domain.start(soon())
    world.faults.hang, world.faults.no_abort = {"migrate"}, True
    with pytest.raises(LabError, match="abort refused"):
        domain.migrate_to(target.connection, MigrationPlan(), Deadline(0.05))
    assert not await_landing(host.connection, deadline=Deadline(0.05))
    world.release()
    assert await_landing(host.connection, deadline=soon())
    assert host.connection.broken is None


def test_a_connection_that_is_broken_for_good_is_not_waited_for(make: Callable[..., Host]) -> None:
    host = make()
    host.connection.close()
    assert await_landing(host.connection, deadline=Deadline(0))
