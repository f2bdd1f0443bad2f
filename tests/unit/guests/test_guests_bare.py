"""Bare guests: frozen once, back each with files of its own; and whose fault it is when one does not answer."""

from __future__ import annotations

import dataclasses
import json
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lab.cache import Cache
from lab.deadline import Deadline
from lab.debian.kernel import Kernel
from lab.errors import DeadlineError, GuestError, HostError
from lab.guests import bare
from lab.guests.bare import BareGuest, BareReadiness, Frozen, Furnished, bare_guest, obtain_bare
from lab.guests.image import BootFiles, GuestImage
from lab.guests.poised import Ground
from lab.hosts.bare.machine import BareBoot, BareWiring, Drive
from lab.hosts.run_folder import RunFolder
from lab.keys import Keys
from lab.process import Completed
from lab.scenario.cell import GuestRequest, KernelRequest
from lab.shell import SshNetwork, SshShell
from lab.testing.shell import Answer, FakeShell

REQUEST = GuestRequest("ntfs", "trixie", "amd64", KernelRequest("trixie"), system="probe")
NOTHING: Any = None
GIB = 1 << 30


def soon() -> Deadline:
    return Deadline(20)


# --- a guest that is asked ------------------------------------------------------------------------------------------


@dataclass
class Qemu:
    """A QEMU whose guest is a function that gets each connection. ``status`` is how it ended; None while it runs."""

    guest: Callable[[socket.socket], None]
    folder: Path
    status: int | None = None
    states: list[str | Exception] = field(default_factory=lambda: ["running"])

    def poll(self) -> int | None:
        return self.status

    def execute(self, command: str, *, deadline: Deadline) -> dict[str, str]:
        assert command == "query-status"
        deadline.check(command)
        state = self.states.pop(0)
        if isinstance(state, Exception):
            raise state
        return {"status": state}

    @contextmanager
    def started(self) -> Iterator[BareGuest]:
        with socket.create_server(("127.0.0.1", 0)) as listener, ExitStack() as undo:
            thread = threading.Thread(target=self._serve, args=(listener,), daemon=True)
            thread.start()
            undo.callback(thread.join, 10)
            wiring = SimpleNamespace(folder=self.folder, console=self.folder / "console.log")
            machine: Any = SimpleNamespace(process=self, qmp=self, wiring=wiring)
            image: Any = SimpleNamespace(boot=SimpleNamespace(kernel=SimpleNamespace(release="6.12.0")))
            yield BareGuest("ntfs-1", image, machine, NOTHING, {7079: listener.getsockname()[1]}, "/dev/vdb")

    def _serve(self, listener: socket.socket) -> None:
        line, _ = listener.accept()
        with line:
            self.guest(line)


def ask(qemu: Qemu, watched: list[str] | None = None, seconds: float = 20) -> Completed:
    with qemu.started() as guest:
        return guest.ask(
            7079, b"{}", deadline=Deadline(seconds), watch=lambda: (watched if watched is not None else []).append("w")
        )


def echo(line: socket.socket) -> None:
    line.sendall(b"to " + line.makefile("rb").readline())


def test_the_program_in_the_guest_is_asked_and_heard_out(tmp_path: Path) -> None:
    said = ask(Qemu(echo, tmp_path))
    assert (said.status, said.stdout) == (0, b"to {}\n")


def test_a_guest_in_which_nobody_listens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bare, "_ENDING", 0.1)
    watched: list[str] = []
    said = ask(Qemu(lambda _line: None, tmp_path), watched)
    assert (said.status, said.stderr) == (1, b"nobody answers at ntfs-1:7079")
    assert watched == []  # QEMU runs, and so does its guest


