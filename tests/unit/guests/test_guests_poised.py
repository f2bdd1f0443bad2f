"""Guests that were frozen with their hosts: made once, and come back each with files of its own."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from lab import events
from lab.cache import Cache
from lab.deadline import Deadline
from lab.debian.kernel import Kernel
from lab.errors import GuestError, HostError, LabError
from lab.guests.guest import Guest
from lab.guests.image import BootFiles, GuestImage
from lab.guests.poised import Ground, Poised, Readiness, obtain_poised, poised_guest
from lab.hosts.embedded.host import Embedded
from lab.hosts.embedded.qemu import Plug
from lab.hosts.embedded.snapshot import Snapshot
from lab.hosts.host import Host
from lab.hosts.run_folder import Place, RunFolder
from lab.hypervisor import DomainState
from lab.scenario.cell import GuestRequest, KernelRequest
from lab.testing.host import FakeDisks, FakeNetwork, fake_host
from lab.testing.hypervisor import FakeHypervisor
from lab.testing.shell import Answer, FakeShell

REQUEST = GuestRequest("web32", "bookworm", "i386", KernelRequest("trixie"))
NOTHING: Any = None
RECIPE: Any = type("Recipe", (), {"name": "xen-4.20"})()


def soon() -> Deadline:
    return Deadline(20)


@dataclass(slots=True)
class Bus(FakeDisks):
    """Disks with addresses, as an embedded host has them."""

    plugs: dict[str, Plug] = field(default_factory=dict)

    def plug(self, image: Path, serial: str, *, read_only: bool, sector: int, deadline: Deadline) -> str:
        path = FakeDisks.plug(self, image, serial, read_only=read_only, sector=sector, deadline=deadline)
        self.plugs[serial] = Plug(image, serial, len(self.plugs), read_only, sector)
        return path


class Alike(dict[str, FakeShell]):
    """The same script for whoever is asked for."""

    def setdefault(self, key: str, default: FakeShell | None = None) -> FakeShell:
        return super().setdefault(key, self.get("xen-4.20", default or FakeShell()))


@dataclass
class World:
    """Where guests are frozen and come back: one hypervisor, whose domains are still there when its host returns."""

    folder: Path
    cache: Cache
    run: RunFolder
    under: Snapshot
    image: GuestImage
    hypervisor: FakeHypervisor = field(default_factory=FakeHypervisor)
    lives: list[tuple[Snapshot, Place, object]] = field(default_factory=list)
    hosts: list[Host] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    freezes: list[dict[str, Plug]] = field(default_factory=list)
    no_memory: str = ""
    frozen: list[set[DomainState]] = field(default_factory=list)
    silent: int = 0
    """How many returns more leave a guest that does not answer."""

    @property
    def ground(self) -> Ground:
        return Ground(self.cache, NOTHING, "tcg")

    @property
    def guests(self) -> dict[str, DomainState]:
        return {record.identity.name: record.state for record in self.hypervisor.records.values()}

    @contextlib.contextmanager
    def resumed(
        self, snapshot: Snapshot, recipe: Any, _keys: Any, place: Place, *, network: object, **_more: Any
    ) -> Iterator[Embedded]:
        place.sockets.mkdir(exist_ok=True)
        (place.sockets / "qmp").touch()
        self.lives.append((snapshot, place, network))
        silent = snapshot is not self.under and self.silent > 0
        self.silent -= silent
        script = FakeShell(
            {
                "mkdir *": "",
                "mount *": "",
                "timeout *": "",
                "sh -c cat *": "boots\n",
                "told set *": Answer(255, stderr="no route to host") if silent else "1795000000.5",
                "told now": "1795000000.5",
                "sync": "",
                "python3 *": "",
            }
        )
        host = fake_host(recipe.name, place.folder, self.hypervisor, script=script)
        assert isinstance(host.network, FakeNetwork)
        disks = Bus(plugs={plug.serial: plug for plug in snapshot.plugs})
        disks.plugged = {plug.serial: (plug.image, plug.read_only) for plug in snapshot.plugs}
        network_ = dataclasses.replace(host.network, scripts=Alike(host.network.scripts))
        host = dataclasses.replace(host, network=network_, disks=disks)
        self.hosts.append(host)
        try:
            yield Embedded(host, NOTHING, disks.plugs, lambda: self.left.append(place.folder.name))
        finally:
            (place.sockets / "qmp").unlink()

    def save_memory(self, _machine: object, into: Path, *, deadline: Deadline) -> None:
        deadline.check("snapshot")
        self.frozen.append(set(self.guests.values()))
        assert self.left[-1] == into.parent.name  # nobody is connected to what is frozen
        if self.no_memory:
            raise HostError(self.no_memory)
        disks = self.hosts[-1].disks
        assert isinstance(disks, Bus)
        self.freezes.append(dict(disks.plugs))
        into.write_bytes(b"memory")

    def poise(self, readiness: Readiness, request: GuestRequest = REQUEST) -> Poised:
        with obtain_poised(self.ground, RECIPE, request, readiness, deadline=soon()) as poised:
            return poised

    @contextlib.contextmanager
    def guest(self, readiness: Readiness, **more: Any) -> Iterator[Guest]:
        with poised_guest(self.ground, RECIPE, REQUEST, readiness, self.run, deadline=soon(), **more) as guest:
            yield guest


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    folders = {name: tmp_path / name for name in ("snapshot", "boot", "guest", "run", "s")}
    for folder in folders.values():
        folder.mkdir()
    (folders["boot"] / "disk.raw").write_bytes(b"a kernel")
    (folders["guest"] / "disk.raw").write_bytes(b"a file system")
    boot = BootFiles("b00t", Kernel(tmp_path, "6.12.57-cloud-amd64", "6.12.57-1", "amd64"), folders["boot"])
    made = World(
        tmp_path,
        Cache(tmp_path / "cache"),
        RunFolder("feed0000", folders["run"], folders["s"]),
        Snapshot(folders["snapshot"], NOTHING, NOTHING),
        GuestImage(folders["guest"] / "disk.raw", boot, "/sbin/init"),
    )

    @contextlib.contextmanager
    def given(thing: Callable[[], Any]) -> Iterator[Any]:
        yield thing()

    monkeypatch.setattr("lab.guests.poised.resumed", made.resumed)
    monkeypatch.setattr("lab.clock.time.time", lambda: 1795000000.5)
    monkeypatch.setattr("lab.guests.poised.save_memory", made.save_memory)
    monkeypatch.setattr("lab.guests.poised.obtain_guest_image", lambda *_, **__: given(lambda: made.image))
    monkeypatch.setattr("lab.guests.poised.obtain_snapshot", lambda *_, **__: given(lambda: made.under))
    return made


def ready(key: str = "ready 1", *, shelf: int = 0, made: list[str] | None = None) -> Readiness:
    def make(guest: Guest, deadline: Deadline) -> None:
        deadline.check("make ready")
        guest.disks["xvda"].image.write_bytes(b"a file system, made ready")
        if made is not None:
            made.append(guest.name)

    return Readiness(key, make, shelf)


def test_a_guest_is_frozen_once_with_its_host_and_all_that_it_has(world: World) -> None:
    made: list[str] = []
    poised = world.poise(ready(made=made))
    again = world.poise(ready(made=made))
    assert again == poised
    assert made == [poised.name]
    assert len(world.freezes) == 1
    # It still runs, with its disks, in what was frozen: nothing was undone there.
    assert world.guests == {poised.name: DomainState.RUNNING}
    (snapshot, place, network), *others = world.lives
    assert (snapshot, network, others) == (world.under, None, [])
    assert place.folder == poised.folder.with_name(f"{poised.key}.building")
    assert not place.sockets.exists()
    assert poised.disk.read_bytes() == b"a file system, made ready"
    assert world.image.disk.read_bytes() == b"a file system"
    assert (poised.folder / "memory.zst").read_bytes() == b"memory"


def test_what_the_host_had_plugged_is_kept_by_what_it_is(world: World) -> None:
    poised = world.poise(ready(shelf=1 << 30))
    xvda, xvdb = f"{poised.name[-15:]}-xvda", f"{poised.name[-15:]}-xvdb"
    entries = json.loads((poised.folder / "plugs.json").read_text())
    assert entries == [
        {"role": "xvda", "serial": xvda, "target": 0, "read_only": False, "sector": 512},
        {"role": "xvdb", "serial": xvdb, "target": 1, "read_only": False, "sector": 512},
        {"role": "boot", "serial": "b00t", "target": 2, "read_only": True, "sector": 512},
    ]
    frozen = world.freezes[0]
    assert frozen[xvdb].image.name == "shelf.raw"
    # Read back, each is as it was but for its file, which only a return knows.
    read = {plug.serial: (role, plug) for role, plug in poised.plugs}
    assert {serial: role for serial, (role, _) in read.items()} == {xvda: "xvda", xvdb: "xvdb", "b00t": "boot"}
    for serial, (_, plug) in read.items():
        assert plug == dataclasses.replace(frozen[serial], image=poised.folder)
    # 4 TiB of nothing are not kept.
    assert sorted(path.name for path in poised.folder.iterdir()) == [
        "memory.zst",
        "plugs.json",
        poised.disk.name,
        poised.disk.with_suffix(".xml").name,
    ]


def test_it_comes_back_with_a_copy_of_its_disk_that_it_may_write(world: World) -> None:
    network = object()
    with world.guest(ready(), network=network) as guest:
        poised = world.poise(ready())
        snapshot, place, joined = world.lives[-1]
        assert (snapshot.folder, joined) == (poised.folder, network)
        assert place.folder == world.run.path / "xen-4.20"
        own = guest.disks["xvda"].image
        assert own == place.folder / poised.disk.name
        assert own.read_bytes() == b"a file system, made ready"
        own.write_bytes(b"scribbled over")
        assert poised.disk.read_bytes() == b"a file system, made ready"
        assert {plug.serial: plug.image for plug in snapshot.plugs} == {
            guest.disks["xvda"].serial: own,
            "b00t": world.image.boot.disk,
        }
        assert {plug.serial: plug.target for plug in snapshot.plugs} == {
            serial: plug.target for serial, plug in world.freezes[0].items()
        }
    with world.guest(ready()) as guest:
        assert guest.disks["xvda"].image.read_bytes() == b"a file system, made ready"
    assert len(world.freezes) == 1


def test_it_is_the_guest_that_it_was(world: World) -> None:
    poised = world.poise(ready())
    record = world.hypervisor.record(poised.name)
    with world.guest(ready()) as guest:
        assert (guest.name, guest.address, guest.domain.uuid) == (poised.name, poised.address, record.identity.uuid)
        assert (guest.spec.uuid, guest.spec.kernel) == (record.identity.uuid, "/run/lab/b00t/vmlinux")
        assert guest.image is world.image
        script = guest.host.network.scripts["xen-4.20"]  # type: ignore[attr-defined] # the fake's own
        # Its boot disk is there and mounted since before it was frozen.
        assert not [words for words in script.commands if words.startswith("mount ")]
        # And its clock stood still.
        assert len([words for words in script.commands if words.startswith("told set ")]) == 1
        assert guest.host.network.open == [poised.name]  # type: ignore[attr-defined] # likewise
        # More can be plugged, under an address that nobody has.
        more = world.folder / "more.raw"
        more.touch()
        assert guest.attach(more, read_only=True, deadline=soon()) == "/dev/xvdb"
        assert [plug.target for plug in guest.host.disks.plugs.values()] == [0, 1, 2]  # type: ignore[attr-defined] # likewise
        network = guest.host.network
    assert network.open == []  # type: ignore[attr-defined] # likewise
    # Whoever goes with its host has nothing to undo.
    assert world.guests == {poised.name: DomainState.RUNNING}


def test_a_guest_that_qemu_runs_itself_stands_still_when_it_is_frozen_and_then_goes_on(world: World) -> None:
    pvh = dataclasses.replace(REQUEST, type="pvh")
    with poised_guest(world.ground, RECIPE, pvh, ready(), world.run, deadline=soon()) as guest:
        assert world.frozen == [{DomainState.PAUSED}]
        assert world.guests == {guest.name: DomainState.RUNNING}
    world.poise(ready())
    assert world.frozen[1] >= {DomainState.RUNNING}


def test_a_guest_that_is_silent_at_its_return_returns_once_more_and_everybody_hears_of_it(world: World) -> None:
    world.poise(ready())
    world.silent = 1
    heard: list[events.Event] = []
    with contextlib.ExitStack() as stack:
        stack.callback(events.subscribe(heard.append))
        guest = stack.enter_context(world.guest(ready()))
        assert len(world.lives) == 1 + 2
        assert guest.disks["xvda"].image.read_bytes() == b"a file system, made ready"
    again = [event.fields for event in heard if event.kind == "return again"]
    assert again == [
        {"guest": guest.name, "host": "xen-4.20", "because": "sh ended instead of answering: no route to host"}
    ]


def test_a_guest_that_stays_silent_is_the_labs_trouble(world: World) -> None:
    world.poise(ready())
    world.silent = 9
    with pytest.raises(LabError, match=r"^sh ended instead of answering: no route to host$"), world.guest(ready()):
        pass
    assert world.silent == 9 - 2
    assert not any((place.sockets / "qmp").exists() for _, place, _ in world.lives)


def test_the_shelf_is_the_callers(world: World) -> None:
    shelf = world.folder / "shelf-10.raw"
    shelf.write_bytes(b"volumes")
    with world.guest(ready(shelf=1 << 30), shelf=shelf) as guest:
        assert (guest.disks["xvdb"].image, guest.disks["xvdb"].read_only) == (shelf, False)
        snapshot, _, _ = world.lives[-1]
        assert [plug.image for plug in snapshot.plugs if plug.serial.endswith("-xvdb")] == [shelf]
    assert shelf.read_bytes() == b"volumes"


def test_two_at_once_have_places_of_their_own(world: World) -> None:
    with world.guest(ready()) as one, world.guest(ready()) as other:
        files = [guest.disks["xvda"].image for guest in (one, other)]
        assert [file.parent.name for file in files] == ["xen-4.20", "xen-4.20.2"]
        files[0].write_bytes(b"one")
        assert files[1].read_bytes() == b"a file system, made ready"


def born(folder: Path, name: str) -> None:
    folder.with_name(f"{folder.name}.birth").write_text(name)


def test_a_key_changes_with_whatever_makes_another_guest(world: World) -> None:
    born(world.under.folder, "first")
    born(world.image.boot.folder, "first")
    keys = [world.poise(ready()).key]
    assert world.poise(ready()).key == keys[0]
    keys.append(world.poise(ready("ready 2")).key)
    keys.append(world.poise(ready(shelf=512)).key)
    keys.append(world.poise(ready(), dataclasses.replace(REQUEST, memory=512)).key)
    keys.append(world.poise(ready(), dataclasses.replace(REQUEST, type="pvh")).key)
    # Two makings of one snapshot differ in their bytes, and an overlay of one fits no other.
    born(world.under.folder, "second")
    keys.append(world.poise(ready()).key)
    born(world.image.boot.folder, "second")
    keys.append(world.poise(ready()).key)
    world.image = dataclasses.replace(world.image, init="/sbin/lab-init")
    keys.append(world.poise(ready()).key)
    assert len(set(keys)) == len(keys) == len(world.freezes)


def test_what_an_older_lab_made_is_told_apart_by_its_name(world: World) -> None:
    one = world.poise(ready()).key
    other = world.folder / "another"
    other.mkdir()
    world.under = dataclasses.replace(world.under, folder=other)
    assert world.poise(ready()).key != one


def test_a_guest_that_does_not_get_ready_is_not_kept_and_leaves_nothing(world: World) -> None:
    def fail(guest: Guest, deadline: Deadline) -> None:
        deadline.check(guest.name)
        raise GuestError("agent: it does not start")

    for _ in range(2):
        with pytest.raises(GuestError, match=r"^agent: it does not start$"):
            world.poise(Readiness("fails 1", fail))
    assert world.guests == {}
    assert [path.suffix for path in (world.cache.root / "poised").iterdir()] == [".lock"]
    assert len(world.lives) == 2


def test_a_host_that_cannot_be_written_out_is_not_kept(world: World) -> None:
    world.no_memory = "xen-4.20: snapshot: no room"
    with pytest.raises(HostError, match=r"^xen-4\.20: snapshot: no room$"):
        world.poise(ready())
    world.no_memory = ""
    assert world.poise(ready()).disk.exists()
