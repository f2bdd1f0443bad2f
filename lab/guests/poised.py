"""Guests that are up already: kept in a snapshot together with their host, and back in seconds with it.

A guest's boot takes 20-40 s under emulation, and every cell wants one that no other cell has touched. So it is booted
once, made ready, and frozen with its host; each cell then gets a host of its own with that guest on it.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from lab.cache import Cache, birth, fingerprint
from lab.deadline import Deadline
from lab.errors import LabError
from lab.events import emit, step
from lab.guests.guest import Address, Guest, Held, domain_spec, start_guest
from lab.guests.image import GuestImage, obtain_guest_image
from lab.hosts.embedded.clock import set_clock
from lab.hosts.embedded.host import Embedded, resumed
from lab.hosts.embedded.network import PrivateNetwork
from lab.hosts.embedded.qemu import Plug, save_memory
from lab.hosts.embedded.recipe import EmbeddedRecipe
from lab.hosts.embedded.snapshot import Snapshot, obtain_snapshot
from lab.hosts.run_folder import Place, RunFolder
from lab.keys import Keys
from lab.process import run
from lab.scenario.cell import GuestRequest

__all__ = ["AS_BOOTED", "Ground", "Poised", "Readiness", "obtain_poised", "poised_guest"]

_FIRST, _NUMBERS = 100, 150
"""Numbers of poised guests; below are those of guests that are started as they are wanted."""

_BOOT = "boot"

_MAKING = {False: "poised 1", True: "poised 2"}
"""The part of a key that stands for how guests are frozen: those that are paused before, and others."""

_RETURN_SECONDS = (25.0, 75.0)
"""For the first answer of a guest that is back, try by try; some 5 if the machine has nothing else to do. Emulated PVH
guests on Xen 4.14 have been seen to come back with their kernel spinning for a lock, for ever.
"""


@dataclass(frozen=True, slots=True)
class Ground:
    """What every embedded host is made with."""

    cache: Cache
    keys: Keys
    accelerator: str


@dataclass(frozen=True, slots=True)
class Readiness:
    """What is done to a guest once, before it is frozen. ``key`` changes with what ``make`` does.

    ``shelf`` is the size in bytes of a disk that the guest has as /dev/xvdb; 0 for none. At its return the disk may
    hold anything: nobody has read it yet. ``shell`` says whether one is to be open then; it takes seconds, and who
    talks to a server in the guest does without. The guest's clock is set through it: without, it stands where it was
    frozen.
    """

    key: str
    make: Callable[[Guest, Deadline], None]
    shelf: int = 0
    shell: bool = True


def _warm(guest: Guest, deadline: Deadline) -> None:
    # What every cell asks first: its programs are in the page cache then.
    guest.shell.run("python3", "-c", "import json, socket, hashlib, threading, subprocess", deadline=deadline)


AS_BOOTED = Readiness("booted 1", _warm)
"""A guest as its boot left it."""


@dataclass(frozen=True, slots=True)
class Poised:
    """A frozen guest. ``roles`` says of each disk that the host had which one it is: xvda, xvdb, or the boot disk."""

    key: str
    folder: Path
    request: GuestRequest
    under: Snapshot
    image: GuestImage
    plugs: tuple[tuple[str, Plug], ...]

    @property
    def disk(self) -> Path:
        """The guest's own disk as it was."""
        return self.folder / f"{self.name}.raw"

    @property
    def name(self) -> str:
        """The guest's name, the same at each return."""
        return _name(self.key, self.request)

    @property
    def address(self) -> Address:
        """Likewise its address. Two poised guests may have the same: a network holds one of them at a time."""
        return _address(self.key)


@contextmanager
def poised_guest(  # noqa: PLR0913 - what it is made from, and where it lives
    ground: Ground,
    recipe: EmbeddedRecipe,
    request: GuestRequest,
    readiness: Readiness,
    run_: RunFolder,
    *,
    shelf: Path | None = None,
    network: PrivateNetwork | None = None,
    deadline: Deadline,
) -> Iterator[Guest]:
    """A guest on a host that has nobody else; both are gone at the end.

    Raises:
        HostError, GuestError: one of them does not come up, or does not come back.
    """
    with obtain_poised(ground, recipe, request, readiness, deadline=deadline) as poised, ExitStack() as life:
        for seconds in _RETURN_SECONDS if readiness.shell else (deadline.seconds,):
            with ExitStack() as attempt:
                guest = _returned(attempt, poised, ground, recipe, run_, shelf, network, deadline)
                if not readiness.shell:
                    guest.know_shell()
                elif not _answers(guest, deadline.at_most(seconds), last=seconds == _RETURN_SECONDS[-1]):
                    continue
                life.push(attempt.pop_all())
                break
        try:
            yield guest
        finally:
            guest.leave()


def _returned(  # noqa: PLR0913, PLR0917 - as poised_guest has it
    life: ExitStack,
    poised: Poised,
    ground: Ground,
    recipe: EmbeddedRecipe,
    run_: RunFolder,
    shelf: Path | None,
    network: PrivateNetwork | None,
    deadline: Deadline,
) -> Guest:
    """The guest on its host, both of which go on from where they were frozen."""
    place = run_.place(recipe.name)
    disk = place.folder / poised.disk.name
    run("cp", "--sparse=always", "--reflink=auto", poised.disk, disk, deadline=deadline).check()
    files = {"xvda": disk, _BOOT: poised.image.boot.disk, **({"xvdb": shelf} if shelf is not None else {})}
    plugs = tuple(
        Plug(files[role], plug.serial, plug.target, plug.read_only, plug.sector) for role, plug in poised.plugs
    )
    back = Snapshot(poised.folder, poised.under.image, poised.under.facts, plugs)
    embedded = life.enter_context(
        resumed(back, recipe, ground.keys, place, network=network, accelerator=ground.accelerator, deadline=deadline)
    )
    return _return(poised, poised.request, embedded, files, deadline)


