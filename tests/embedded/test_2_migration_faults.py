"""Each check of a migration cell, on a real guest: green as it is, and red by its name with its fault."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.checks.clock import clock_check, lost_at_boot, strayed
from lab.checks.journey import NOT_ASKED
from lab.checks.migration import Sides, live_checks, whereabouts_checks
from lab.checks.modules import kernel_checks, listed_check, loading_checks
from lab.deadline import Deadline
from lab.guests.guest import Guest
from lab.guests.observation import Observation, observe, start_sentinel, write_keepsake
from lab.hypervisor import DomainState, identity
from lab.kernels.delivery import push_modules
from lab.kernels.loading import load_modules
from lab.scenario.cell import Cell, MigrationRequest
from lab.stage.travel import state_on
from lab.stage.xen import XenStage
from lab.verdict import Check, Outcome
from lab.wait import wait_until

MODULES = ("loop", "fuse", "isofs")


@pytest.fixture(scope="module")
def request_(quick_cells: tuple[Cell, ...]) -> MigrationRequest:
    return next(cell.request for cell in quick_cells if isinstance(cell.request, MigrationRequest))


@pytest.fixture(scope="module")
def guest(stage: XenStage, request_: MigrationRequest) -> Iterator[Guest]:
    with stage.guest(request_.source, request_.guest, Deadline(900)) as running:
        deadline = Deadline(120)
        push_modules(running.shell, running.image.boot.kernel, MODULES, deadline=deadline)
        load_modules(running.shell, ("loop", "fuse"), deadline=deadline)
        start_sentinel(running.shell, deadline=deadline)
        write_keepsake(running.shell, deadline=deadline)
        yield running


@dataclasses.dataclass
class Look:
    """Two looks at one guest, and the checks between them."""

    guest: Guest
    before: Observation

    @classmethod
    def at(cls, guest: Guest) -> Look:
        return cls(guest, observe(guest.shell, deadline=Deadline(60)))

    def broken(self, **changes: object) -> set[str]:
        after = observe(self.guest.shell, deadline=Deadline(60))
        xml = identity(self.guest.domain.xml(Deadline(20)))
        sides = dataclasses.replace(Sides(DomainState.ABSENT, DomainState.RUNNING, xml, xml), **changes)  # type: ignore[arg-type]  # the tests' own changes
        return red(live_checks(self.before, after, sides))


def red(checks: tuple[Check, ...]) -> set[str]:
    return {check.name for check in checks if check.outcome is not Outcome.PASS}


def boot_of(guest: Guest) -> str:
    return observe(guest.shell, deadline=Deadline(60)).boot_id


def sh(guest: Guest, script: str) -> None:
    guest.shell.run("sh", "-c", script, deadline=Deadline(60)).check()


def test_nothing_happened_and_nothing_is_red(guest: Guest, request_: MigrationRequest) -> None:
    look = Look.at(guest)
    assert red(kernel_checks(request_.guest, guest.image.boot.kernel.release, look.before)) == set()
    assert look.broken() == set()


def test_a_guest_that_is_still_on_the_source(guest: Guest) -> None:
    state = state_on(guest.host.connection, guest.name, Deadline(20))
    assert red(whereabouts_checks(state, DomainState.ABSENT)) == {"gone-from-source", "running-on-target"}


def test_a_sentinel_that_was_killed(guest: Guest) -> None:
    look = Look.at(guest)
    sh(guest, "kill -9 $(cat /run/lab-sentinel)")
    assert look.broken() == {"same-process"}
    start_sentinel(guest.shell, deadline=Deadline(30))


def test_a_changed_sector(guest: Guest) -> None:
    look = Look.at(guest)
    sh(guest, "printf x | dd of=/var/tmp/lab-keepsake bs=1 seek=1000000 conv=notrunc 2>/dev/null; sync")
    assert look.broken() == {"disk-at-rest"}


def test_a_stepped_clock(guest: Guest) -> None:
    look = Look.at(guest)
    sh(guest, "date -s @$(( $(date +%s) + 4 )) >/dev/null")
    assert look.broken() == {"clock"}
    sh(guest, "date -s @$(( $(date +%s) - 4 )) >/dev/null")


def test_a_module_that_is_gone(guest: Guest) -> None:
    look = Look.at(guest)
    sh(guest, "rmmod loop")
    assert look.broken() == {"modules-kept"}


def test_a_module_file_that_is_gone(guest: Guest) -> None:
    sh(guest, "mv /lib/modules/$(uname -r)/kernel/fs/isofs /root/")
    loadings = load_modules(guest.shell, ("isofs",), deadline=Deadline(30))
    assert red(loading_checks(loadings, prefix="module-loads-after")) == {"module-loads-after:isofs"}
    sh(guest, "mv /root/isofs /lib/modules/$(uname -r)/kernel/fs/")
    loadings = load_modules(guest.shell, ("isofs",), deadline=Deadline(30))
    assert red(loading_checks(loadings)) == set()
    seen = observe(guest.shell, deadline=Deadline(60))
    assert listed_check(loadings, seen).outcome is Outcome.PASS
    sh(guest, "rmmod isofs")
    assert listed_check(loadings, observe(guest.shell, deadline=Deadline(60))).outcome is Outcome.FAIL


def test_a_warning_of_the_kernel(guest: Guest) -> None:
    look = Look.at(guest)
    sh(guest, "echo '<4>WARNING: CPU: 0 PID: 1 at lab/fault.c:1 injected' > /dev/kmsg")
    assert look.broken() == {"kernel-log"}


def test_another_kernel_and_another_userland_than_was_asked_for(guest: Guest, request_: MigrationRequest) -> None:
    seen = observe(guest.shell, deadline=Deadline(60))
    other = dataclasses.replace(request_.guest, userland="amd64")
    assert red(kernel_checks(other, "6.1.0-1-cloud-amd64", seen)) == {"kernel-release", "userland-bits"}


def test_a_disk_too_many(guest: Guest, tmp_path: Path) -> None:
    look = Look.at(guest)
    mine = identity(guest.domain.xml(Deadline(20)))
    image = tmp_path / "more.raw"
    image.write_bytes(bytes(1 << 20))
    device = guest.attach(image, read_only=True, deadline=Deadline(60))
    assert look.broken(before=mine) == {"identity"}
    guest.detach(device, deadline=Deadline(60))
    assert look.broken(before=mine) == set()


def test_a_reboot_on_the_way(guest: Guest) -> None:
    look = Look.at(guest)
    guest.shell.run("sh", "-c", "(sleep 1; reboot -f) >/dev/null 2>&1 &", deadline=Deadline(30))
    wait_until(
        "the guest is another boot",
        lambda: guest.reconnect(Deadline(200)) and boot_of(guest) != look.before.boot_id,
        deadline=Deadline(240),
        interval=3,
    )
    # With another boot everything that lived in memory is gone too; uptime may have passed the old one by then.
    assert look.broken() >= {"same-boot", "same-process", "modules-kept"}
    # A guest that booted on the way, as for a cold move, may be late by what its kernel lost meanwhile; no more.
    assert strays(look) is Outcome.PASS
    for seconds in (4, -14):
        sh(guest, f"date -s @$(( $(date +%s) + {seconds} )) >/dev/null")
        assert strays(look) is Outcome.FAIL
    sh(guest, "date -s @$(( $(date +%s) + 10 )) >/dev/null")
    assert strays(look) is Outcome.PASS


def strays(look: Look) -> Outcome:
    after = observe(look.guest.shell, deadline=Deadline(60))
    stray, doubt = strayed(look.before, after, NOT_ASKED, NOT_ASKED)
    return clock_check(stray, doubt, 2.0, lost=lost_at_boot(after.kernel_log)).outcome
