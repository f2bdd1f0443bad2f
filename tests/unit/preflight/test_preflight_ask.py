"""Asking hosts: which guests are meant, how a host is reached, and the one call that a stage makes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lab.cache import Cache
from lab.deadline import Deadline
from lab.errors import HostError, UnknownNameError, UsageError
from lab.hosts.living import living
from lab.hypervisor.binding import Said
from lab.preflight import Decision, Move, guests_of, preflight, preflight_of, way_to
from lab.preflight.past import Past
from lab.preflight.reach import Ssh, ssh_of
from lab.scenario.inventory import Inventory, ListedHost
from lab.testing.host import fake_host
from lab.testing.hypervisor import FakeConnection, FakeHypervisor
from lab.testing.shell import FakeShell
from tests.unit.fake_runs import fake_run
from tests.unit.preflight.hosts import INSIDE, SOON, hypervisor, side, told
from tests.unit.preflight.questions import cell, past


class Web:
    """A guest of the lab's."""

    name = "web"
    shell = FakeShell({"sh -c *": INSIDE})


def test_both_hosts_are_asked_once_for_all_guests() -> None:
    source = side("old", hypervisor("web", "db"), within={"web": FakeShell({"sh -c *": INSIDE})})
    target = side("new", hypervisor(xen="4.15", libvirt="7.10.0"), told().replace("4.14.6", "4.15.2"))
    found = preflight(source, target, ("web", "db"), Move(), past(cell()), deadline=SOON)
    assert [(one.guest, one.decision) for one in found] == [("web", Decision.GO), ("db", Decision.GO)]
    assert [one.words for one in found[1].of(Decision.WARN)] == ["which kernel it runs is unknown: there is no way in"]
    for one in (source, target):
        assert isinstance(one.shell, FakeShell)
        assert len(one.shell.asked) == 1


def test_which_guests_are_meant() -> None:
    world = hypervisor("web", "db")
    with world.connect(deadline=SOON) as connection:
        connection.domain("db", SOON).destroy(SOON)
    here = side("old", world)
    assert guests_of(here, (), Move(), deadline=SOON) == ("web",)
    assert guests_of(here, ("all",), Move("cold"), deadline=SOON) == ("db", "web")
    assert guests_of(here, ("db", "web", "db"), Move(), deadline=SOON) == ("db", "web")
    for wanted, said in (
        (("wbe",), "no guest on old 'wbe'; known: db, web\n  hint: did you mean 'web'?"),
        (("all", "web"), "all, and web: which is meant?"),
        (("Domain-0",), "Domain-0 on old is the host itself, and cannot be moved"),
    ):
        with pytest.raises((UsageError, UnknownNameError)) as caught:
            guests_of(here, wanted, Move(), deadline=SOON)
        assert str(caught.value) == said
    with pytest.raises(UsageError) as caught:
        guests_of(side("new", hypervisor()), (), Move(), deadline=SOON)
    assert str(caught.value) == "new has no guest that runs\n  hint: see lab guest ls"


def test_a_stage_asks_for_one_guest(tmp_path: Path) -> None:
    source = fake_host("xen-4.14", tmp_path, hypervisor("web"), script=FakeShell({"sh -c *": told()}))
    bare = told(places="place 0 absent\nplace 1 absent\n").replace("4.14.6", "4.15.2")
    world = hypervisor(xen="4.15", libvirt="7.10.0")
    target = fake_host("xen-4.15", tmp_path, world, script=FakeShell({"sh -c *": bare}))
    lacking = preflight_of(source, target, Web(), Move(), past(cell()), deadline=SOON)
    assert lacking.facts == {"preflight": "no-go", "preflight_rules": "disk"}
    brings = Move(brings=frozenset({"/dev/disk/by-id", "/boot"}))
    assert preflight_of(source, target, Web(), brings, past(cell()), deadline=SOON).facts == {"preflight": "go"}
    assert preflight_of(source, target, Web(), brings, deadline=SOON).facts["preflight"] == "untested"


def test_a_stage_asks_for_the_way_back_too(tmp_path: Path) -> None:
    here = told().replace("free_memory            : 700", "free_memory            : 0")
    source = fake_host("xen-4.14", tmp_path, hypervisor("web"), script=FakeShell({"sh -c *": here}))
    there = told().replace("4.14.6", "4.15.2")
    world = hypervisor(xen="4.15", libvirt="7.10.0")
    target = fake_host("xen-4.15", tmp_path, world, script=FakeShell({"sh -c *": there}))
    seen = past(cell(trip="there-and-back"))
    found = preflight_of(source, target, Web(), Move(), seen, back=Move(), deadline=SOON)
    # On the way back its name is free again where it was, and so is its memory.
    assert found.facts == {"preflight": "go", "trip": "there-and-back"}
    assert {one.rule for one in found.of(Decision.WARN)} == {"back:xen-version", "back:libvirt-version"}
    only_there = preflight_of(source, target, Web(), Move(), past(cell()), back=Move(), deadline=SOON)
    assert only_there.facts == {
        "preflight": "untested",
        "preflight_rules": "back:xen-version,back:libvirt-version,back:past",
        "trip": "there-and-back",
    }


@pytest.mark.parametrize(
    ("uri", "words", "name"),
    [
        ("xen+ssh://alpha/system", ("alpha",), "alpha"),
        ("xen+ssh://root@alpha:2222/system", ("-l", "root", "-p", "2222", "alpha"), "alpha"),
        ("xen+libssh2://root@[fe80::1]/", ("-l", "root", "fe80::1"), "fe80::1"),
    ],
)
def test_a_uri_names_a_host_for_ssh(uri: str, words: tuple[str, ...], name: str) -> None:
    found, short = ssh_of(uri)
    options = ("-o", "BatchMode=yes", "-o", "ConnectTimeout=20", "-o", "LogLevel=ERROR")
    assert (found, short) == (("ssh", *options, *words), name)