@pytest.mark.parametrize("words", [b"", b'{"entries": [{"pa'])
def test_when_it_ends_midway_somebody_looks_who_has_ended_it(tmp_path: Path, words: bytes) -> None:
    watched: list[str] = []
    qemu = Qemu(NOTHING, tmp_path)

    def end(line: socket.socket) -> None:
        line.makefile("rb").readline()
        line.sendall(words)
        line.close()
        # Its sockets are closed before it is gone.
        threading.Timer(0.1, lambda: setattr(qemu, "status", 0)).start()

    qemu.guest = end
    assert ask(qemu, watched).stdout == words
    assert watched == ["w"]


def test_a_qemu_that_is_gone_cannot_be_connected_to(tmp_path: Path) -> None:
    watched: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    machine: Any = SimpleNamespace(process=Qemu(echo, tmp_path, status=-9))
    guest = BareGuest("ntfs-1", NOTHING, machine, NOTHING, {7079: port})
    said = guest.ask(7079, b"{}", deadline=soon(), watch=lambda: watched.append("w"))
    assert (said.status, watched) == (1, ["w"])


def test_a_guest_that_says_nothing_is_waited_for_until_the_deadline(tmp_path: Path) -> None:
    silence = threading.Event()

    def hang(_line: socket.socket) -> None:
        silence.wait(1)

    with pytest.raises(DeadlineError, match=r"^ntfs-1:7079: not done within 0\.3 s$"):
        ask(Qemu(hang, tmp_path), seconds=0.3)


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (-9, "ntfs-1: QEMU was ended by signal 9; its last words: qemu: oh | one | two"),
        (1, "ntfs-1: QEMU ended with status 1; its last words: qemu: oh | one | two"),
    ],
)
def test_the_lab_is_to_blame_where_qemu_did_not_end_by_itself(tmp_path: Path, status: int, words: str) -> None:
    (tmp_path / "qemu.log").write_text("qemu-system-x86_64 -m 256\nqemu: oh\n")
    (tmp_path / "console.log").write_text("one\ntwo\n")
    with Qemu(echo, tmp_path, status=status).started() as guest:
        with pytest.raises(HostError, match=f"^{re.escape(words)}$"):
            guest.watch()
        assert not guest.is_active(soon())
        socket.create_connection(("127.0.0.1", guest.ports[7079])).close()


@pytest.mark.parametrize("status", [None, 0])
def test_it_is_not_where_the_guest_has_ended_or_lives(tmp_path: Path, status: int | None) -> None:
    with Qemu(echo, tmp_path, status=status).started() as guest:
        guest.watch()
        assert guest.is_active(soon()) is (status is None)
        socket.create_connection(("127.0.0.1", guest.ports[7079])).close()


def test_a_guest_that_qemu_has_stopped_does_not_hang(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bare, "_ENDING", 0.1)
    words = "ntfs-1: QEMU has stopped it: io-error\n  hint: is there room on this machine's disk?"
    with Qemu(echo, tmp_path, states=["io-error"]).started() as guest:
        with pytest.raises(HostError, match=f"^{re.escape(words)}$"):
            guest.is_active(soon())
        socket.create_connection(("127.0.0.1", guest.ports[7079])).close()


def test_a_guest_that_is_about_to_end_has_ended(tmp_path: Path) -> None:
    qemu = Qemu(echo, tmp_path, states=["shutdown"])
    with qemu.started() as guest:
        threading.Timer(0.05, lambda: setattr(qemu, "status", 0)).start()
        assert not guest.is_active(soon())
        socket.create_connection(("127.0.0.1", guest.ports[7079])).close()


@pytest.mark.parametrize("ends", [True, False])
def test_a_qemu_that_ends_while_it_is_asked_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, ends: bool
) -> None:
    monkeypatch.setattr(bare, "_ENDING", 0.2)
    qemu = Qemu(echo, tmp_path, states=[HostError("ntfs-1: QMP query-status: EOF")])
    with qemu.started() as guest:
        if ends:
            threading.Timer(0.05, lambda: setattr(qemu, "status", 0)).start()
            assert not guest.is_active(soon())
        else:
            with pytest.raises(HostError, match=r"^ntfs-1: QMP query-status: EOF$"):
                guest.is_active(soon())
        socket.create_connection(("127.0.0.1", guest.ports[7079])).close()


