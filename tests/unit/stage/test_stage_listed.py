"""Hosts of the user's own in a stage: reached once, lost for good, and leased to one cell at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lab.cache import Cache
from lab.deadline import Deadline
from lab.errors import DeadlineError, HostError, UsageError
from lab.guests.guest import Address
from lab.guests.poised import Readiness
from lab.hosts.host import Host
from lab.hosts.run_folder import RunFolder
from lab.keys import Keys
from lab.scenario.cell import GuestRequest, HostRequest, KernelRequest
from lab.scenario.inventory import Inventory, ListedHost
from lab.stage.hosts import HostPool
from lab.testing.host import FakeDisks, fake_host
from lab.testing.hypervisor import FakeHypervisor

GUEST = GuestRequest("web32", "bookworm", "i386", KernelRequest("trixie"))
OLD, NEW = HostRequest("source", "4.14", "rack-1"), HostRequest("target", inventory="rack-2")
NOTHING = Readiness("as it is", lambda _guest, _deadline: None)
INVENTORY = Inventory("hosts.yaml", {name: ListedHost(name, name, n) for n, name in enumerate(("rack-1", "rack-2"), 1)})


def soon() -> Deadline:
    return Deadline(20)


@dataclass
class World:
    """Hosts that are reached, leased and given guests in name; ``log`` says in which order."""

    folder: Path
    stack: ExitStack
    log: list[str] = field(default_factory=list)
    trouble: dict[str, Exception] = field(default_factory=dict)
    pool: HostPool = field(init=False)

    @contextmanager
    def reach(self, listed: ListedHost, place: Any, _keys: Any, _exports: Any, *, deadline: Deadline) -> Iterator[Host]:
        deadline.check(listed.name)
        self.log.append(f"reach {listed.name} at {place.folder.name}")
        if listed.name in self.trouble:
            raise self.trouble[listed.name]
        host = fake_host(listed.name, self.folder, FakeHypervisor(uri=f"fake:///{listed.name}"))
        yield replace(host, facts=replace(host.facts, kind="inventory", xen="4.14.6"))
        self.log.append(f"leave {listed.name}")

    @contextmanager
    def lease(self, host: Host, *, deadline: Deadline) -> Iterator[None]:
        deadline.check(host.name)
        self.log.append(f"take {host.name}")
        yield
        self.log.append(f"give back {host.name}")

    @contextmanager
    def image(self, *_words: Any, deadline: Deadline) -> Iterator[str]:
        deadline.check("image")
        yield "image"

    @contextmanager
    def start(self, name: str, host: Host, _request: Any, _image: Any, address: Address, *_: Any, **__: Any) -> Any:
        self.log.append(f"start {name} on {host.name} at {address.ip}")
        yield SimpleNamespace(name=name, host=host)
        self.log.append(f"end {name}")


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    for name in ("run", "s"):
        (tmp_path / name).mkdir()
    with ExitStack() as stack:
        made = World(tmp_path, stack)
        run, keys = RunFolder("feed0000", tmp_path / "run", tmp_path / "s"), Keys(tmp_path / "user", tmp_path / "host")
        made.pool = HostPool(Cache(tmp_path), keys, run, "tcg", stack, INVENTORY)
        monkeypatch.setattr("lab.stage.listed.inventory_host", made.reach)
        monkeypatch.setattr("lab.stage.listed.leased", made.lease)
        monkeypatch.setattr("lab.stage.hosts.obtain_guest_image", made.image)
        monkeypatch.setattr("lab.stage.hosts.start_guest", made.start)
        yield made


def test_a_move_has_both_hosts_for_itself_whichever_way_it_goes(world: World) -> None:
    for source, target in ((OLD, NEW), (replace(NEW, role="source"), replace(OLD, role="target"))):
        with world.pool.together(source, target, soon()) as network:
            assert network is None
            with world.pool.own(target, network=network, deadline=soon()) as host:
                assert host.name == target.name
    world.stack.close()
    assert world.log == [
        "reach rack-1 at h1",
        "take rack-1",
        "reach rack-2 at h2",
        "take rack-2",
        "give back rack-2",
        "give back rack-1",
        *("take rack-1", "take rack-2", "give back rack-2", "give back rack-1"),
        "leave rack-2",
        "leave rack-1",
    ]


def test_a_guest_is_booted_and_made_ready_where_there_are_no_snapshots(world: World) -> None:
    ready = Readiness("r", lambda guest, _deadline: world.log.append(f"make {guest.name} ready"))
    for _ in range(2):
        with world.pool.guest(OLD, GUEST, ready, deadline=soon()) as guest:
            assert guest.host.name == "rack-1"
    assert world.log[1:6] == [
        "take rack-1",
        "start web32-feed-266 on rack-1 at 10.77.129.10",
        "make web32-feed-266 ready",
        "end web32-feed-266",
        "give back rack-1",
    ]
    assert "start web32-feed-267 on rack-1 at 10.77.129.11" in world.log
    assert [facts.name for facts in world.pool.seen] == ["rack-1"]


def test_nothing_that_is_nested_is_asked_for(world: World) -> None:
    with world.pool.guest(NEW, GUEST, NOTHING, deadline=soon()):
        pass
    assert "accelerator" not in world.pool.__dict__


def test_a_guest_of_a_plain_test_keeps_the_hosts_that_it_has_been_to(world: World) -> None:
    with world.pool.lodger(OLD, GUEST, soon()) as guest:
        world.pool.destination(guest, NEW, soon())
        assert [line for line in world.log if "back" in line] == []
    assert world.log[-3:] == ["end web32-feed-266", "give back rack-1", "give back rack-2"]
    world.log.clear()
    assert world.pool.host(NEW, soon()).name == "rack-2"  # to look at a host needs no lease
    assert world.log == []


@pytest.mark.parametrize(
    "trouble", [HostError("rack-1: ssh does not get there: refused"), DeadlineError("ssh: not done within 5 s")]
)
def test_a_host_that_cannot_be_reached_is_asked_once(world: World, trouble: Exception) -> None:
    world.trouble["rack-1"] = trouble
    for _ in range(3):
        with pytest.raises(HostError) as lost, world.pool.guest(OLD, GUEST, NOTHING, deadline=soon()):
            raise AssertionError
    assert str(lost.value).startswith("rack-1: ssh")
    assert lost.value.hint == "it is not tried again in this run"
    assert world.log == ["reach rack-1 at h1"]
    with world.pool.guest(NEW, GUEST, NOTHING, deadline=soon()):
        pass  # the other one goes on


def test_a_host_that_has_died_stays_dead_with_its_first_cause(world: World) -> None:
    disks = world.pool.host(OLD, soon()).disks
    assert isinstance(disks, FakeDisks)
    disks.dead = "rack-1: connection lost"
    for _ in range(2):
        with pytest.raises(HostError, match=r"^rack-1: connection lost"):
            world.pool.host(OLD, soon())
        disks.dead = ""
    assert world.pool.up() == ()


def test_a_host_that_runs_another_xen_than_the_scenario_says(world: World) -> None:
    world.pool.host(OLD, soon())
    world.pool.host(replace(OLD, dom0="i386"), soon())
    with pytest.raises(UsageError) as other:
        world.pool.host(replace(OLD, xen="4.1"), soon())
    assert str(other.value) == (
        "rack-1: runs Xen 4.14.6, and the scenario says 4.1\n  hint: leave xen out, or name another host"
    )


def test_guests_of_two_hosts_never_share_an_address(world: World) -> None:
    first = {world.pool.listed.address(OLD).ip for _ in range(300)}
    second = {world.pool.listed.address(NEW).mac for _ in range(300)}
    assert len(first) == 240
    assert {ip.rpartition(".")[0] for ip in first} == {"10.77.129"}
    assert {mac[:15] for mac in second} == {"00:16:3e:77:02:"}


def test_a_connection_that_was_given_up_is_made_anew_for_the_next_cell(world: World) -> None:
    first = world.pool.host(OLD, soon())
    first.connection.close()
    assert first.connection.broken
    again = world.pool.host(OLD, soon())
    assert again.connection.broken is None
    assert again.mounted is first.mounted
    assert world.pool.host(OLD, soon()) is again
