"""What becomes of a cell: checks put to guests that are not there, and blame only where it was seen twice."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from lab.deadline import Deadline
from lab.debian.kernel import Kernel
from lab.errors import HostError
from lab.guests.guest import Address, Guest, start_guest
from lab.guests.image import BootFiles, GuestImage
from lab.hypervisor import Connection, Domain, DomainState, Migrated, MigrationPlan, binding, migrate
from lab.hypervisor.binding import Said
from lab.scenario.cell import (
    GuestRequest,
    HostRequest,
    KernelRequest,
    MigrationRequest,
    ModulesRequest,
)
from lab.stage.judging import judge_move, state_on
from lab.stage.prepared import PreparedMove
from lab.testing.host import FakeDisks, FakeNetwork, fake_host
from lab.testing.hypervisor import FakeHypervisor
from lab.testing.shell import Answer, FakeShell, Reply
from lab.verdict import Outcome, Verdict
from tests.unit.guests.observations import HEALTHY

NAME = "web32-f00d-10"
GUEST = GuestRequest("web32", "bookworm", "i386", KernelRequest("trixie"))
MODULES = ModulesRequest(load=("loop", "fuse"), load_after=("isofs",))
SOURCE, TARGET = HostRequest("source", "4.14"), HostRequest("target", "4.20")
FACTS = {"kernel_version": HEALTHY.release}


def soon() -> Deadline:
    return Deadline(20)


def said(**changes: Any) -> str:
    """What the guest says of itself, in the words of its script."""
    seen = replace(HEALTHY, **changes)
    lines = {
        "boot_id": seen.boot_id,
        "uptime": seen.uptime,
        "release": seen.release,
        "machine": seen.machine,
        "bits": seen.bits,
        "modules": " ".join(sorted(seen.modules)),
        "sentinel": seen.sentinel,
        "clocksource": seen.clocksource,
        "keepsake": seen.keepsake,
    }
    return "\n".join([*(f"{name}={value}" for name, value in lines.items()), "kernel_log=", *seen.kernel_log]) + "\n"


def guest_script(answers: Mapping[str, Reply | Sequence[Reply]] | None = None, **changes: Any) -> FakeShell:
    """A guest's shell."""
    return FakeShell(
        {
            **(answers or {}),
            "date *": f"{time.time():.9f}",
            "modprobe *": "",
            "sh -c grep -q *": "live",
            "sh -c *echo boot_id=*": said(**changes),
        }
    )


@dataclass
class Pair:
    """Two hosts and a guest on the first. ``before`` and ``after`` are its shells here and there."""

    source: FakeHypervisor
    target: FakeHypervisor
    prepared: PreparedMove
    before: FakeShell
    after: FakeShell

    @property
    def guest(self) -> Guest:
        return self.prepared.guest


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    hypervisors, hosts, shells = [], [], []
    for version, uptime in (("4.14", 61.25), ("4.20", 95.5)):
        name = f"xen-{version}"
        (tmp_path / name).mkdir()
        hypervisor = FakeHypervisor(uri=f"fake:///{name}")
        script = FakeShell(
            {
                "mkdir *": "",
                "mount *": "",
                "timeout 5 *": "",
                "sh -c cat *": "boots\n",
                "sh -c xl dmesg": "(XEN) well\n",
            }
        )
        host = fake_host(name, tmp_path / name, hypervisor, script=script)
        assert isinstance(host.network, FakeNetwork)
        shell = host.network.scripts[NAME] = guest_script(uptime=uptime)
        hypervisors.append(hypervisor)
        hosts.append(host)
        shells.append(shell)
    disk = tmp_path / "image.raw"
    disk.touch()
    kernel = Kernel(tmp_path, HEALTHY.release, "6.12.57-1", "amd64")
    image = GuestImage(disk, BootFiles("b00t", kernel, tmp_path), "/sbin/init")
    with start_guest(NAME, hosts[0], GUEST, image, Address(10), tmp_path, deadline=soon()) as guest:
        move = PreparedMove(guest, hosts[0], hosts[1], facts=FACTS)
        yield Pair(hypervisors[0], hypervisors[1], move, shells[0], shells[1])


@pytest.fixture
def evidence(tmp_path: Path) -> Path:
    folder = tmp_path / "evidence"
    folder.mkdir()
    return folder


def request(how: str = "live", modules: ModulesRequest = MODULES) -> MigrationRequest:
    return MigrationRequest(SOURCE, TARGET, GUEST, how, modules)


def red(verdict: Verdict) -> set[str]:
    return {check.name for check in verdict.checks if check.outcome is not Outcome.PASS}


def test_a_good_move_passes_every_check_and_leaves_its_evidence(pair: Pair, evidence: Path) -> None:
    verdict = judge_move(request(), pair.prepared, evidence, soon())
    assert (verdict.outcome, red(verdict), verdict.reason, verdict.facts) == (Outcome.PASS, set(), "", FACTS)
    assert [check.name for check in verdict.checks] == [
        "kernel-release",
        "kernel-architecture",
        "userland-bits",
        "module-loads:loop",
        "module-loads:fuse",
        "modules-listed",
        "migrated",
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
        "module-loads-after:isofs",
    ]
    assert sorted(path.name for path in evidence.iterdir()) == [
        "after.txt",
        "before.txt",
        f"{NAME}-on-xen-4.14-console.log",
        f"{NAME}-on-xen-4.14.xml",
        f"{NAME}-on-xen-4.20-console.log",
        f"{NAME}-on-xen-4.20.xml",
        "xen-4.14-libxl.log",
        "xen-4.14-xl-dmesg.log",
        "xen-4.20-libxl.log",
        "xen-4.20-xl-dmesg.log",
    ]
    assert (evidence / "xen-4.20-xl-dmesg.log").read_text() == "(XEN) well"
    assert f"boot_id: {HEALTHY.boot_id}" in (evidence / "after.txt").read_text().splitlines()