def test_what_explains_its_fate_is_kept(tmp_path: Path) -> None:
    (tmp_path / "qemu.log").write_text("qemu-system-x86_64 -m 256\n")
    (tmp_path / "console.log").write_bytes(b"lab guest: ready\n\xff\n")
    evidence = tmp_path / "evidence"
    evidence.mkdir()
    machine: Any = SimpleNamespace(wiring=SimpleNamespace(folder=tmp_path, console=tmp_path / "console.log"))
    guest = BareGuest("ntfs-1", NOTHING, machine, NOTHING, {})
    guest.keep(evidence, deadline=soon())
    assert (evidence / "ntfs-1-console.log").read_text() == "lab guest: ready\n\\xff\n"
    assert (evidence / "ntfs-1-qemu.log").read_text() == "qemu-system-x86_64 -m 256\n"
    (tmp_path / "console.log").unlink()
    assert guest.console(deadline=soon()) == ""


# --- freezing and returning -----------------------------------------------------------------------------------------


@dataclass
class World:
    """Where guests are frozen and come back: machines that are lines of a log."""

    folder: Path
    ground: Ground
    run: RunFolder
    image: GuestImage
    lives: list[tuple[BareWiring, tuple[str, ...], BareBoot, Path | None]] = field(default_factory=list)
    shell: FakeShell = field(default_factory=lambda: FakeShell({"sync": "", "sh -c grep *": "/sys/block/vdb/serial\n"}))
    connected: list[str] = field(default_factory=list)
    trouble: Exception | None = None

    @contextmanager
    def machine(  # noqa: PLR0913 - as start_machine has it
        self, name: str, wiring: BareWiring, hardware: Any, boot: BareBoot, *, incoming: Any, deadline: Deadline
    ) -> Iterator[Any]:
        deadline.check(name)
        self.lives.append((wiring, hardware, boot, incoming))
        (wiring.folder / "qemu.pid").touch()
        if incoming is None:
            wiring.console.write_text("lab guest: ready\n")
        ports = {port: 40000 + port for port in wiring.ports}
        yield SimpleNamespace(port=lambda port, _: ports[port], watch=lambda: None, wiring=wiring, process=NOTHING)

    def save(self, machine: Any, into: Path, *, deadline: Deadline) -> None:
        deadline.check("snapshot")
        assert self.connected == []  # nobody is connected to what is frozen
        assert machine.wiring.folder == into.parent
        into.write_bytes(b"memory")

    @contextmanager
    def connect(self, network: Any, alias: str, *, deadline: Deadline, watch: Any) -> Iterator[None]:
        watch()
        deadline.check(alias)
        if self.trouble is not None:
            raise self.trouble
        conf = (network.folder / f"{alias}.conf").read_text()
        assert conf == f"Host {alias}\n  HostName 127.0.0.1\n  Port 40022\n"
        self.connected.append(alias)
        try:
            yield
        finally:
            self.connected.remove(alias)

    def freeze(self, readiness: BareReadiness, request: GuestRequest = REQUEST) -> Frozen:
        with obtain_bare(self.ground, request, readiness, deadline=soon()) as frozen:
            return frozen

    @contextmanager
    def guest(self, readiness: BareReadiness) -> Iterator[BareGuest]:
        shelf = self.folder / "shelf-10.raw"
        with bare_guest(self.ground, REQUEST, readiness, self.run, shelf=shelf, deadline=soon()) as guest:
            yield guest


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    folders = {name: tmp_path / name for name in ("boot", "guest", "run", "s", "kernel", "busybox/a/b/c")}
    for folder in folders.values():
        folder.mkdir(parents=True)
    keys = Keys(tmp_path / "user", tmp_path / "host")
    keys.host.with_suffix(".pub").write_text("ssh-ed25519 AAAA lab\n")
    kernel = Kernel(folders["kernel"], "6.12.57-cloud-amd64", "6.12.57-1", "amd64")
    made = World(
        tmp_path,
        Ground(Cache(tmp_path / "cache"), keys, "tcg"),
        RunFolder("feed0000", folders["run"], folders["s"]),
        GuestImage(folders["guest"] / "disk.raw", BootFiles("b00t", kernel, folders["boot"]), "/sbin/lab-init"),
    )

    @contextmanager
    def given(thing: Callable[[], Any]) -> Iterator[Any]:
        yield thing()

    def initrd(_kernel: Kernel, wanted: tuple[str, ...], _busybox: Path, into: Path, *, work: Path, **_: Any) -> None:
        work.mkdir()
        into.write_text(" ".join(wanted))

    def connect(network: Any, alias: str, **more: Any) -> Any:
        return made.connect(network, alias, **more)

    busybox = folders["busybox/a/b/c"] / "busybox"
    monkeypatch.setattr(bare, "start_machine", made.machine)
    monkeypatch.setattr(bare, "save_memory", made.save)
    monkeypatch.setattr(bare, "build_initrd", initrd)
    monkeypatch.setattr(bare, "qemu_version", lambda _deadline: "QEMU 7.2")
    monkeypatch.setattr(bare, "make_overlay", lambda backing, form, into, **_: into.write_text(f"{form} {backing}"))
    monkeypatch.setattr(bare, "obtain_busybox", lambda *_, **__: given(lambda: busybox))
    monkeypatch.setattr(bare, "obtain_guest_image", lambda *_, **__: given(lambda: made.image))
    monkeypatch.setattr(SshNetwork, "connect", connect)
    monkeypatch.setattr(SshShell, "run", lambda _shell, *argv, **more: made.shell.run(*argv, **more))
    return made


