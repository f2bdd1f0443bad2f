"""The hosts of a stage: some that all share, some that one cell has for itself."""

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
from lab.errors import GuestError, HostError, UsageError
from lab.guests.poised import AS_BOOTED
from lab.hosts.run_folder import RunFolder
from lab.keys import Keys
from lab.scenario.cell import GuestRequest, HostRequest, KernelRequest
from lab.stage.hosts import HostPool
from lab.testing.host import FakeDisks, fake_host
from lab.testing.hypervisor import FakeHypervisor

GUEST = GuestRequest("web32", "bookworm", "i386", KernelRequest("trixie"))
OLD, NEW = HostRequest("source", "4.14"), HostRequest("target", "4.20")


def soon() -> Deadline:
    return Deadline(20)


@dataclass
class World:
    """What the pool asks for, in order, and the pool itself."""

    folder: Path
    pool: HostPool
    stack: ExitStack
    log: list[str] = field(default_factory=list)
    trouble: Exception | None = None

    @contextmanager
    def embedded(self, _cache: Any, recipe: Any, _keys: Any, _run: Any, *, network: Any, **more: Any) -> Iterator[Any]:
        if self.trouble is not None:
            raise self.trouble
        number = len(self.log)
        self.log.append(f"host {recipe.name} on {network}, {more['accelerator']}")
        folder = self.folder / str(number)
        folder.mkdir()
        yield fake_host(recipe.name, folder, FakeHypervisor(uri=f"fake:///{number}"))
        self.log.append(f"end {recipe.name}")

    @contextmanager
    def poised(self, _ground: Any, recipe: Any, request: Any, ready: Any, _run: Any, **more: Any) -> Iterator[Any]:
        shelf, network = more["shelf"], more["network"]
        with self.embedded(None, recipe, None, None, network=network, accelerator="tcg") as host:
            self.log.append(f"guest {request.name}, {ready.key}, {shelf}")
            yield SimpleNamespace(host=host, name=request.name)

    @contextmanager
    def network(self, folder: Path, stations: list[int], *, deadline: Deadline) -> Iterator[str]:
        deadline.check("network")
        self.log.append(f"network {folder.name} of {stations}")
        yield folder.name
        self.log.append(f"end {folder.name}")

    def names(self) -> list[str]:
        return [host.name for host in self.pool.up()]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    keys = Keys(tmp_path / "user", tmp_path / "host")
    for key in (keys.user, keys.host):
        key.touch()
        key.with_suffix(".pub").write_text("ssh-ed25519 AAAA lab\n")
    run = RunFolder("feed0000", tmp_path / "run", tmp_path / "s")
    with ExitStack() as stack:
        pool = HostPool(Cache(tmp_path), keys, run, "tcg", stack)
        pool.__dict__["accelerator"] = SimpleNamespace(name="tcg")  # what the probe would have found
        made = World(tmp_path, pool, stack)
        monkeypatch.setattr("lab.stage.hosts.embedded_host", made.embedded)
        monkeypatch.setattr("lab.stage.hosts.poised_guest", made.poised)
        monkeypatch.setattr("lab.stage.hosts.private_network", made.network)
        yield made


NET = "network net-{} of [14, 17, 20]"


def test_a_cell_has_its_guest_and_both_hosts_for_itself(world: World) -> None:
    pool = world.pool
    with pool.private_network(soon()) as network:
        with pool.guest(OLD, GUEST, AS_BOOTED, network=network, deadline=soon()) as guest:
            assert world.names() == ["xen-4.14"]
            with pool.own(NEW, network=network, deadline=soon()) as target:
                assert world.names() == ["xen-4.14", "xen-4.20"]
                # It moves; the host that it came with is still the other one.
                guest.host = target
            assert world.names() == ["xen-4.14"]
        assert world.names() == []
    assert world.log == [
        NET.format(0),
        "host xen-4.14 on net-0, tcg",
        "guest web32, booted 1, None",
        "host xen-4.20 on net-0, tcg",
        "end xen-4.20",
        "end xen-4.14",
        "end net-0",
    ]
    assert [facts.name for facts in pool.seen] == ["xen-4.14", "xen-4.20"]


def test_two_cells_never_share_a_host_or_a_network(world: World) -> None:
    pool = world.pool
    for _ in range(2):
        with pool.private_network(soon()) as network, pool.own(NEW, network=network, deadline=soon()):
            pass
    assert [line for line in world.log if line.startswith("host")] == [
        "host xen-4.20 on net-0, tcg",
        "host xen-4.20 on net-1, tcg",
    ]
    assert len(pool.seen) == 1