@pytest.mark.parametrize(
    ("changes", "broken"),
    [
        ({"boot_id": "other"}, {"same-boot"}),
        ({"sentinel": "431/"}, {"same-process"}),
        ({"keepsake": ""}, {"disk-at-rest"}),
        ({"modules": frozenset({"ext4", "loop"})}, {"modules-kept"}),
        ({"kernel_log": (*HEALTHY.kernel_log, "[ 99.0] Kernel panic - not syncing")}, {"kernel-log"}),
    ],
)
def test_a_fault_on_the_way_fails_the_cell_by_the_name_of_its_check(
    pair: Pair, evidence: Path, changes: Mapping[str, Any], broken: set[str]
) -> None:
    pair.after.answers = guest_script(uptime=95.5, **changes).answers
    verdict = judge_move(request(), pair.prepared, evidence, soon())
    assert (verdict.outcome, red(verdict)) == (Outcome.FAIL, broken)
    assert verdict.reason.startswith(f"{min(broken)}: fail (expected ")


def test_a_source_that_keeps_the_guest_fails_the_cell(pair: Pair, evidence: Path) -> None:
    pair.source.faults.leave_source = True
    verdict = judge_move(request(), pair.prepared, evidence, soon())
    assert (verdict.outcome, red(verdict)) == (Outcome.FAIL, {"gone-from-source"})


def test_a_module_that_does_not_load_after_the_move_is_named(pair: Pair, evidence: Path) -> None:
    fails = {"modprobe isofs": Answer(1, stderr="modprobe: FATAL: no isofs\n")}
    pair.after.answers = guest_script(fails, uptime=95.5).answers
    assert red(judge_move(request(), pair.prepared, evidence, soon())) == {"module-loads-after:isofs"}


def test_a_move_without_modules_asks_nothing_of_modules_to_load(pair: Pair, evidence: Path) -> None:
    verdict = judge_move(request(modules=ModulesRequest()), pair.prepared, evidence, soon())
    assert not [check.name for check in verdict.checks if check.name.startswith(("module-loads", "modules-listed"))]


NO_SUPPORT = "this function is not supported by the connection driver: virDomainMigratePerform3Params"


def test_what_the_driver_cannot_do_is_unsupported_in_its_own_words(pair: Pair, evidence: Path) -> None:
    pair.source.faults.refuse["migrate"] = Said(binding.NO_SUPPORT, binding.FROM_DRIVER, NO_SUPPORT)
    verdict = judge_move(request(), pair.prepared, evidence, soon())
    assert verdict.outcome is Outcome.UNSUPPORTED
    assert verdict.reason == (
        f"fake:///xen-4.14: guest {NAME}: migrate to fake:///xen-4.20: {NO_SUPPORT}; "
        f"{NAME} is running on fake:///xen-4.14, absent on fake:///xen-4.20"
    )
    assert red(verdict) == {"migrated"}
    assert state_on(pair.prepared.source.connection, NAME, soon()) is DomainState.RUNNING


def test_a_refusal_that_costs_the_guest_its_life_is_a_failure(
    pair: Pair, evidence: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair.source.faults.refuse["migrate"] = Said(binding.NO_SUPPORT, binding.FROM_DRIVER, NO_SUPPORT)
    enter = pair.source.enter

    def kill_first(verb: str) -> bool:
        if verb == "migrate":
            pair.source.end(pair.source.record(NAME))
        return enter(verb)

    monkeypatch.setattr(pair.source, "enter", kill_first)
    verdict = judge_move(request(), pair.prepared, evidence, soon())
    assert (verdict.outcome, red(verdict)) == (Outcome.FAIL, {"migrated"})
    assert f"{NAME} is shut off on fake:///xen-4.14, absent on fake:///xen-4.20" in verdict.reason


def test_a_move_that_fails_is_a_failure_with_the_whereabouts(pair: Pair, evidence: Path) -> None:
    pair.target.bridges = frozenset()
    verdict = judge_move(request(), pair.prepared, evidence, soon())
    assert (verdict.outcome, red(verdict), verdict.facts) == (Outcome.FAIL, {"migrated"}, FACTS)
    assert "bridge xenbr0 does not exist" in verdict.reason
    assert f"{NAME} is running on fake:///xen-4.14, absent on fake:///xen-4.20" in verdict.reason


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
    disks = getattr(pair.prepared, end).disks
    assert isinstance(disks, FakeDisks)
    enter = pair.source.enter

    def die(verb: str) -> bool:
        if verb == "migrate":
            disks.dead = f"{end}: QEMU ended with status -9"
        return enter(verb)

    monkeypatch.setattr(pair.source, "enter", die)
    try:
        with pytest.raises(HostError, match=f"^{end}: QEMU ended with status -9$"):
            judge_move(request(), pair.prepared, evidence, soon())
    finally:
        pair.source.release()


@pytest.mark.usefixtures("impatient")
def test_a_move_that_only_hangs_is_the_products_failure(pair: Pair, evidence: Path) -> None:
    pair.source.faults.hang.add("migrate")
    try:
        verdict = judge_move(request(), pair.prepared, evidence, soon())
    finally:
        pair.source.release()
    assert (verdict.outcome, red(verdict)) == (Outcome.FAIL, {"migrated"})

