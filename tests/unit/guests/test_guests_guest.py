"""A guest's life on hosts that are not there: start, disks, moves, and an end that leaves nothing."""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from lab.deadline import Deadline
from lab.debian.kernel import Kernel
from lab.errors import DeadlineError, GuestError, HostError, UnsupportedError
from lab.events import Event, subscribe
from lab.guests.guest import Address, Guest, domain_spec, start_guest
from lab.guests.image import BootFiles, GuestImage
from lab.guests.moving import move
from lab.hosts.host import Host
from lab.hypervisor import (
    Connection,
    DiskSpec,
    Domain,
    DomainState,
    GuestRefusedError,
    Migrated,
    MigrationError,
    MigrationPlan,
    binding,
    domain_xml,
    identity,
    migrate,
    validate,
)
from lab.hypervisor.binding import Said
from lab.scenario.cell import GuestRequest, KernelRequest
from lab.testing.host import FakeDisks, FakeNetwork, fake_host
from lab.testing.hypervisor import FakeHypervisor
from lab.testing.shell import Answer, FakeShell

REQUEST = GuestRequest("web32", "bookworm", "i386", KernelRequest("bookworm"))
NAME = "web32-f00d-10"


def soon() -> Deadline:
    return Deadline(20)


@dataclass
class Place:
    """A host with all that is behind it."""

    hypervisor: FakeHypervisor
    script: FakeShell
    host: Host

    @property
    def disks(self) -> FakeDisks:
        assert isinstance(self.host.disks, FakeDisks)
        return self.host.disks

    @property
    def network(self) -> FakeNetwork:
        assert isinstance(self.host.network, FakeNetwork)
        return self.host.network

    @property
    def guests(self) -> dict[str, DomainState]:
        return {record.identity.name: record.state for record in self.hypervisor.records.values()}

    @property
    def serials(self) -> set[str]:
        return set(self.disks.plugged)


def place(folder: Path, name: str) -> Place:
    (folder / name).mkdir()
    hypervisor = FakeHypervisor(uri=f"fake:///{name}", bridges=frozenset({"xenbr0"}))
    script = FakeShell({"mkdir *": "", "mount *": "", "timeout 5 sh -c until nc *": "", "sh -c cat *": "boots\n"})
    return Place(hypervisor, script, fake_host(name, folder / name, hypervisor, script=script))


@pytest.fixture
def source(tmp_path: Path) -> Place:
    return place(tmp_path, "xen-4.14")


@pytest.fixture
def target(tmp_path: Path) -> Place:
    return place(tmp_path, "xen-4.20")


@pytest.fixture
def image(tmp_path: Path) -> GuestImage:
    disk = tmp_path / "image.raw"
    disk.write_bytes(b"a file system")
    kernel = Kernel(tmp_path, "6.12.57-cloud-amd64", "6.12.57-1", "amd64")
    return GuestImage(disk, BootFiles("b00t", kernel, tmp_path), "/sbin/init")


@contextmanager
def start(
    where: Place, image: GuestImage, folder: Path, *, shelf: Path | None = None, deadline: Deadline | None = None
) -> Iterator[Guest]:
    with start_guest(
        NAME, where.host, REQUEST, image, Address(10), folder, shelf=shelf, deadline=deadline or soon()
    ) as guest:
        yield guest


@pytest.fixture
def failures() -> Iterator[list[str]]:
    """What undoing could not do."""
    told: list[str] = []

    def hear(event: Event) -> None:
        if event.kind == "undo failed":
            told.append(f"{event.fields['what']}: {event.fields['why']}")

    unsubscribe = subscribe(hear)
    yield told
    unsubscribe()


def test_addresses_of_guests_are_unique_and_xens_own() -> None:
    addresses = [Address(number) for number in range(10, 250)]
    assert len({address.ip for address in addresses}) == len({address.mac for address in addresses}) == 240
    assert (Address(10).ip, Address(10).mac) == ("10.77.128.10", "00:16:3e:77:00:0a")