def ready(key: str = "ready 1", *, shelf: int = GIB, made: list[str] | None = None) -> BareReadiness:
    def make(guest: Furnished, deadline: Deadline) -> None:
        deadline.check("make ready")
        if made is not None:
            made.append(guest.image.boot.kernel.release)

    return BareReadiness(key, make, shelf, shell=False, ports=(7079,))


def test_a_guest_is_frozen_once_with_the_disk_and_kernel_of_a_guest_on_xen(world: World) -> None:
    made: list[str] = []
    frozen = world.freeze(ready(made=made))
    assert world.freeze(ready(made=made)) == frozen
    assert made == ["6.12.57-cloud-amd64"]
    ((wiring, hardware, boot, incoming),) = world.lives
    assert incoming is None
    assert wiring.ports == (22,)
    assert hardware[hardware.index("-m") + 1] == "256"
    assert boot.kernel == world.image.boot.kernel.elf
    assert boot.initrd.read_text() == "virtio_pci virtio_blk virtio_net ext4"
    assert boot.cmdline == (
        "root=/dev/vda rw console=ttyS0 net.ifnames=0 quiet mitigations=off panic=-1 init=/sbin/lab-init "
        "lab.ip=10.0.2.15/24"
    )
    assert frozen.disk.read_text() == f"raw {world.image.disk}"
    assert (frozen.name, frozen.shelf_device) == (f"ntfs-{frozen.key[:4]}", "/dev/vdb")
    # 4 TiB of nothing are not kept, nor is the number of a process that is no more.
    assert sorted(path.name for path in frozen.folder.iterdir()) == [
        "console.log",
        "disk.qcow2",
        "facts.json",
        "memory.zst",
    ]
    assert not wiring.sockets.exists()


