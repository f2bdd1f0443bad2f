"""What every shelf of disks must do, tried on each there is; and what is particular to disks that come by NBD."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from lab.deadline import Deadline
from lab.errors import HostError
from lab.hosts.embedded.host import _ScsiShelf
from lab.hosts.host import DiskShelf
from lab.hosts.inventory.nbd import Exports, NbdShelf
from lab.process import Completed
from lab.shell import SshShell
from lab.testing.host import FakeDisks, FakeNetwork
from lab.testing.qmp import FakeQmp
from lab.testing.shell import Answer, FakeShell
from tests.unit.hosts.test_hosts_qemu import started
from tests.unit.programs import Programs

QEMU_NBD = """
echo "$*" >> "$HERE/served"
for word; do case $word in --socket=*) socket=${word#--socket=} ;; esac; done
[ -e "$HERE/broken" ] && { echo "qemu-nbd: Could not open image" >&2; exit 1; }
: > "$socket"
exec sleep 60
"""


def soon() -> Deadline:
    return Deadline(20)


@dataclass(frozen=True, slots=True)
class Line(FakeNetwork):
    """A master connection that notes what is forwarded over it."""

    def control(self, alias: str, verb: str, *options: str, deadline: Deadline) -> Completed:
        deadline.check(alias)
        script = self.scripts[alias]
        return script.run("ssh", verb, *options, deadline=deadline)

    def alive(self, alias: str, *, deadline: Deadline) -> bool:
        return bool(self.control(alias, "check", deadline=deadline))


@dataclass
class Rack:
    """A host of a user's whose shell is a script, and the images that this machine serves."""

    shelf: NbdShelf
    exports: Exports
    script: FakeShell

    def spoken(self) -> list[str]:
        """What was asked of the host and of the connection, each by its first telling words."""
        return [_short(asked.argv) for asked in self.script.asked]


def _short(argv: tuple[str, ...]) -> str:
    if argv[0] == "sh":
        kind = "detach" if "nbd-client -d" in argv[2] else "attach"
        return " ".join((kind, *argv[4:])).rstrip()
    return " ".join(argv).replace(argv[-1], argv[-1].partition(":")[0])


SH = "sh -c *"


def rack(programs: Programs, folder: Path, answers: dict[str, Answer | str | HostError] | None = None) -> Rack:
    programs.add("qemu-nbd", QEMU_NBD)
    script = FakeShell({"ssh *": "", SH: "", "test -b *": "", **(answers or {})})
    network = Line(folder, Path("key"), "", scripts={"10.0.0.11": script})
    shell = network.shell("10.0.0.11")
    exports = Exports(folder / "nbd")
    return Rack(NbdShelf(shell, exports, "/run/lab/feed0000"), exports, script)


Making = Callable[[Programs, Path], Iterator[DiskShelf]]


@contextmanager
def by_nbd(programs: Programs, folder: Path) -> Iterator[DiskShelf]:
    yield rack(programs, folder).shelf


@contextmanager
def by_scsi(programs: Programs, folder: Path) -> Iterator[DiskShelf]:
    with started(programs, folder, FakeQmp(folder / "qmp")) as machine:
        shell = FakeShell({"test -b *": "", SH: ""})
        yield _ScsiShelf(machine, shell, {})  # type: ignore[arg-type] # of a shell it wants to run commands only


@contextmanager
def by_the_fake(_programs: Programs, _folder: Path) -> Iterator[DiskShelf]:
    yield FakeDisks()


@pytest.fixture(params=[by_nbd, by_scsi, by_the_fake])
def shelf(request: pytest.FixtureRequest, programs: Programs, tmp_path: Path) -> Iterator[DiskShelf]:
    with request.param(programs, tmp_path) as made:
        yield made


class TestEveryShelf:
    """The contract of :class:`lab.hosts.host.DiskShelf`."""

    def test_a_disk_is_where_it_was_said_to_be_and_goes(self, shelf: DiskShelf, tmp_path: Path) -> None:
        said = shelf.path("web-xvda")
        assert shelf.plug(tmp_path / "a", "web-xvda", read_only=False, sector=512, deadline=soon()) == said
        shelf.unplug("web-xvda", deadline=soon())

    def test_it_may_come_again(self, shelf: DiskShelf, tmp_path: Path) -> None:
        for _ in range(2):
            shelf.plug(tmp_path / "a", "web-xvda", read_only=False, sector=512, deadline=soon())
            shelf.unplug("web-xvda", deadline=soon())

    def test_plugged_already_it_is_plugged(self, shelf: DiskShelf, tmp_path: Path) -> None:
        paths = {shelf.plug(tmp_path / "a", "web-xvda", read_only=False, sector=512, deadline=soon()) for _ in range(2)}
        assert paths == {shelf.path("web-xvda")}
        shelf.unplug("web-xvda", deadline=soon())

    def test_two_disks_are_two_and_one_path_holds_one(self, shelf: DiskShelf, tmp_path: Path) -> None:
        first = shelf.plug(tmp_path / "a", "web-xvda", read_only=False, sector=512, deadline=soon())
        second = shelf.plug(tmp_path / "a", "web-xvdb", read_only=True, sector=4096, deadline=soon())
        assert first != second
        for serial in ("web-xvda", "web-xvdb"):
            shelf.unplug(serial, deadline=soon())

    def test_a_host_that_lives_is_no_trouble(self, shelf: DiskShelf) -> None:
        shelf.watch()


def test_a_disk_is_served_lent_and_attached_and_all_of_it_undone(programs: Programs, tmp_path: Path) -> None:
    made = rack(programs, tmp_path)
    path = made.shelf.plug(tmp_path / "a,b.raw", "web-xvda", read_only=False, sector=512, deadline=soon())
    assert path == "/run/lab/feed0000/disks/web-xvda"
    there = "/run/lab/feed0000/sockets/web-xvda"
    (served,) = programs.note("served")
    assert served.startswith("--persistent --shared=0 ")
    assert served.endswith(f"file.locking=off,file.discard=unmap,file.filename={tmp_path}/a,,b.raw")
    made.shelf.unplug("web-xvda", deadline=soon())
    assert made.spoken() == [
        f"ssh forward -R {there}",
        f"attach {there} {path} 512",
        "ssh check",
        f"detach {there} {path}",
        "ssh check",
        f"ssh cancel -R {there}",
    ]
    assert [file.name for file in (tmp_path / "nbd").iterdir()] == ["n0.log"]


def test_two_hosts_of_a_move_are_served_by_one_process(programs: Programs, tmp_path: Path) -> None:
    one, image = rack(programs, tmp_path), tmp_path / "a.raw"
    other = NbdShelf(one.shelf.shell, one.exports, "/run/lab/feed0000")
    one.shelf.plug(image, "x", read_only=False, sector=512, deadline=soon())
    other.plug(image, "x", read_only=False, sector=512, deadline=soon())
    assert len(programs.note("served")) == 1
    one.shelf.unplug("x", deadline=soon())
    assert (tmp_path / "nbd" / "n0").exists()  # the other one has it still
    other.unplug("x", deadline=soon())
    assert not (tmp_path / "nbd" / "n0").exists()


def test_what_may_only_be_read_is_served_so_and_attached_so(programs: Programs, tmp_path: Path) -> None:
    made = rack(programs, tmp_path)
    made.shelf.plug(tmp_path / "a", "x", read_only=True, sector=4096, deadline=soon())
    assert "--read-only" in programs.note("served")[0]
    assert made.spoken()[1].endswith("/disks/x 4096 -readonly")
    made.shelf.clear()


@pytest.mark.parametrize("left", [Answer(1), Answer(0)], ids=["half of it is there", "another image is there"])
def test_what_a_failed_move_has_left_is_replaced(programs: Programs, tmp_path: Path, left: Answer) -> None:
    made = rack(programs, tmp_path, {"test -b *": left})
    made.shelf.plug(tmp_path / "a", "x", read_only=False, sector=512, deadline=soon())
    image = tmp_path / ("a" if left.status else "copy-of-a")
    made.shelf.plug(image, "x", read_only=False, sector=512, deadline=soon())
    assert [words.split()[0] for words in made.spoken() if not words.startswith(("ssh", "test"))] == [
        "attach",
        "detach",
        "attach",
    ]
    made.shelf.clear()


def test_a_host_that_cannot_have_it_leaves_nothing(programs: Programs, tmp_path: Path) -> None:
    full = Answer(1, stderr="every device of /dev/nbd* is taken\n")
    made = rack(programs, tmp_path, {SH: full})
    with pytest.raises(HostError) as refused:
        made.shelf.plug(tmp_path / "a", "x", read_only=False, sector=512, deadline=soon())
    assert refused.value.message == "10.0.0.11: disk x: every device of /dev/nbd* is taken"
    assert [words.split()[0] for words in made.spoken()] == ["ssh", "attach", "ssh", "detach", "ssh", "ssh"]
    assert not (tmp_path / "nbd" / "n0").exists()
    with pytest.raises(HostError, match=r"^10\.0\.0\.11: no disk x$"):
        made.shelf.unplug("x", deadline=soon())


def test_an_sshd_that_forwards_no_sockets_is_named(programs: Programs, tmp_path: Path) -> None:
    refusal = Answer(255, stderr="mux_client_forward: forwarding request failed: remote port forwarding failed\n")
    made = rack(programs, tmp_path, {"ssh *": refusal})
    with pytest.raises(HostError) as refused:
        made.shelf.plug(tmp_path / "a", "x", read_only=False, sector=512, deadline=soon())
    assert "remote port forwarding failed" in refused.value.message
    assert "AllowStreamLocalForwarding" in refused.value.hint


def test_an_image_that_cannot_be_served_is_told_with_its_reason(programs: Programs, tmp_path: Path) -> None:
    made = rack(programs, tmp_path)
    (programs.folder / "broken").touch()
    with pytest.raises(HostError, match=r"^a: qemu-nbd ended with status 1: qemu-nbd: Could not open image$"):
        made.shelf.plug(tmp_path / "a", "x", read_only=False, sector=512, deadline=soon())
    assert made.spoken() == []


def test_of_a_dead_host_nothing_is_asked_and_nothing_here_stays(programs: Programs, tmp_path: Path) -> None:
    made = rack(programs, tmp_path)
    made.shelf.plug(tmp_path / "a", "x", read_only=False, sector=512, deadline=soon())
    made.script.answers = {"ssh check*": Answer(255)}
    before = len(made.script.asked)
    made.shelf.clear()
    assert {asked.command for asked in made.script.asked[before:]} == {"ssh check"}
    assert not (tmp_path / "nbd" / "n0").exists()
    with pytest.raises(HostError, match=r"^10\.0\.0\.11: connection lost$"):
        made.shelf.watch()


def test_a_shell_has_the_name_that_its_user_gave_the_host() -> None:
    network = FakeNetwork(Path(), Path(), "")
    assert SshShell(network, "10.0.0.11", called="old-rack-1").name == "old-rack-1"
    assert SshShell(network, "xen-4.20").name == "xen-4.20"