@pytest.mark.parametrize(
    ("type_", "arch", "readonly"), list(itertools.product(("pv", "pvh"), ("amd64", "i386"), (False, True)))
)
def test_what_libvirt_is_told_is_what_it_takes(source: Place, type_: str, arch: str, readonly: bool) -> None:  # noqa: FBT001 - a column of the table
    request = GuestRequest("g", "bookworm", "i386", KernelRequest("bookworm", arch), type=type_, memory=384)
    disks = [DiskSpec("/dev/a"), *([DiskSpec("/dev/b", "xvdb", readonly=True)] if readonly else [])]
    emulated = dataclasses.replace(source.host, accelerator="tcg")
    spec = domain_spec("g", request, Address(12), boot="/run/lab/k", init="/sbin/init", disks=disks, host=emulated)
    xml = domain_xml(spec)
    validate(xml)
    assert identity(xml).memory_kib == 384 * 1024
    assert identity(xml).macs == (Address(12).mac,)
    assert identity(xml).tags == (("run", "f00d"),)
    assert "init=/sbin/init lab.ip=10.77.128.12/16" in xml
    # RDTSCP under TCG, and a PAE kernel under TCG's nested paging.
    assert ("mode='native'" in xml.replace('"', "'")) == (type_ == "pvh")
    assert spec.hap == (not (type_ == "pvh" and arch == "i386"))


@pytest.mark.parametrize(("kind", "fails", "hap"), [("pvh", True, False), ("pvh", False, True), ("pv", True, True)])
def test_a_guest_that_nested_paging_would_kill_gets_shadow_paging(
    source: Place,
    kind: str,
    fails: bool,  # noqa: FBT001 - a column of the table
    hap: bool,  # noqa: FBT001 - likewise
) -> None:
    host = dataclasses.replace(source.host, accelerator="tcg", hap_fails=fails)
    request = dataclasses.replace(REQUEST, type=kind)
    assert domain_spec("g", request, Address(12), boot="/b", init="/i", disks=(), host=host).hap is hap


@pytest.mark.parametrize("accelerator", ["kvm", "hardware"])
def test_a_real_cpu_pages_for_a_32_bit_kernel(source: Place, accelerator: str) -> None:
    host = dataclasses.replace(source.host, accelerator=accelerator)
    request = GuestRequest("g", "bookworm", "i386", KernelRequest("bookworm", "i386"), type="pvh")
    assert domain_spec("g", request, Address(12), boot="/b", init="/i", disks=(), host=host).hap


def test_each_guest_is_another_domain(source: Place) -> None:
    specs = [domain_spec("g", REQUEST, Address(12), boot="/b", init="/i", disks=(), host=source.host) for _ in range(2)]
    assert specs[0].uuid != specs[1].uuid


def test_a_guest_starts_is_reached_through_its_host_and_leaves_nothing(
    source: Place, image: GuestImage, tmp_path: Path, failures: list[str]
) -> None:
    with start(source, image, tmp_path) as guest:
        assert source.guests == {NAME: DomainState.RUNNING}
        assert source.network.open == [NAME]
        assert source.network.places[NAME] == "10.77.128.10:22 through xen-4.14"
        assert (tmp_path / f"{NAME}.raw").read_bytes() == b"a file system"
        assert source.disks.plugged == {
            f"{NAME}-xvda": (tmp_path / f"{NAME}.raw", False),
            "b00t": (tmp_path / "disk.raw", True),
        }
        validate((tmp_path / f"{NAME}.xml").read_text())
        assert identity((tmp_path / f"{NAME}.xml").read_text()) == identity(guest.domain.xml(soon()))
        assert guest.spec.kernel == "/run/lab/b00t/vmlinux"
    assert source.guests == {}
    assert source.network.open == []
    assert source.serials == {"b00t"}  # mounted by the host, for the next guest
    assert not (tmp_path / f"{NAME}.raw").exists()
    assert failures == []


def test_a_shelf_is_a_second_disk_that_drivers_may_write_to(source: Place, image: GuestImage, tmp_path: Path) -> None:
    shelf = tmp_path / "shelf.raw"
    with start(source, image, tmp_path, shelf=shelf) as guest:
        assert source.disks.plugged[f"{NAME}-xvdb"] == (shelf, False)
        assert [(disk.target, disk.readonly) for disk in guest.spec.disks] == [("xvda", False), ("xvdb", False)]
    assert source.serials == {"b00t"}


