"""One suite for every Connection: libvirt's ``test:///`` driver and the lab's fake must behave alike."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lab.deadline import Deadline
from lab.errors import DeadlineError, GuestError, HostError, LabError, UnsupportedError
from lab.hypervisor import (
    Connection,
    Domain,
    DomainSize,
    DomainState,
    DomainXmlError,
    GuestNotFoundError,
    GuestRefusedError,
    binding,
    capabilities,
    connect,
    identity,
    tagged,
    wait_for_state,
)
from lab.testing.hypervisor import FakeHypervisor

UUID = "0b0f1e7e-0000-4111-8111-0123456789ab"
OTHER_UUID = "0b0f1e7e-0000-4111-8111-0123456789ac"


def guest_xml(name: str = "web32", uuid: str = UUID, tag: str = "") -> str:
    metadata = f'<metadata><l:guest xmlns:l="urn:crossroads-lab:domain:1">{tag}</l:guest></metadata>' if tag else ""
    return (
        f"<domain type='test'><name>{name}</name><uuid>{uuid}</uuid>{metadata}"
        "<memory unit='MiB'>64</memory><vcpu>2</vcpu><os><type>hvm</type></os></domain>"
    )


def soon() -> Deadline:
    return Deadline(20)


def _libvirt(folder: Path) -> Connection:
    world = folder / "world.xml"
    world.write_text("<node/>")
    return connect(f"test://{world}", deadline=soon())


def _fake(_folder: Path) -> Connection:
    return FakeHypervisor().connect(deadline=soon())


@pytest.fixture(params=[_libvirt, _fake], ids=["libvirt", "fake"])
def connection(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Connection]:
    opener: Callable[[Path], Connection] = request.param
    with opener(tmp_path) as opened:
        yield opened


@pytest.fixture
def domain(connection: Connection) -> Domain:
    return connection.define(guest_xml(), soon())


def test_facts_name_hypervisor_versions_and_capabilities(connection: Connection) -> None:
    facts = connection.facts(soon())
    assert facts.hypervisor
    assert all(part.isdecimal() for part in facts.hypervisor_version.split("."))
    assert len(facts.libvirt_version.split(".")) == 3
    assert facts.hostname
    assert capabilities(facts.capabilities_xml).guests


def test_a_defined_domain_is_listed_and_shut_off(connection: Connection, domain: Domain) -> None:
    assert (domain.name, domain.uuid) == ("web32", UUID)
    assert connection.domains(soon()) == ("web32",)
    assert domain.state(soon()) is DomainState.SHUTOFF
    assert not domain.is_active(soon())
    assert domain.connection is connection


def test_a_domain_is_found_by_name(connection: Connection, domain: Domain) -> None:
    assert connection.domain(domain.name, soon()).uuid == UUID


def test_active_and_inactive_domains_are_listed_in_order(connection: Connection, domain: Domain) -> None:
    connection.define(guest_xml("aaa", OTHER_UUID), soon()).start(soon())
    assert connection.domains(soon()) == ("aaa", domain.name)


def test_life_of_a_domain(domain: Domain) -> None:
    domain.start(soon())
    assert domain.state(soon()) is DomainState.RUNNING
    domain.suspend(soon())
    assert domain.state(soon()) is DomainState.PAUSED
    assert domain.is_active(soon())
    domain.resume(soon())
    assert domain.state(soon()) is DomainState.RUNNING
    domain.shutdown(soon())
    assert wait_for_state(domain, [DomainState.SHUTOFF], soon()) is DomainState.SHUTOFF


def test_size_and_xml_are_those_of_the_definition(domain: Domain) -> None:
    assert domain.size(soon()) == DomainSize(vcpus=2, memory_kib=65536, max_memory_kib=65536)
    assert identity(domain.xml(soon())) == identity(guest_xml())


def test_defining_again_replaces(connection: Connection, domain: Domain) -> None:
    connection.define(guest_xml().replace(">64<", ">96<"), soon())
    assert domain.size(soon()).memory_kib == 96 * 1024


def test_a_uuid_is_made_up_when_none_is_given(connection: Connection) -> None:
    made = connection.define(guest_xml().replace(f"<uuid>{UUID}</uuid>", ""), soon())
    assert len(made.uuid) == 36
    assert identity(made.xml(soon())).uuid == made.uuid


def test_save_stops_and_restore_brings_back(connection: Connection, domain: Domain, tmp_path: Path) -> None:
    image = str(tmp_path / "web32.save")
    domain.start(soon())
    domain.save(image, soon())
    assert domain.state(soon()) is DomainState.SHUTOFF
    connection.restore(image, None, soon())
    assert domain.state(soon()) is DomainState.RUNNING
    assert connection.domains(soon()) == ("web32",)


def test_restore_with_other_xml_is_unsupported(connection: Connection, domain: Domain, tmp_path: Path) -> None:
    image = str(tmp_path / "web32.save")
    domain.start(soon())
    domain.save(image, soon())
    with pytest.raises(UnsupportedError) as caught:
        connection.restore(image, guest_xml(), soon())
    assert caught.value.reason == "libvirt-argument-unsupported"
    expected = f"{connection.uri}: restore from {image}: argument unsupported: xml modification unsupported"
    assert str(caught.value) == expected


def test_restore_without_an_image_is_the_hosts_trouble(connection: Connection) -> None:
    with pytest.raises(HostError) as caught:
        connection.restore("/nonexistent/image", None, soon())
    expected = "cannot read domain image '/nonexistent/image': No such file or directory"
    assert str(caught.value) == f"{connection.uri}: restore from /nonexistent/image: {expected}"
    assert connection.broken is None


def test_destroy_and_undefine_leave_nothing_and_may_be_repeated(connection: Connection, domain: Domain) -> None:
    domain.start(soon())
    domain.destroy(soon())
    assert domain.state(soon()) is DomainState.SHUTOFF
    domain.destroy(soon())
    domain.undefine(soon())
    assert connection.domains(soon()) == ()
    domain.undefine(soon())
    domain.destroy(soon())
    assert not domain.is_active(soon())


def test_undefining_a_running_domain_lets_it_run_until_destroyed(connection: Connection, domain: Domain) -> None:
    domain.start(soon())
    domain.undefine(soon())
    domain.undefine(soon())
    assert domain.state(soon()) is DomainState.RUNNING
    domain.destroy(soon())
    assert connection.domains(soon()) == ()


def test_a_domain_that_is_gone_is_not_found(domain: Domain) -> None:
    domain.undefine(soon())
    for ask in (domain.state, domain.xml, domain.size, domain.start, domain.shutdown):
        with pytest.raises(GuestNotFoundError) as caught:
            ask(soon())
        assert caught.value.code == binding.NO_DOMAIN
        assert str(caught.value).startswith(f"{domain.connection.uri}: guest web32: ")
    with pytest.raises(LookupError):
        domain.state(soon())


def test_an_unknown_name_is_not_found(connection: Connection) -> None:
    with pytest.raises(GuestNotFoundError) as caught:
        connection.domain("nobody", soon())
    assert caught.value.code == binding.NO_DOMAIN
    assert str(caught.value).startswith(f"{connection.uri}: guest nobody: look up: Domain not found")


def test_a_name_already_taken_is_refused_and_names_the_holder(connection: Connection, domain: Domain) -> None:
    with pytest.raises(HostError) as caught:
        connection.define(guest_xml(domain.name, OTHER_UUID), soon())
    expected = f"{connection.uri}: define: operation failed: domain 'web32' already exists with uuid {UUID}"
    assert str(caught.value) == expected


@pytest.mark.parametrize("call", ["shutdown", "suspend", "resume"])
def test_what_needs_a_running_domain_is_refused(domain: Domain, call: str) -> None:
    with pytest.raises(GuestRefusedError) as caught:
        getattr(domain, call)(soon())
    assert str(caught.value).startswith(f"{domain.connection.uri}: guest web32: {call}: ")
    assert isinstance(caught.value, GuestError)


def test_starting_twice_is_refused(domain: Domain) -> None:
    domain.start(soon())
    with pytest.raises(GuestRefusedError) as caught:
        domain.start(soon())
    assert str(caught.value).startswith(f"{domain.connection.uri}: guest web32: start: ")
    assert str(caught.value).endswith("is already running")


@pytest.mark.parametrize("xml", ["<domain", "<domain type='test'><name>a</name><memory>1</memory></domain>"])
def test_broken_xml_is_refused_with_libvirts_words(connection: Connection, xml: str) -> None:
    with pytest.raises(DomainXmlError) as caught:
        connection.define(xml, soon())
    assert str(caught.value).startswith(f"{connection.uri}: define: ")
    assert caught.value.code in {binding.XML_ERROR, binding.XML_DETAIL}
    assert isinstance(caught.value, LabError)


def test_no_time_left_means_nothing_is_tried(domain: Domain) -> None:
    with pytest.raises(DeadlineError) as caught:
        domain.start(Deadline(0))
    assert str(caught.value) == f"{domain.connection.uri}: guest web32: start: not done within 0 s"
    assert domain.state(soon()) is DomainState.SHUTOFF
    assert domain.connection.broken is None


def test_a_closed_connection_says_so(connection: Connection, domain: Domain) -> None:
    connection.close()
    connection.close()
    with pytest.raises(HostError) as caught:
        domain.start(soon())
    expected = "guest web32: start: not tried, the connection is broken: it was closed"
    assert str(caught.value) == f"{connection.uri}: {expected}"


def test_domains_are_found_by_tag(connection: Connection, domain: Domain) -> None:
    connection.define(guest_xml("mine", OTHER_UUID, "<l:tag name='run' value='r1'/>"), soon())
    assert [found.name for found in tagged(connection, "run", soon())] == ["mine"]
    assert [found.name for found in tagged(connection, "run", soon(), value="r1")] == ["mine"]
    assert tagged(connection, "run", soon(), value="r2") == ()
    assert domain.name in connection.domains(soon())


def test_waiting_for_a_state_says_what_was_seen(domain: Domain) -> None:
    domain.start(soon())
    with pytest.raises(DeadlineError) as caught:
        wait_for_state(domain, [DomainState.SHUTOFF], Deadline(0.2))
    expected = f"{domain.connection.uri}: guest web32: shut off: not seen within 0.2 s; it is running"
    assert str(caught.value) == expected


def test_waiting_notices_that_the_domain_is_gone(domain: Domain) -> None:
    domain.undefine(soon())
    assert wait_for_state(domain, [DomainState.ABSENT], soon()) is DomainState.ABSENT
    with pytest.raises(GuestError) as caught:
        wait_for_state(domain, [DomainState.RUNNING, DomainState.PAUSED], soon())
    expected = f"{domain.connection.uri}: guest web32: absent while waiting for paused or running"
    assert str(caught.value) == expected