@pytest.mark.parametrize(
    "uri", ["qemu+ssh://alpha/system", "xen:///system", "xen+ssh:///system", "xen+ssh://a/session"]
)
def test_a_uri_of_something_else_is_refused(uri: str) -> None:
    with pytest.raises(UsageError) as caught:
        ssh_of(uri)
    said = f"{uri!r} is no Xen host that ssh reaches"
    assert str(caught.value) == f"{said}\n  hint: such as xen+ssh://root@alpha/system, or see lab host ls"


def test_a_port_that_is_none_is_refused() -> None:
    with pytest.raises(UsageError, match=r"^'xen\+ssh://a:99999/system': Port out of range"):
        ssh_of("xen+ssh://a:99999/system")


def test_a_host_that_ssh_does_not_reach_is_trouble(tmp_path: Path) -> None:
    program = tmp_path / "ssh"
    program.write_text('#!/bin/sh\nshift 1\n[ "$3" = false ] && exit 3\necho "ssh: no route" >&2\nexit 255\n')
    program.chmod(0o755)
    shell = Ssh((str(program), "-q", "alpha"), "alpha")
    done = shell.run("false", deadline=SOON)
    assert (done.argv, done.status) == (("false",), 3)
    with pytest.raises(HostError) as caught:
        shell.run("true", deadline=SOON)
    assert str(caught.value) == (
        f"alpha: no ssh connection: ssh: no route\n  hint: try it yourself: {program} -q alpha true"
    )


@contextmanager
def connected(world: FakeHypervisor, uris: list[str]) -> Iterator[FakeConnection]:
    with world.connect(deadline=SOON) as connection:
        yield connection
    uris.append("closed")


def test_hosts_of_a_live_run_are_reached_on_its_connections(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uris: list[str] = []

    def connect(uri: str, *, deadline: object) -> object:
        del deadline
        uris.append(uri)
        return connected(hypervisor("web"), uris)

    monkeypatch.setattr("lab.preflight.reach.connect", connect)
    with fake_run(Cache(tmp_path / "cache")) as run:
        run.host("xen-4.14")
        run.guest("web", "xen-4.14", at=0)
        runs = living(Cache(tmp_path / "cache"))
        with way_to("xen-4.14", runs)(SOON) as found:
            assert found.name == "xen-4.14"
            assert found.within("web") is None  # nobody holds a connection to it
            assert uris == [f"xen+unix:///system?socket={run.sockets}/xen-4.14/libvirt"]
        with pytest.raises(UnknownNameError) as caught, way_to("xen-4.20", runs)(SOON):
            pass
        assert str(caught.value) == "no live host 'xen-4.20'; known: xen-4.14\n  hint: did you mean 'xen-4.14'?"
    with way_to("xen+ssh://alpha/system", ())(SOON) as found:
        assert found.name == "alpha"
    assert uris[1:] == ["closed", "xen+ssh://alpha/system?no_tty=1", "closed"]


class ForwardingShell(FakeShell):
    """A shell whose connection carries sockets."""

    def __init__(self) -> None:
        super().__init__({"sh -c *": "socket /run/libvirt/libvirt-sock\nend\n"})
        self.seen: list[tuple[str, str]] = []

    def forward(self, local: Path, remote: str, *, deadline: Deadline) -> None:
        del deadline
        self.seen.append((local.name, remote))


def test_a_listed_host_is_reached_by_one_login_that_carries_libvirts(monkeypatch: pytest.MonkeyPatch) -> None:
    uris: list[str] = []
    shell = ForwardingShell()

    @contextmanager
    def login(host: ListedHost, folder: Path, *, deadline: Deadline) -> Iterator[ForwardingShell]:
        del deadline
        shell.seen.append((host.machine, folder.name.split("-")[0]))
        yield shell
        shell.seen.append(("closed", ""))

    def connect(uri: str, *, deadline: object) -> object:
        del deadline
        uris.append(Path(uri).name)
        return connected(hypervisor("web"), uris)

    monkeypatch.setattr("lab.preflight.reach.connected", login)
    monkeypatch.setattr("lab.preflight.reach.connect", connect)
    inventory = Inventory("hosts.yaml", {"old": ListedHost("old", "alpha", 0)})
    with way_to("old", (), inventory=inventory)(SOON) as found:
        assert (found.name, found.within("web")) == ("old", None)
    assert uris == ["libvirt", "closed"]
    assert shell.seen == [("alpha", "preflight"), ("libvirt", "/run/libvirt/libvirt-sock"), ("closed", "")]
    shell.answers = {"sh -c *": "end\n"}
    with (
        pytest.raises(HostError, match="old: libvirt has no socket there"),
        way_to("old", (), inventory=inventory)(SOON),
    ):
        pass
    with (
        pytest.raises(UnknownNameError, match=r"no live host or host in hosts\.yaml 'new'; known: old"),
        way_to("new", (), inventory=inventory)(SOON),
    ):
        pass


def test_nothing_but_questions_is_put_to_a_host() -> None:
    worlds = hypervisor("web"), hypervisor()
    changing = ("define", "start", "destroy", "undefine", "shutdown", "suspend", "resume", "save", "migrate")
    for world in worlds:
        world.faults.refuse = {verb: Said(1, 0, f"{verb} was asked for") for verb in changing}
    found = preflight(side("old", worlds[0]), side("new", worlds[1]), ("web",), Move(), Past(), deadline=SOON)
    assert found[0].decision is Decision.UNTESTED