def test_serials_fit_into_what_a_scsi_disk_has_room_for(source: Place, image: GuestImage, tmp_path: Path) -> None:
    name = "a-guest-with-a-very-long-name-f00d-10"
    with start_guest(name, source.host, REQUEST, image, Address(10), tmp_path, deadline=soon()) as guest:
        guest.attach(tmp_path / "more", read_only=True, deadline=soon())
        assert all(len(held.serial) <= 20 for held in guest.disks.values())


@pytest.mark.parametrize("verb", ["define", "start"])
def test_a_guest_that_libvirt_refuses_leaves_nothing(
    source: Place, image: GuestImage, tmp_path: Path, failures: list[str], verb: str
) -> None:
    source.hypervisor.faults.refuse[verb] = Said(binding.INTERNAL_ERROR, binding.FROM_DRIVER, "libxl: no")
    with pytest.raises((GuestRefusedError, HostError), match="libxl: no"), start(source, image, tmp_path):
        pass
    assert (source.guests, source.serials, failures) == ({}, {"b00t"}, [])
    assert not (tmp_path / f"{NAME}.raw").exists()


@pytest.mark.parametrize("fails", [False, True])
def test_a_refusal_for_want_of_shadow_paging_says_why_it_was_asked_for(
    source: Place,
    image: GuestImage,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fails: bool,  # noqa: FBT001 - a column
) -> None:
    words = "libxl: libxl_create.c:711:libxl__domain_make: domain creation fail: Operation not supported"
    source.hypervisor.faults.refuse["start"] = Said(binding.INTERNAL_ERROR, binding.FROM_DRIVER, words)
    monkeypatch.setattr("lab.guests.guest.libxl_words", lambda *_: (words,))
    source.host = dataclasses.replace(source.host, hap_fails=fails)
    with pytest.raises(UnsupportedError, match="is built without it") as refused, start(source, image, tmp_path):
        pass
    assert ("QEMU from 9.1 on" in refused.value.message) is fails


def test_a_disk_that_cannot_be_plugged_leaves_no_other(
    source: Place, image: GuestImage, tmp_path: Path, failures: list[str]
) -> None:
    source.disks.broken = frozenset({f"{NAME}-xvdb"})
    with (
        pytest.raises(HostError, match=f"^disk {NAME}-xvdb: refused$"),
        start(source, image, tmp_path, shelf=tmp_path / "shelf.raw"),
    ):
        pass
    assert (source.serials, failures) == (set(), [])
    assert not (tmp_path / f"{NAME}.raw").exists()


def test_a_guest_that_ends_before_it_answers_is_told_by_its_last_words(
    source: Place, image: GuestImage, tmp_path: Path
) -> None:
    source.hypervisor.faults.ignore.add("start")
    log = f"/var/log/xen/console/guest-{NAME}.log"
    source.script.answers = {
        "mkdir *": "",
        "mount *": "",
        "timeout 5 sh -c until nc *": Answer(124),
        f"sh -c cat {log} 2>/dev/null | tail -c 400000": "one\ntwo\nKernel panic\nnot syncing\n---[ end ]---\n",
    }
    words = (
        f"{NAME} on xen-4.14: it ended before it answered; console: two | Kernel panic | not syncing | ---[ end ]---"
    )
    with pytest.raises(GuestError, match=f"^{re.escape(words)}$"), start(source, image, tmp_path):
        pass
    assert source.guests == {}


