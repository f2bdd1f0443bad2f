"""The ways to move: where the guest is afterwards, what it took along, and how a failure leaves it."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from lab.deadline import Deadline
from lab.errors import UnknownNameError
from lab.guests.guest import SilentGuestError
from lab.guests.image import GuestImage
from lab.guests.moving import WAYS, Arrival, move
from lab.hypervisor import DomainState, MigrationError, binding, identity
from lab.hypervisor.binding import Said
from lab.testing.shell import FakeShell
from tests.unit.guests.test_guests_guest import NAME, Place, failures, image, soon, source, start, target

__all__ = ["failures", "image", "source", "target"]

RUNNING = DomainState.RUNNING
SAVED = f"{NAME[-14:]}-saved"


@pytest.fixture(autouse=True)
def ready(source: Place, target: Place) -> None:
    """Both hosts know what a move asks of them."""
    for place in (source, target):
        place.script.answers = {**place.script.answers, "blockdev *": "", "mkdir *": "", "mount *": ""}
    target.network.scripts[NAME] = FakeShell({"true": ""})
    # What one saves to a disk that both see, the other can read.
    target.hypervisor.saved = source.hypervisor.saved


@pytest.mark.parametrize("how", WAYS)
def test_whichever_way_it_goes_it_lives_once_and_with_all_its_disks(  # noqa: PLR0913, PLR0917 - fixtures
    source: Place, target: Place, image: GuestImage, tmp_path: Path, failures: list[str], how: str
) -> None:
    more = tmp_path / "more.raw"
    more.write_bytes(b"read me")
    with start(source, image, tmp_path) as guest:
        guest.attach(more, read_only=True, sector=4096, deadline=soon())
        was = identity(guest.domain.xml(soon())).uuid
        assert move(guest, target.host, how, deadline=soon()) >= 0
        assert (source.guests, target.guests) == ({}, {NAME: RUNNING})
        assert source.serials == {"b00t"}
        serials = {held.serial for held in guest.disks.values()}
        assert target.serials == {"b00t"} | serials
        assert [target.disks.plugged[held.serial][1] for held in guest.disks.values()] == [False, True]
        assert identity(guest.domain.xml(soon())).uuid == was
        assert guest.host is target.host
    assert (source.guests, target.guests, target.serials, failures) == ({}, {}, {"b00t"}, [])
    assert more.read_bytes() == b"read me"
    assert list(tmp_path.glob("*.save")) == []


def test_a_cold_move_takes_a_copy_of_what_the_guest_writes(
    source: Place, target: Place, image: GuestImage, tmp_path: Path
) -> None:
    with start(source, image, tmp_path) as guest:
        before = guest.disks["xvda"].image
        content = before.read_bytes()
        move(guest, target.host, "cold", deadline=soon())
        after = guest.disks["xvda"].image
        assert after != before
        assert after.read_bytes() == content
        assert not before.exists()


def test_a_cold_move_may_change_kernel_and_type(
    source: Place, target: Place, image: GuestImage, tmp_path: Path
) -> None:
    other = dataclasses.replace(image, boot=dataclasses.replace(image.boot, key="0ther"))
    with start(source, image, tmp_path) as guest:
        arrival = Arrival(dataclasses.replace(guest.request, type="pvh"), other)
        move(guest, target.host, "cold-shared", arrival=arrival, deadline=soon())
        assert (guest.request.type, guest.image) == ("pvh", other)
        assert guest.spec.kernel == "/run/lab/0ther/vmlinux"
        assert guest.spec.type == "pvh"


@pytest.mark.parametrize(
    ("how", "verb"),
    [
        ("live", "migrate"),
        ("save-restore", "restore"),
        ("save-restore", "save"),
        ("cold", "define"),
        ("cold", "start"),
        ("cold-shared", "start"),
        ("cold-shared", "shutdown"),
    ],
)
def test_a_refusal_leaves_the_guest_running_where_it_was(  # noqa: PLR0913, PLR0917 - fixtures
    source: Place, target: Place, image: GuestImage, tmp_path: Path, failures: list[str], how: str, verb: str
) -> None:
    said = Said(binding.INTERNAL_ERROR, binding.FROM_DRIVER, "libxl: no")
    with start(source, image, tmp_path) as guest:
        place = target if verb in {"restore", "define", "start"} else source
        place.hypervisor.faults.refuse[verb] = said
        with pytest.raises(MigrationError, match=r"libxl: no.*; web32-f00d-10 is "):
            move(guest, target.host, how, deadline=soon())
        assert (source.guests, target.guests) == ({NAME: RUNNING}, {})
        assert target.serials <= {"b00t"}
        assert guest.disks["xvda"].image.exists()
    assert (source.guests, source.serials, failures) == ({}, {"b00t"}, [])


def test_a_guest_that_does_not_shut_down_is_silent_long_before_the_cell_ends(
    source: Place, target: Place, image: GuestImage, tmp_path: Path
) -> None:
    message = "still running 1 s after it was asked to shut down"
    with start(source, image, tmp_path) as guest:
        source.hypervisor.faults.ignore.add("shutdown")
        deadline = Deadline(3)
        with pytest.raises(SilentGuestError, match=message):
            move(guest, target.host, "cold", deadline=deadline)
        assert deadline.remaining() > 1
        assert (source.guests, target.guests) == ({NAME: RUNNING}, {})


def test_a_way_that_does_not_exist(source: Place, target: Place, image: GuestImage, tmp_path: Path) -> None:
    message = "no way to move a guest 'warm'; known: cold, cold-shared, live, save-restore"
    with start(source, image, tmp_path) as guest, pytest.raises(UnknownNameError, match=re.escape(message)):
        move(guest, target.host, "warm", deadline=soon())
