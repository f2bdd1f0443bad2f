"""libvirt itself where its ``test:///`` driver differs from the fake, and raw calls that hang or are to be seen."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import cast

import pytest

from lab.deadline import Deadline
from lab.errors import DeadlineError, HostError, UnsupportedError, UsageError
from lab.hypervisor import DiskSpec, MigrationPlan, binding, connect, device_xml
from lab.hypervisor.binding import RawConnection, RawDomain
from lab.hypervisor.connection import LibvirtConnection
from lab.hypervisor.domain import LibvirtDomain
from lab.testing.hypervisor import FakeHypervisor

HINT = "\n  hint: is the host up, and its libvirt daemon running?"


def soon() -> Deadline:
    return Deadline(20)


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        (
            "xen+unix:///system?socket=/nonexistent/libvirt-sock",
            "Failed to connect socket to '/nonexistent/libvirt-sock': No such file or directory" + HINT,
        ),
        (
            "xen+tcp://127.0.0.1:1/system",
            "unable to connect to server at '127.0.0.1:1': Connection refused" + HINT,
        ),
        ("test:///nonexistent.xml", None),
    ],
)
def test_a_host_that_cannot_be_reached(uri: str, said: str | None, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(HostError) as caught:
        connect(uri, deadline=soon())
    assert str(caught.value).startswith(f"{uri}: connect: ")
    if said is not None:
        assert str(caught.value) == f"{uri}: connect: {said}"
        assert capfd.readouterr().err == ""  # libvirt's own error printing is off


def test_the_test_driver_tells_what_it_is() -> None:
    with connect("test:///default", deadline=soon()) as connection:
        facts = connection.facts(soon())
        assert (facts.hypervisor, facts.hypervisor_version) == ("TEST", "0.0.2")
        with connection.reconnect(soon()) as again:
            assert again.domains(soon()) == connection.domains(soon()) == ("test",)


def test_what_the_test_driver_cannot_is_unsupported() -> None:
    with connect("test:///default", deadline=soon()) as connection:
        domain = connection.domain("test", soon())
        with pytest.raises(UnsupportedError) as caught:
            domain.migrate_to(connection, MigrationPlan(), soon())
        assert caught.value.reason == "libvirt-no-support"
        assert str(caught.value) == (
            "test:///default: guest test: migrate to test:///default: "
            "this function is not supported by the connection driver: virDomainMigrate3"
        )


def test_a_migration_to_another_kind_of_connection_is_refused() -> None:
    with connect("test:///default", deadline=soon()) as connection:
        target = FakeHypervisor().connect(deadline=soon())
        with pytest.raises(UsageError) as caught:
            connection.domain("test", soon()).migrate_to(target, MigrationPlan(), soon())
    assert str(caught.value) == "test:///default: guest test: migrate: fake:///xen is no libvirt connection"


def test_the_event_loop_thread_does_not_keep_a_process_alive() -> None:
    program = (
        "from lab.deadline import Deadline; from lab.hypervisor import connect; "
        "print(connect('test:///default', deadline=Deadline(20)).domains(Deadline(20)))"
    )
    root = Path(__file__).parents[3]
    ended = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, timeout=60, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, b"('test',)\n", b"")


class StubDomain:
    """A raw domain that records what it is asked, and hangs where it is told to."""

    def __init__(self, name: str = "web32", hang: threading.Event | None = None) -> None:
        self._name = name
        self._hang = hang
        self.asked: list[tuple[object, ...]] = []

    def name(self) -> str:
        return self._name

    def UUIDString(self) -> str:  # noqa: N802 - libvirt's spelling
        return "0b0f1e7e-0000-4111-8111-0123456789ab"

    def createWithFlags(self, flags: int) -> int:  # noqa: N802 - libvirt's spelling
        return self._note("create", flags)

    def state(self) -> list[int]:
        self._note("state")
        return [99, 0]

    def attachDeviceFlags(self, xml: str, flags: int) -> int:  # noqa: N802 - libvirt's spelling
        return self._note("attach", xml, flags)

    def detachDeviceFlags(self, xml: str, flags: int) -> int:  # noqa: N802 - libvirt's spelling
        return self._note("detach", xml, flags)

    def abortJob(self) -> int:  # noqa: N802 - libvirt's spelling
        self.asked.append(("abort",))
        if self._hang is not None:
            self._hang.set()
        return 0

    def migrate3(self, dconn: object, params: Mapping[str, str], flags: int) -> StubDomain:
        self._note("migrate3", dconn, dict(params), flags)
        return StubDomain()

    def migrateToURI3(self, dconnuri: str, params: Mapping[str, str], flags: int) -> int:  # noqa: N802 - libvirt's spelling
        return self._note("migrateToURI3", dconnuri, dict(params), flags)

    def _note(self, *asked: object) -> int:
        self.asked.append(asked)
        if self._hang is not None:
            self._hang.wait()
        return 0


class StubConnection:
    """A raw connection that knows one domain."""

    def __init__(self, *, closed: threading.Event | None = None, hang: threading.Event | None = None) -> None:
        self._closed = closed or threading.Event()
        self._hang = hang

    def close(self) -> int:
        if self._hang is not None:
            self._hang.wait()
        self._closed.set()
        return 0

    def isAlive(self) -> int:  # noqa: N802 - libvirt's spelling
        return 1

    def getType(self) -> str:  # noqa: N802 - libvirt's spelling
        return "Xen"

    def getVersion(self) -> int:  # noqa: N802 - libvirt's spelling
        return 4_020_000

    def getLibVersion(self) -> int:  # noqa: N802 - libvirt's spelling
        return 11_003_000

    def getHostname(self) -> str:  # noqa: N802 - libvirt's spelling
        return "xen-4-20"

    def getCapabilities(self) -> str:  # noqa: N802 - libvirt's spelling
        return "<capabilities/>"

    def lookupByName(self, name: str) -> StubDomain:  # noqa: N802 - libvirt's spelling
        return StubDomain(name)


def stub(uri: str = "xen:///source", hang: threading.Event | None = None) -> LibvirtConnection:
    return LibvirtConnection(uri, cast("RawConnection", StubConnection(hang=hang)))


def domain_of(connection: LibvirtConnection, raw: StubDomain) -> LibvirtDomain:
    return LibvirtDomain(connection, cast("RawDomain", raw))


@pytest.fixture
def never() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


def test_versions_are_unpacked_and_xens_has_two_parts() -> None:
    facts = stub().facts(soon())
    assert (facts.hypervisor, facts.hypervisor_version) == ("Xen", "4.20")
    assert (facts.libvirt_version, facts.hostname) == ("11.3.0", "xen-4-20")


def test_a_hanging_call_breaks_the_connection_and_closing_it_does_not_wait(never: threading.Event) -> None:
    connection = stub(hang=never)
    domain = domain_of(connection, StubDomain(hang=never))
    with pytest.raises(DeadlineError) as caught:
        domain.start(Deadline(0.05))
    assert str(caught.value) == "xen:///source: guest web32: start: not done within 0.05 s"
    assert connection.broken is caught.value
    with pytest.raises(HostError) as later:
        connection.domains(soon())
    assert str(later.value) == (
        "xen:///source: list domains: not tried, the connection is broken: "
        "xen:///source: guest web32: start: not done within 0.05 s"
    )
    connection.close()


def test_start_paused_and_live_devices_reach_libvirt_with_their_flags() -> None:
    raw = StubDomain()
    domain = domain_of(stub(), raw)
    xml = device_xml(DiskSpec("/dev/vdc", "xvdb"))
    domain.start(soon(), paused=True)
    domain.attach(xml, soon())
    domain.detach(xml, soon())
    assert raw.asked == [
        ("create", binding.START_PAUSED),
        ("attach", xml, binding.AFFECT_LIVE),
        ("detach", xml, binding.AFFECT_LIVE),
    ]


def test_a_state_that_libvirt_may_invent_later_is_no_state() -> None:
    assert domain_of(stub(), StubDomain()).state(soon()).value == "no state"


def test_a_direct_migration_asks_for_what_the_plan_says() -> None:
    raw, target = StubDomain(), stub("xen:///target")
    moved = domain_of(stub(), raw).migrate_to(target, MigrationPlan(uri="tcp://10.77.0.20"), soon())
    flags = binding.MIGRATE_LIVE | binding.MIGRATE_PERSIST | binding.MIGRATE_UNDEFINE_SOURCE
    assert raw.asked == [("migrate3", target.raw, {binding.MIGRATE_URI: "tcp://10.77.0.20"}, flags)]
    assert moved.connection is target


def test_a_peer_to_peer_migration_names_the_target_as_the_source_sees_it() -> None:
    raw, target = StubDomain(), stub("xen:///target")
    plan = MigrationPlan(
        live=False, peer_to_peer="xen+ssh://peer/system", persist_on_target=False, undefine_on_source=False
    )
    moved = domain_of(stub(), raw).migrate_to(target, plan, soon())
    assert raw.asked == [("migrateToURI3", "xen+ssh://peer/system", {}, binding.MIGRATE_PEER_TO_PEER)]
    assert (moved.name, moved.connection) == ("web32", target)


def test_a_migration_that_is_late_is_aborted(never: threading.Event) -> None:
    raw, source = StubDomain(hang=never), stub()
    with pytest.raises(DeadlineError) as caught:
        domain_of(source, raw).migrate_to(stub("xen:///target"), MigrationPlan(), Deadline(0.05))
    assert str(caught.value) == (
        "xen:///source: guest web32: migrate to xen:///target: not done within 0.05 s; aborted"
    )
    assert raw.asked[-1] == ("abort",)
    assert source.broken is None