def test_between_the_two_lives_of_a_guest_that_reboots_nobody_takes_it_for_ended(
    source: Place, image: GuestImage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with start(source, image, tmp_path) as guest:
        source.script.answers = {
            **source.script.answers,
            "timeout 5 sh -c until nc *": [Answer(124), Answer(124), Answer(124), ""],
        }
        there = iter([False, True, False])
        monkeypatch.setattr(type(guest.domain), "is_active", lambda _self, _deadline: next(there))
        assert guest.reconnect(soon())
        monkeypatch.undo()


@pytest.mark.parametrize(("console", "words"), [("", "silent"), ("Loading\n", "Loading")])
def test_a_guest_that_never_answers_is_told_by_its_last_words(
    source: Place, image: GuestImage, tmp_path: Path, console: str, words: str
) -> None:
    # The time runs out while the host waits for the port.
    late = DeadlineError("ssh xen-4.14: not done within 5 s")
    source.script.answers = {"mkdir *": "", "mount *": "", "timeout 5 *": [Answer(124), late], "sh -c cat *": console}
    message = f"{NAME} on xen-4.14: no answer on port 22 within 20 s; console: {words}"
    with pytest.raises(GuestError, match=f"^{re.escape(message)}$"), start(source, image, tmp_path):
        pass
    assert source.guests == {}


def test_a_guest_whose_time_runs_out_between_two_waits_is_told_likewise(
    source: Place, image: GuestImage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    source.script.answers = {"mkdir *": "", "mount *": "", "timeout 5 *": Answer(124), "sh -c cat *": "Loading\n"}
    monkeypatch.setattr(FakeDisks, "watch", lambda _self: now.__setitem__(0, now[0] + 10))
    deadline = Deadline(30, clock=lambda: now[0])
    message = f"{NAME} on xen-4.14: no answer on port 22 within 30 s; console: Loading"
    with pytest.raises(GuestError, match=f"^{re.escape(message)}$"), start(source, image, tmp_path, deadline=deadline):
        pass


def test_a_host_that_dies_meanwhile_is_the_cause(
    source: Place, image: GuestImage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dies = "xen-4.14: QEMU ended with status -9"
    source.script.answers = {**source.script.answers, "timeout 5 sh -c until nc *": Answer(124)}
    looks = itertools.count()

    def watch(disks: FakeDisks) -> None:
        if next(looks) > 2:
            disks.dead = dies
            raise HostError(dies)

    monkeypatch.setattr(FakeDisks, "watch", watch)
    with pytest.raises(HostError, match=f"^{re.escape(dies)}$"), start(source, image, tmp_path):
        pass


def test_a_disk_comes_and_goes_while_the_guest_runs(
    source: Place, image: GuestImage, tmp_path: Path, failures: list[str]
) -> None:
    with start(source, image, tmp_path) as guest:
        for letter in "bc":
            assert guest.attach(tmp_path / letter, read_only=letter == "b", deadline=soon()) == f"/dev/xvd{letter}"
        disks = {disk.target: disk for disk in identity(guest.domain.xml(soon())).disks}
        assert {target: disk.readonly for target, disk in disks.items()} == {"xvda": False, "xvdb": True, "xvdc": False}
        assert disks["xvdb"].source.removeprefix("/dev/disk/by-id/scsi-0QEMU_QEMU_HARDDISK_") in source.serials
        guest.detach("/dev/xvdb", deadline=soon())
        assert [disk.target for disk in identity(guest.domain.xml(soon())).disks] == ["xvda", "xvdc"]
        assert guest.attach(tmp_path / "d", read_only=True, deadline=soon()) == "/dev/xvdb"
    assert (source.serials, failures) == ({"b00t"}, [])


def test_a_guest_moves_with_its_disks_and_is_reached_where_it_is(
    source: Place, target: Place, image: GuestImage, tmp_path: Path, failures: list[str]
) -> None:
    target.network.scripts[NAME] = FakeShell({"uname -r": "6.12.57"})
    with start(source, image, tmp_path) as guest:
        assert move(guest, target.host, "live", deadline=soon()) >= 0
        assert (source.guests, target.guests) == ({}, {NAME: DomainState.RUNNING})
        assert (source.serials, target.serials) == ({"b00t"}, {"b00t", f"{NAME}-xvda"})
        assert (source.network.open, target.network.open) == ([], [NAME])
        assert guest.host is target.host
        assert guest.shell.run("uname", "-r", deadline=soon()).text == "6.12.57"
        # It must be able to start again there.
        assert (
            "mount -o ro,noload /dev/disk/by-id/scsi-0QEMU_QEMU_HARDDISK_b00t /run/lab/b00t" in target.script.commands
        )
    assert (source.guests, target.guests, target.serials, failures) == ({}, {}, {"b00t"}, [])


def test_testinfra_follows_the_guest(source: Place, target: Place, image: GuestImage, tmp_path: Path) -> None:
    for where, name in ((source, "before"), (target, "after")):
        where.network.scripts[NAME] = FakeShell({"sh -c hostname": name})
    with start(source, image, tmp_path) as guest:
        host = guest.testinfra
        assert host.check_output("hostname") == "before"
        move(guest, target.host, "live", deadline=soon())
        assert host.check_output("hostname") == "after"


def test_a_move_that_is_refused_leaves_the_guest_where_it_was_and_nothing_over_there(
    source: Place, target: Place, image: GuestImage, tmp_path: Path, failures: list[str]
) -> None:
    target.hypervisor.bridges = frozenset()
    with start(source, image, tmp_path) as guest:
        with pytest.raises(MigrationError, match="bridge xenbr0 does not exist"):
            move(guest, target.host, "live", deadline=soon())
        assert (source.guests, target.guests) == ({NAME: DomainState.RUNNING}, {})
        assert guest.host is source.host
    assert (source.guests, source.serials, target.serials, failures) == ({}, {"b00t"}, {"b00t"}, [])


def test_a_move_that_fails_after_all_leaves_no_guest_on_either_side(
    source: Place, target: Place, image: GuestImage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # libvirt's answer is lost, and the guest is over there already.
    def lost(domain: Domain, connection: Connection, plan: MigrationPlan, deadline: Deadline) -> Migrated:
        migrate(domain, connection, plan, deadline)
        raise GuestError("migrate: the answer is lost")

    monkeypatch.setattr("lab.guests.moving.migrate", lost)
    with start(source, image, tmp_path) as guest:
        with pytest.raises(GuestError, match=r"^migrate: the answer is lost; .* running on fake:///xen-4\.20$"):
            move(guest, target.host, "live", deadline=soon())
        assert target.guests == {NAME: DomainState.RUNNING}
    assert (source.guests, target.guests) == ({}, {})
    assert (source.serials, target.serials) == ({"b00t"}, {"b00t"})


def test_a_source_that_dies_right_after_the_move_is_told_and_the_guest_goes_all_the_same(
    source: Place, target: Place, image: GuestImage, tmp_path: Path, failures: list[str]
) -> None:
    with start(source, image, tmp_path) as guest:
        source.disks.broken = frozenset({f"{NAME}-xvda"})
        with pytest.raises(HostError, match=f"^disk {NAME}-xvda: refused$"):
            move(guest, target.host, "live", deadline=soon())
    assert target.guests == {}
    assert target.serials == {"b00t"}
    assert failures == [f"unplug {NAME}-xvda of {NAME}: disk {NAME}-xvda: refused"]


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("down", ["destroy", "undefine"]),
        ("disk", ["unplug"]),
        ("all", ["destroy", "undefine", "unplug"]),
        ("none", []),
    ],
)
def test_undoing_never_raises_and_says_what_it_could_not_do(  # noqa: PLR0913, PLR0917 - three fixtures and a table
    source: Place, image: GuestImage, tmp_path: Path, failures: list[str], fault: str, told: list[str]
) -> None:
    with start(source, image, tmp_path):
        if fault in {"down", "all"}:
            source.hypervisor.faults.down = "Cannot recv data: Connection reset by peer"
        if fault in {"disk", "all"}:
            source.disks.dead = "xen-4.14: QEMU ended with status -9"
    assert [line.split()[0] for line in failures] == told
    assert not (tmp_path / f"{NAME}.raw").exists()


def test_undoing_does_not_hide_what_went_wrong_before(source: Place, image: GuestImage, tmp_path: Path) -> None:
    def break_everything() -> None:
        source.hypervisor.faults.down = "gone"
        source.disks.dead = "gone"
        raise AssertionError("bytes differ")

    with pytest.raises(AssertionError, match=r"^bytes differ$"), start(source, image, tmp_path):
        break_everything()


def test_a_guest_may_be_gone_already(source: Place, image: GuestImage, tmp_path: Path, failures: list[str]) -> None:
    with start(source, image, tmp_path) as guest:
        guest.domain.destroy(soon())
        guest.domain.undefine(soon())
    assert failures == []


def test_the_console_is_kept_by_the_host(source: Place, image: GuestImage, tmp_path: Path) -> None:
    with start(source, image, tmp_path) as guest:
        assert guest.console(deadline=soon()) == "boots"
        assert source.script.commands[-1] == (
            f"sh -c cat /var/log/xen/console/guest-{NAME}.log 2>/dev/null | tail -c 400000"
        )


def test_a_guest_that_has_rebooted_is_reached_anew(source: Place, image: GuestImage, tmp_path: Path) -> None:
    with start(source, image, tmp_path) as guest:
        before = guest.shell
        assert guest.reconnect(soon())
        assert source.network.open == [NAME]
        assert guest.shell is not before