def test_it_comes_back_over_its_disk_with_the_callers_shelf(world: World) -> None:
    frozen = world.freeze(ready())
    with world.guest(ready()) as guest:
        wiring, hardware, boot, incoming = world.lives[-1]
        assert (incoming, hardware, boot) == (frozen.memory, frozen.hardware, frozen.boot)
        assert (guest.name, guest.shelf_device, guest.kernel.release) == (
            frozen.name,
            "/dev/vdb",
            "6.12.57-cloud-amd64",
        )
        assert guest.ports == {22: 40022, 7079: 47079}
        root, shelf = wiring.drives
        assert root.file.read_text() == f"qcow2 {frozen.disk}"
        assert shelf == Drive("shelf", world.folder / "shelf-10.raw", "raw")
        # What it said before it was frozen is not lost.
        assert guest.machine.wiring.console.read_text() == "lab guest: ready\n"
        # Who wants a shell gets one; nobody has waited for it.
        assert world.connected == []
        assert guest.shell.alias == frozen.name
    assert len(world.lives) == 2


def test_two_at_once_have_places_of_their_own_which_are_no_hosts(world: World) -> None:
    with world.guest(ready()) as one:
        place = one.machine.wiring.folder
        (one.machine.wiring.sockets / "qmp").touch()
        with world.guest(ready()) as other:
            assert place.name == f"microvm-{one.name}"
            assert other.machine.wiring.folder.name == f"microvm-{one.name}.2"


def born(folder: Path, name: str) -> None:
    folder.with_name(f"{folder.name}.birth").write_text(name)


def test_a_key_changes_with_whatever_makes_another_guest(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    born(world.image.disk.parent, "first")
    keys = [world.freeze(ready()).key]
    assert world.freeze(ready()).key == keys[0]
    keys.append(world.freeze(ready("ready 2")).key)
    keys.append(world.freeze(ready(shelf=512)).key)
    keys.append(world.freeze(ready(), dataclasses.replace(REQUEST, memory=512)).key)
    # Two makings of one image differ in their bytes, and an overlay of one fits no other.
    born(world.image.disk.parent, "second")
    keys.append(world.freeze(ready()).key)
    world.image = dataclasses.replace(world.image, init="/sbin/init")
    keys.append(world.freeze(ready()).key)
    world.ground = dataclasses.replace(world.ground, accelerator="kvm")
    keys.append(world.freeze(ready()).key)
    monkeypatch.setattr(bare, "qemu_version", lambda _deadline: "QEMU 10.0")
    keys.append(world.freeze(ready()).key)
    assert len(set(keys)) == len(keys) == len(world.lives)


def test_a_guest_that_does_not_come_up_is_told_with_what_it_said(world: World) -> None:
    world.trouble = HostError("ntfs: no ssh connection within 600 s: no answer")
    words = r"^ntfs-\w{4}: it does not come up: ntfs: no ssh connection within 600 s: no answer; "
    with pytest.raises(GuestError, match=words + r"console: lab guest: ready$"):
        world.freeze(ready())
    assert [path.suffix for path in (world.ground.cache.root / "bare").iterdir()] == [".lock"]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Answer(1), "none bears any"),
        ("/sys/block/vda/serial\n/sys/block/vdb/serial", "/sys/block/vda/serial\n/sys/block/vdb/serial"),
    ],
)
def test_a_shelf_that_is_not_found_by_its_serial_is_no_shelf(world: World, answer: Any, words: str) -> None:
    world.shell.answers = {**world.shell.answers, "sh -c grep *": answer}
    pattern = rf"^ntfs-\w{{4}}: no block device bears the serial 'shelf': {re.escape(words)}$"
    with pytest.raises(GuestError, match=pattern):
        world.freeze(ready())


def test_a_guest_that_does_not_get_ready_is_not_kept(world: World) -> None:
    def fail(guest: Furnished, deadline: Deadline) -> None:
        deadline.check(str(guest.image.init))
        raise GuestError("probe: it does not start")

    for _ in range(2):
        with pytest.raises(GuestError, match=r"^probe: it does not start$"):
            world.freeze(BareReadiness("fails 1", fail, GIB))
    assert len(world.lives) == 2
    assert world.connected == []


def test_the_facts_are_what_a_reader_of_the_cache_finds(world: World) -> None:
    frozen = world.freeze(ready())
    assert json.loads((frozen.folder / "facts.json").read_text()) == {"shelf": "/dev/vdb"}
