"""Migration between two fakes: what a good one leaves, and what is told of each way to fail."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from lab.deadline import Deadline
from lab.errors import DeadlineError, GuestError, UnsupportedError, UsageError
from lab.hypervisor import (
    DiskSpec,
    Domain,
    DomainSpec,
    DomainState,
    GuestNotFoundError,
    GuestRefusedError,
    InterfaceSpec,
    MigrationDeadlineError,
    MigrationError,
    MigrationPlan,
    MigrationRefusedError,
    binding,
    calls,
    connect,
    device_xml,
    domain_xml,
    identity,
    migrate,
    whereabouts,
)
from lab.hypervisor.binding import Said
from lab.testing.hypervisor import FakeConnection, FakeHypervisor

SPEC = DomainSpec(
    name="web32",
    uuid="0b0f1e7e-0000-4111-8111-0123456789ab",
    type="pv",
    memory_mib=256,
    vcpus=1,
    kernel="/boot/vmlinux",
    disks=(DiskSpec("/dev/vdb"),),
    interfaces=(InterfaceSpec("00:16:3e:00:00:01", "xenbr0"),),
)


def soon() -> Deadline:
    return Deadline(20)


@dataclass
class Pair:
    """Two hosts, and the guest that runs on the first."""

    source: FakeHypervisor
    target: FakeHypervisor
    here: FakeConnection
    there: FakeConnection
    guest: Domain


@pytest.fixture
def pair(monkeypatch: pytest.MonkeyPatch) -> Iterator[Pair]:
    monkeypatch.setattr(calls, "GRACE", 0.2)
    source, target = FakeHypervisor("fake:///source"), FakeHypervisor("fake:///target")
    here, there = source.connect(deadline=soon()), target.connect(deadline=soon())
    guest = here.define(domain_xml(SPEC), soon())
    guest.start(soon())
    yield Pair(source, target, here, there, guest)
    source.release()
    target.release()


def failed(pair: Pair, deadline: Deadline | None = None) -> MigrationError:
    with pytest.raises(MigrationError) as caught:
        migrate(pair.guest, pair.there, MigrationPlan(), deadline or soon())
    return caught.value


def test_the_guest_ends_up_on_the_target_only(pair: Pair) -> None:
    before = identity(pair.guest.xml(soon()))
    moved = migrate(pair.guest, pair.there, MigrationPlan(uri="tcp://10.77.0.20"), soon())
    assert moved.seconds >= 0
    assert moved.domain.state(soon()) is DomainState.RUNNING
    assert identity(moved.domain.xml(soon())).differences(before) == ()
    seen = whereabouts("web32", pair.here, pair.there, soon())
    assert (seen.source.state, seen.target.state) == (DomainState.ABSENT, DomainState.RUNNING)
    assert seen.lives_once
    assert str(seen) == "web32 is absent on fake:///source, running on fake:///target"
    moved.domain.shutdown(soon())
    assert pair.there.domains(soon()) == ("web32",)


def test_without_persistence_the_definition_stays_behind(pair: Pair) -> None:
    plan = MigrationPlan(persist_on_target=False, undefine_on_source=False)
    moved = migrate(pair.guest, pair.there, plan, soon())
    assert pair.guest.state(soon()) is DomainState.SHUTOFF
    moved.domain.shutdown(soon())
    assert pair.there.domains(soon()) == ()


def test_it_comes_back(pair: Pair) -> None:
    moved = migrate(pair.guest, pair.there, MigrationPlan(), soon())
    back = migrate(moved.domain, pair.here, MigrationPlan(), soon())
    assert back.domain.state(soon()) is DomainState.RUNNING
    assert pair.there.domains(soon()) == ()


def test_a_late_migration_is_aborted_and_the_source_still_runs_it(pair: Pair) -> None:
    pair.source.faults.hang.add("migrate")
    error = failed(pair, Deadline(0.05))
    assert isinstance(error, MigrationDeadlineError)
    assert isinstance(error, DeadlineError)
    assert str(error) == (
        "fake:///source: guest web32: migrate to fake:///target: not done within 0.05 s; aborted; "
        "web32 is running on fake:///source, absent on fake:///target"
    )
    assert error.whereabouts.lives_once
    assert pair.here.broken is None


def test_a_stuck_migration_that_cannot_be_aborted_breaks_the_connection_but_not_the_view(pair: Pair) -> None:
    pair.source.faults.hang.add("migrate")
    pair.source.faults.no_abort = True
    error = failed(pair, Deadline(0.05))
    assert str(error) == (
        "fake:///source: guest web32: migrate to fake:///target: not done within 0.05 s; "
        "abort refused: this function is not supported by the connection driver: virDomainAbortJob; "
        "web32 is running on fake:///source, absent on fake:///target"
    )
    assert pair.here.broken is error.cause


def test_a_missing_bridge_is_named_and_the_source_still_runs_it(pair: Pair) -> None:
    pair.target.bridges = frozenset({"virbr0"})
    error = failed(pair)
    assert str(error) == (
        "fake:///source: guest web32: migrate to fake:///target: internal error: "
        "libxenlight failed to create new domain 'web32': bridge xenbr0 does not exist; "
        "web32 is running on fake:///source, absent on fake:///target"
    )
    assert isinstance(error.cause, GuestRefusedError)
    assert error.cause.code == binding.INTERNAL_ERROR
    assert isinstance(error, GuestError)


def test_too_little_memory_is_named(pair: Pair) -> None:
    pair.target.free_mib = 128
    assert "not enough free memory; web32 is running on fake:///source" in str(failed(pair))


def test_a_name_already_taken_on_the_target_is_named(pair: Pair) -> None:
    other = "0b0f1e7e-0000-4111-8111-0123456789ac"
    pair.there.define(domain_xml(SPEC).replace(SPEC.uuid, other), soon())
    error = failed(pair)
    assert f"operation failed: domain 'web32' already exists with uuid {other}" in error.message
    assert error.whereabouts.target.state is DomainState.SHUTOFF
    assert error.whereabouts.lives_once


def test_the_same_guest_twice_is_refused(pair: Pair) -> None:
    pair.source.faults.leave_source = True
    migrate(pair.guest, pair.there, MigrationPlan(), soon())
    seen = whereabouts("web32", pair.here, pair.there, soon())
    assert seen.lives_once is False
    error = failed(pair)
    assert "Requested operation is not valid: domain is already running" in error.message


def test_a_guest_that_is_off_is_refused(pair: Pair) -> None:
    pair.guest.shutdown(soon())
    assert "Requested operation is not valid: domain is not running" in str(failed(pair))


def test_a_guest_lost_on_the_way_is_seen_nowhere(pair: Pair) -> None:
    pair.source.faults.lose_guest = True
    moved = migrate(pair.guest, pair.there, MigrationPlan(), soon())
    with pytest.raises(GuestNotFoundError):
        moved.domain.state(soon())
    assert whereabouts("web32", pair.here, pair.there, soon()).lives_once is False


def test_a_driver_that_cannot_migrate_is_unsupported(pair: Pair) -> None:
    text = "this function is not supported by the connection driver: virDomainMigrate3"
    pair.source.faults.refuse["migrate"] = Said(binding.NO_SUPPORT, binding.FROM_DRIVER, text)
    error = failed(pair)
    assert isinstance(error, MigrationRefusedError)
    assert isinstance(error, UnsupportedError)
    assert error.reason == "libvirt-no-support"
    assert str(error) == (
        f"fake:///source: guest web32: migrate to fake:///target: {text}; "
        "web32 is running on fake:///source, absent on fake:///target"
    )


def test_a_target_that_died_is_unknown_and_says_why(pair: Pair) -> None:
    pair.target.faults.down = "End of file while reading data: Input/output error"
    error = failed(pair)
    assert error.whereabouts.source.state is DomainState.RUNNING
    assert error.whereabouts.lives_once is None
    assert str(error.whereabouts.target) == (
        "unknown on fake:///target (fake:///target: guest web32: look up: "
        "End of file while reading data: Input/output error)"
    )


def test_the_real_driver_without_migration_is_refused_with_whereabouts() -> None:
    with connect("test:///default", deadline=soon()) as connection, pytest.raises(MigrationRefusedError) as caught:
        migrate(connection.domain("test", soon()), connection, MigrationPlan(), soon())
    assert str(caught.value) == (
        "test:///default: guest test: migrate to test:///default: "
        "this function is not supported by the connection driver: virDomainMigrate3; "
        "test is running on test:///default, running on test:///default"
    )


def test_the_fake_migrates_to_fakes_only(pair: Pair) -> None:
    with connect("test:///default", deadline=soon()) as other, pytest.raises(UsageError) as caught:
        pair.guest.migrate_to(other, MigrationPlan(), soon())
    assert str(caught.value) == "fake:///source: guest web32: migrate: test:///default is no fake connection"


def test_the_fake_starts_paused_plugs_devices_and_ignores_on_demand(pair: Pair) -> None:
    disk = device_xml(DiskSpec("/dev/vdc", "xvdb"))
    pair.guest.attach(disk, soon())
    assert [found.target for found in identity(pair.guest.xml(soon())).disks] == ["xvda", "xvdb"]
    with pytest.raises(GuestRefusedError, match="target xvdb already exists"):
        pair.guest.attach(disk, soon())
    pair.guest.detach(disk, soon())
    with pytest.raises(GuestRefusedError, match="no device xvdb"):
        pair.guest.detach(disk, soon())
    pair.source.faults.ignore.add("shutdown")
    pair.guest.shutdown(soon())
    assert pair.guest.is_active(soon())
    pair.guest.destroy(soon())
    pair.guest.start(soon(), paused=True)
    assert pair.guest.state(soon()) is DomainState.PAUSED