def _answers(guest: Guest, soon: Deadline, *, last: bool) -> bool:
    """Whether the guest is back; its clock is set then, which stood still, and which nothing but its own kernel keeps.

    It answered before it was frozen, so that a slow answer is not what is to be expected.

    Raises:
        LabError: it is not, and that was the last try.
    """
    try:
        guest.reconnect(soon)
        set_clock(guest.name, guest.shell, deadline=soon)
    except LabError as silent:
        guest.leave()
        if last:
            raise
        emit("return again", guest=guest.name, host=guest.host.facts.name, because=silent.message)
        return False
    return True


@contextmanager
def obtain_poised(
    ground: Ground, recipe: EmbeddedRecipe, request: GuestRequest, readiness: Readiness, *, deadline: Deadline
) -> Iterator[Poised]:
    """The frozen guest, made if it is not in the cache."""
    cache, keys = ground.cache, ground.keys
    with ExitStack() as stack:
        image = stack.enter_context(obtain_guest_image(cache, request, keys, deadline=deadline))
        under = stack.enter_context(obtain_snapshot(cache, recipe, keys, ground.accelerator, deadline=deadline))
        key = fingerprint(
            *(_MAKING[_stands_still(request)], _making(under.folder), image.disk.parent.name),
            _making(image.boot.folder),
            *(image.init, asdict(request), readiness.key, readiness.shelf),
        )

        def build(folder: Path) -> None:
            _freeze(folder, key, ground, recipe, request, readiness, under, image, deadline)

        title = f"{request.name} ({request.kernel.name}, {request.type}) on {recipe.name}"
        folder = stack.enter_context(cache.use("poised", key, build, deadline=deadline, title=title))
        entries = json.loads((folder / "plugs.json").read_text())
        plugs = tuple((entry.pop("role"), Plug(image=folder, **entry)) for entry in entries)
        yield Poised(key, folder, request, under, image, plugs)


def _freeze(  # noqa: PLR0913, PLR0917 - the call of obtain_poised, and what it has found
    folder: Path,
    key: str,
    ground: Ground,
    recipe: EmbeddedRecipe,
    request: GuestRequest,
    readiness: Readiness,
    under: Snapshot,
    image: GuestImage,
    deadline: Deadline,
) -> None:
    shelf = folder / "shelf.raw" if readiness.shelf else None
    if shelf is not None:
        with shelf.open("wb") as file:
            file.truncate(readiness.shelf)
    with tempfile.TemporaryDirectory(prefix="lab-") as short:
        place = Place(folder, Path(short), "lab")
        with (
            resumed(
                under, recipe, ground.keys, place, network=None, accelerator=ground.accelerator, deadline=deadline
            ) as embedded,
            start_guest(
                _name(key, request),
                embedded.host,
                request,
                image,
                _address(key),
                folder,
                shelf=shelf,
                deadline=deadline,
            ) as guest,
        ):
            readiness.make(guest, deadline)
            guest.shell.run("sync", deadline=deadline).check()
            guest.leave()
            if _stands_still(request):
                guest.domain.suspend(deadline)
            embedded.host.shell.run("sync", deadline=deadline).check()
            plugs = dict(embedded.plugs)
            roles = {held.serial: target for target, held in guest.disks.items()}
            embedded.leave()
            with step("write the snapshot", host=recipe.name, guest=guest.name):
                save_memory(embedded.machine, folder / "memory.zst", deadline=deadline)
            guest.frozen = True
    entries = [
        {
            "role": roles.get(plug.serial, _BOOT),
            **{name: value for name, value in asdict(plug).items() if name != "image"},
        }
        for plug in plugs.values()
    ]
    (folder / "plugs.json").write_text(json.dumps(entries))
    (folder / "qemu.pid").unlink(missing_ok=True)
    if shelf is not None:
        shelf.unlink()


def _return(
    poised: Poised, request: GuestRequest, embedded: Embedded, files: dict[str, Path], deadline: Deadline
) -> Guest:
    host, boot = embedded.host, poised.image.boot
    host.mounted.add(boot.key)
    domain = host.connection.domain(poised.name, deadline)
    if _stands_still(request):
        domain.resume(deadline)
    disks = {
        role: Held(files[role], plug.serial, plug.read_only, plug.sector)
        for role, plug in poised.plugs
        if role != _BOOT
    }
    spec = domain_spec(
        poised.name,
        request,
        poised.address,
        boot=host.mount(boot.disk, boot.key, deadline=deadline),
        init=poised.image.init,
        disks=[held.spec(target, host) for target, held in sorted(disks.items())],
        host=host,
        identity=domain.uuid,
    )
    folder = files["xvda"].parent
    return Guest(poised.name, request, spec, poised.image, poised.address, host, domain, host.shell, folder, disks)


def _stands_still(request: GuestRequest) -> bool:
    """Whether the guest is paused before its host is stopped.

    A guest with hardware virtualization may be in the midst of its own instructions when QEMU stops, and what a CPU is
    in the midst of then does not come back whole: on Xen 4.14 one return in three left the guest's kernel spinning for
    a lock within an interrupt, for ever. A PV guest is to QEMU a program like any other.
    """
    return request.type != "pv"


def _making(folder: Path) -> str:
    """Which making of what it is; things of an older version of the lab have no birth, and must not seem equal."""
    return birth(folder) or folder.name


def _name(key: str, request: GuestRequest) -> str:
    return f"{request.name}-{key[:4]}"


def _address(key: str) -> Address:
    return Address(_FIRST + int(key[:8], 16) % _NUMBERS)
