"""Disks of an embedded host that come a second time, and what is done to its machine from outside."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.deadline import Deadline
from lab.errors import HostError
from lab.hosts.embedded.host import _ScsiShelf
from lab.hosts.embedded.qemu import Plug
from lab.testing.qmp import FakeQmp, Refused
from lab.testing.shell import Answer, FakeShell
from tests.unit.hosts.test_hosts_qemu import started
from tests.unit.programs import Programs

PATH = "/dev/disk/by-id/scsi-0QEMU_QEMU_HARDDISK_web32-xvda"


def soon() -> Deadline:
    return Deadline(10)


def plug(shelf: _ScsiShelf, image: str) -> str:
    return shelf.plug(Path(image), "web32-xvda", read_only=False, sector=512, deadline=soon())


@pytest.mark.parametrize(
    ("image", "there", "asked"),
    [
        ("/run/web32.raw", Answer(0), []),
        ("/run/web32.raw", Answer(1), ["device_del", "blockdev-del", "blockdev-add", "device_add"]),
        ("/run/copy-of-web32.raw", Answer(0), ["device_del", "blockdev-del", "blockdev-add", "device_add"]),
    ],
    ids=["it is there", "half of it is there", "another image is there"],
)
def test_a_disk_that_a_failed_move_has_left_is_plugged_again(
    programs: Programs, tmp_path: Path, image: str, there: Answer, asked: list[str]
) -> None:
    # A move that failed has taken its device away, and nobody has heard of the rest.
    gone = Refused("Device 'disk-web32-xvda' not found", "DeviceNotFound")
    qemu = FakeQmp(tmp_path / "qmp", {"device_del": gone})
    with started(programs, tmp_path, qemu) as machine:
        shell = FakeShell({f"test -b {PATH}": there, "sh -c *": ""})
        left = {"web32-xvda": Plug(Path("/run/web32.raw"), "web32-xvda", 0, read_only=False)}
        shelf = _ScsiShelf(machine, shell, left)  # type: ignore[arg-type] # of a shell it wants to run commands only
        assert plug(shelf, image) == PATH
        assert shelf.plugs["web32-xvda"].image == Path(image)
    assert qemu.commands() == asked


def test_a_cable_is_pulled_and_put_back(programs: Programs, tmp_path: Path) -> None:
    qemu = FakeQmp(tmp_path / "qmp")
    with started(programs, tmp_path, qemu) as machine:
        machine.link("moves", up=False, deadline=soon())
        machine.link("moves", up=True, deadline=soon())
    assert qemu.executed == [("set_link", {"name": "moves", "up": up}) for up in (False, True)]


def test_a_machine_without_power_is_dead(programs: Programs, tmp_path: Path) -> None:
    with started(programs, tmp_path, FakeQmp(tmp_path / "qmp")) as machine:
        machine.cut_power()
        with pytest.raises(HostError, match=r"^xen-4\.17: QEMU ended with status -9; its console: $"):
            machine.watch()