def test_a_guest_alone_has_no_network_and_may_have_a_shelf(world: World, tmp_path: Path) -> None:
    with world.pool.guest(NEW, GUEST, AS_BOOTED, shelf=tmp_path / "shelf.raw", deadline=soon()):
        pass
    assert world.log[:2] == ["host xen-4.20 on None, tcg", f"guest web32, booted 1, {tmp_path}/shelf.raw"]


def test_a_cell_that_fails_leaves_no_host_of_its_own_behind(world: World) -> None:
    with (
        pytest.raises(GuestError, match=r"^it panicked$"),
        world.pool.guest(OLD, GUEST, AS_BOOTED, deadline=soon()),
    ):
        raise GuestError("it panicked")
    assert world.names() == []


def test_a_host_that_does_not_come_up_is_not_up_and_was_not_seen(world: World) -> None:
    world.trouble = HostError("xen-4.14: QEMU ended with status 1")
    with (
        pytest.raises(HostError, match=r"^xen-4\.14: QEMU ended with status 1$"),
        world.pool.guest(OLD, GUEST, AS_BOOTED, deadline=soon()),
    ):
        raise AssertionError
    with pytest.raises(HostError, match=r"^xen-4\.14: QEMU ended with status 1$"):
        world.pool.host(OLD, soon())
    assert (world.names(), world.pool.seen) == ([], ())


def test_shared_hosts_come_once_stay_and_share_one_network(world: World) -> None:
    pool = world.pool
    first = pool.host(OLD, soon())
    pool.host(NEW, soon())
    assert pool.host(OLD, soon()) is first
    assert world.log == [NET.format(0), "host xen-4.14 on net-0, tcg", "host xen-4.20 on net-0, tcg"]
    with pool.own(NEW, network=pool.network, deadline=soon()):
        assert world.names() == ["xen-4.14", "xen-4.20", "xen-4.20"]
    assert world.names() == ["xen-4.14", "xen-4.20"]
    world.stack.close()
    assert world.log[-3:] == ["end xen-4.20", "end xen-4.14", "end net-0"]


def test_a_shared_host_that_has_died_is_told_once_and_replaced(world: World) -> None:
    pool = world.pool
    first = pool.host(NEW, soon())
    assert isinstance(first.disks, FakeDisks)
    first.disks.dead = "xen-4.20: QEMU ended with status -9"
    with pytest.raises(HostError) as caught:
        pool.host(NEW, soon())
    assert str(caught.value) == "xen-4.20: QEMU ended with status -9\n  hint: the next cell gets a fresh host"
    assert world.names() == []
    assert world.log[-1] == "end xen-4.20"
    assert pool.host(NEW, soon()) is not first


def test_a_host_of_the_inventory_without_a_hosts_file(world: World) -> None:
    listed = HostRequest("source", inventory="rack-7")
    for enter in (
        lambda: world.pool.guest(listed, GUEST, AS_BOOTED, deadline=soon()),
        lambda: world.pool.own(listed, network=None, deadline=soon()),
        lambda: world.pool.together(listed, replace(listed, inventory="rack-8"), soon()),
        lambda: world.pool.lodger(listed, GUEST, soon()),
    ):
        with pytest.raises(UsageError, match=r"^rack-7: a host of the inventory, and no hosts file was named"), enter():
            raise AssertionError


def test_two_embedded_hosts_have_a_network_for_a_move_and_no_other_has_both_kinds(world: World) -> None:
    with world.pool.together(OLD, NEW, soon()) as network:
        assert network is not None
    listed = HostRequest("target", inventory="rack-7")
    words = (
        "xen-4.14 and rack-7: a guest cannot move between an embedded host and one of the inventory, which no network"
        " joins"
    )
    with pytest.raises(UsageError) as mixed, world.pool.together(OLD, listed, soon()):
        raise AssertionError
    assert str(mixed.value) == words
    guest: Any = SimpleNamespace(name="web32", host=world.pool.host(OLD, soon()))
    with pytest.raises(UsageError) as mixed:
        world.pool.destination(guest, listed, soon())
    assert str(mixed.value) == words
    assert world.pool.destination(guest, NEW, soon()).name == "xen-4.20"
