"""The real stage: Xen hosts, embedded or the user's own, guests on them, and benches for NTFS."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Protocol

from lab.beside import beside, entered_beside
from lab.cache import Cache
from lab.deadline import Deadline
from lab.errors import LabError
from lab.guests import moving
from lab.guests.guest import Guest, SilentGuestError
from lab.guests.image import obtain_guest_image
from lab.guests.moving import Arrival
from lab.guests.poised import AS_BOOTED, Readiness
from lab.hosts.embedded.network import PrivateNetwork
from lab.hosts.host import Host
from lab.hosts.run_folder import RunFolder, run_folder
from lab.kernels.delivery import push_modules
from lab.kernels.loading import load_modules
from lab.keys import Keys
from lab.matrix.model import HostFacts
from lab.ntfs.specimen import Specimen
from lab.ntfs.volumes import Volume
from lab.process import run
from lab.scenario.cell import (
    BootRequest,
    Cell,
    GuestRequest,
    HostRequest,
    MigrationRequest,
    ModulesRequest,
    NtfsRequest,
)
from lab.scenario.inventory import Inventory
from lab.settings import Settings
from lab.stage import judging
from lab.stage.crossing import writing_request
from lab.stage.dom0 import require_dom0
from lab.stage.evidence import keep_guest, keep_host
from lab.stage.foretelling import Foreteller
from lab.stage.hosts import HostPool
from lab.stage.planning import make_ahead
from lab.stage.prepared import Foregone, PreparedGuest, PreparedMove, PreparedVolume
from lab.stage.volumes import VolumeCells, kernel_facts
from lab.stage.watched import WATCHED
from lab.verdict import Outcome, Verdict

__all__ = ["XenStage", "open_stage"]


@contextmanager
def open_stage(settings: Settings, *, keep: bool = False, specimens: Iterable[Specimen] = ()) -> Iterator[XenStage]:
    """A stage for one session; everything it brought up is gone at the end, however the end comes.

    With ``keep``, the guest of the first cell that fails stays as long as the stage. ``specimens`` are volumes that no
    recipe made; cells may name them like those of recipes.
    """
    cache = Cache(settings.cache)
    with run_folder(cache) as folder, ExitStack() as stack:
        keys = Keys.of(cache, deadline=Deadline(30))
        pool = HostPool(cache, keys, folder, settings.accelerator, stack, Inventory.of(settings.hosts))
        cells = VolumeCells(cache, folder, pool, stack, {one.name: one for one in specimens})
        stage = XenStage(cache, keys, folder, pool, stack, cells)
        stage.keep = keep
        yield stage


class _Keep(Protocol):
    """Writes what explains a guest's fate into a folder. Never raises."""

    def __call__(self, folder: Path, *, deadline: Deadline) -> None: ...


@dataclass
class XenStage:
    """Implements :class:`lab.staging.Stage`. It belongs to one thread."""

    cache: Cache
    keys: Keys
    folder: RunFolder
    pool: HostPool
    _stack: ExitStack
    ntfs: VolumeCells
    keep: bool = False
    """Whether the next guest on which a cell fails is to stay."""
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.cycle(range(10, 100)))
    _foreteller: Foreteller = field(default_factory=Foreteller)
    _last: list[_Keep] = field(default_factory=list)
    """What writes the evidence of each guest of the cell in hand."""
    _silent: set[str] = field(default_factory=set)
    """Cells whose guest did not answer once it had arrived."""
    _failed: bool = False
    """Whether the cell in hand has failed."""

    @property
    def accelerator(self) -> str:
        """See :class:`lab.staging.Stage`."""
        return self.pool.accelerator.name

    def hosts(self) -> tuple[HostFacts, ...]:
        """See :class:`lab.staging.Stage`."""
        return self.pool.seen

    def plan(self, cells: Sequence[Cell], deadline: Deadline) -> None:
        """Make what is not in the cache yet: volumes, images, snapshots."""
        for name in dict.fromkeys(c.request.volume for c in cells if isinstance(c.request, NtfsRequest)):
            with suppress(LabError):  # the cell that wants it will meet the same, and say so
                self.ntfs.specimen(name, deadline)
        make_ahead(self.cache, self.keys, self.pool, [*cells, *map(_writing, cells)], deadline=deadline)

    @contextmanager
    def prepare(
        self,
        cell: Cell,
        evidence: Path,
        deadline: Deadline,
    ) -> Iterator[PreparedGuest | PreparedMove | PreparedVolume | Foregone]:
        """See :class:`lab.staging.Stage`."""
        self._last.clear()
        self._failed = False
        match cell.request:
            case MigrationRequest() as request:
                for each in (request.source, request.target):
                    require_dom0(each, self.cache, self.keys, deadline)
                with self._life() as life:
                    network = life.enter_context(self.pool.together(request.source, request.target, deadline))
                    coming = life.enter_context(entered_beside(self._target(request, network, deadline)))
                    guest = self._placed(
                        life, request.source, request.guest, request.modules, deadline, network, WATCHED
                    )
                    target = coming()
                    facts = kernel_facts(guest.image.boot.kernel)
                    arrival, departure = self._arrivals(life, guest, request, deadline)
                    # Emulated CPUs have left guests spinning for a lock that nobody holds, after a move as well.
                    blames = guest.host.accelerator != "tcg" or cell.id in self._silent
                    yield PreparedMove(guest, guest.host, target, facts, cell.limits, arrival, departure, blames)
            case BootRequest() as request:
                require_dom0(request.host, self.cache, self.keys, deadline)
                with self._life() as life:
                    guest = self._placed(life, request.host, request.guest, request.modules, deadline)
                    yield PreparedGuest(guest, kernel_facts(guest.image.boot.kernel))
            case NtfsRequest() as request:
                found = self.ntfs.prepare(request, evidence, deadline)
                if isinstance(found, PreparedVolume):
                    self._last.append(found.bench.guest.keep)
                yield found

    def judge(
        self,
        cell: Cell,
        prepared: PreparedGuest | PreparedMove | PreparedVolume | Foregone,
        evidence: Path,
        deadline: Deadline,
    ) -> Verdict:
        """See :class:`lab.staging.Stage`."""
        self._failed = True  # until there is a verdict that says otherwise
        verdict = self._judge(cell, prepared, evidence, deadline)
        self._failed = verdict.outcome in {Outcome.FAIL, Outcome.ERROR}
        return verdict

    def _judge(
        self,
        cell: Cell,
        prepared: PreparedGuest | PreparedMove | PreparedVolume | Foregone,
        evidence: Path,
        deadline: Deadline,
    ) -> Verdict:
        match cell.request, prepared:
            case MigrationRequest() as request, PreparedMove():
                shell, wanted = prepared.guest.shell, request.modules.load
                with beside(lambda: load_modules(shell, wanted, deadline=deadline)) as loadings:
                    foretold = self._foreteller.ask(request, prepared, evidence, deadline)
                try:
                    verdict = judging.judge_move(request, prepared, loadings(), evidence, deadline)
                except SilentGuestError:
                    self._silent.add(cell.id)
                    raise
                verdict = replace(verdict, facts={**verdict.facts, **foretold.facts})
                self._foreteller.learn(cell, verdict, self.hosts())
                return verdict
            case BootRequest() as request, PreparedGuest():
                return judging.judge_guest(request, prepared, evidence, deadline)
            case NtfsRequest() as request, PreparedVolume():
                return self.ntfs.judge(request, prepared, evidence, deadline)
            case _, Foregone():
                return replace(prepared.verdict, facts={**prepared.verdict.facts, **prepared.facts})
            case _:
                raise LabError(f"{cell.id}: prepared as {type(prepared).__name__}")

    def salvage(self, cell: Cell, evidence: Path) -> None:  # noqa: ARG002 - as the Protocol has it
        """See :class:`lab.staging.Stage`."""
        deadline = Deadline(20)
        for keep in self._last:
            keep(evidence, deadline=deadline)
        for host in self.pool.up():
            keep_host(host, evidence, deadline=deadline)

    def host(self, request: HostRequest, deadline: Deadline) -> HostFacts:
        """See :class:`lab.staging.Stage`."""
        return self.pool.host(request, deadline).facts

    @contextmanager
    def guest(self, host: HostRequest, request: GuestRequest, deadline: Deadline) -> Iterator[Guest]:
        """See :class:`lab.staging.Stage`."""
        with self.pool.lodger(host, request, deadline) as guest:
            self._last.append(partial(keep_guest, guest))
            yield guest

    def move(self, guest: Guest, target: HostRequest, how: str, deadline: Deadline) -> None:
        """See :class:`lab.staging.Stage`."""
        moving.move(guest, self.pool.destination(guest, target, deadline), how, deadline=deadline)

    @contextmanager
    def volume(self, name: str, deadline: Deadline) -> Iterator[Volume]:
        """See :class:`lab.staging.Stage`."""
        original = self.ntfs.volume(name, deadline)
        copy = self.folder.path / f"{name}-{next(self._numbers)}.img"
        run("cp", "--sparse=always", original.path, copy, deadline=deadline).check()
        try:
            yield Volume(copy, original.recipe, original.manifest)
        finally:
            copy.unlink(missing_ok=True)

    @contextmanager
    def _life(self) -> Iterator[ExitStack]:
        """What one cell has for itself; if the cell fails and the stage is to be kept, all of it is. One is enough."""
        # Idle hosts take time from the two that are at work.
        self.ntfs.close()
        with ExitStack() as life:
            try:
                yield life
            except BaseException:
                self._failed = True
                raise
            finally:
                if self.keep and self._failed:
                    self.keep = False
                    self._stack.push(life.pop_all())

    @contextmanager
    def _target(self, request: MigrationRequest, network: PrivateNetwork | None, deadline: Deadline) -> Iterator[Host]:
        """The host that a guest will move to, with the kernel at hand that it will name there."""
        arrives = request.arrive or request.guest
        with (
            obtain_guest_image(self.cache, arrives, self.keys, deadline=deadline) as image,
            self.pool.own(request.target, network=network, deadline=deadline) as host,
        ):
            host.mount(image.boot.disk, image.boot.key, deadline=deadline)
            yield host

    def _placed(  # noqa: PLR0913, PLR0917 - a guest, where it goes, and what it gets
        self,
        life: ExitStack,
        host: HostRequest,
        request: GuestRequest,
        modules: ModulesRequest,
        deadline: Deadline,
        network: PrivateNetwork | None = None,
        ready: Readiness = AS_BOOTED,
    ) -> Guest:
        guest = life.enter_context(self.pool.guest(host, request, ready, network=network, deadline=deadline))
        self._last.append(partial(keep_guest, guest))
        wanted = (*modules.load, *modules.load_after)
        if wanted:
            push_modules(guest.shell, guest.image.boot.kernel, wanted, deadline=deadline)
        return guest

    def _arrivals(
        self, life: ExitStack, guest: Guest, request: MigrationRequest, deadline: Deadline
    ) -> tuple[Arrival | None, Arrival | None]:
        """As what the guest arrives, with the modules of that kernel on its disk, and as what it comes back."""
        if request.arrive is None:
            return None, None
        image = life.enter_context(obtain_guest_image(self.cache, request.arrive, self.keys, deadline=deadline))
        wanted = (*request.modules.load, *request.modules.load_after)
        if wanted and image.boot.kernel.release != guest.image.boot.kernel.release:
            # Its package manager will not install them; beside those of the kernel that runs they harm nobody.
            push_modules(guest.shell, image.boot.kernel, wanted, deadline=deadline)
        return Arrival(request.arrive, image), Arrival(guest.request, guest.image)


def _writing(cell: Cell) -> Cell:
    """The cell as the driver has it that does the writing in it; most have none, and are as they are."""
    request = cell.request
    return (
        replace(cell, request=writing_request(request)) if isinstance(request, NtfsRequest) and request.writer else cell
    )
