"""The stage on which drivers are timed: one guest a kernel, with every driver that the kernel can have in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from lab.cache import Cache, fingerprint
from lab.deadline import Deadline
from lab.debian.kernel import obtain_kernel
from lab.errors import LabError
from lab.events import emit, step
from lab.guests.bare import BareReadiness, bare_guest
from lab.hosts.run_folder import RunFolder, run_folder
from lab.kernels.build import BuiltModule, obtain_module
from lab.keys import Keys
from lab.matrix.model import HostFacts
from lab.ntfs.drivers import Driver
from lab.ntfs.perf import Sizes, sizes_for, volumes
from lab.ntfs.shelf import Shelf
from lab.ntfs.specimen import Specimen
from lab.ntfs.volumes import Recipe, Volume, build, recipe_key, recipes
from lab.scenario.cell import GuestRequest, HostRequest, KernelRequest
from lab.settings import Settings
from lab.stage.benched import BenchGuest, OnXen
from lab.stage.hosts import HostPool
from lab.stage.perf_bench import PerfBench, perf_readiness

__all__ = ["PerfStage", "open_perf_stage"]

_USERLAND = "trixie"
"""Of every such guest, whatever its kernel: fio and the FUSE drivers are the same everywhere."""


@contextmanager
def open_perf_stage(settings: Settings, *, host: str) -> Iterator[PerfStage]:
    """A stage for one run, with guests on the Xen of that version, or without Xen where it is empty; everything that
    it brought up is gone at the end.
    """
    cache = Cache(settings.cache)
    with run_folder(cache) as folder, ExitStack() as stack:
        keys = Keys.of(cache, deadline=Deadline(30))
        pool = HostPool(cache, keys, folder, settings.accelerator, stack)
        yield PerfStage(cache, folder, pool, stack, host)


@dataclass
class PerfStage:
    """Implements :class:`lab.engine.perf.Stage`. It belongs to one thread."""

    cache: Cache
    folder: RunFolder
    pool: HostPool
    stack: ExitStack
    host: str
    _specimens: dict[str, Specimen] = field(default_factory=dict)
    _shelves: Iterator[int] = field(default_factory=count)

    @property
    def accelerator(self) -> str:
        """What runs the guests."""
        return self.pool.accelerator.name

    @property
    def sizes(self) -> Sizes:
        """How much is measured here."""
        return sizes_for(self.accelerator)

    def hosts(self) -> tuple[HostFacts, ...]:
        """The hosts that were brought up so far."""
        return self.pool.seen

    @contextmanager
    def bench(
        self, kernel: str, drivers: Sequence[Driver], needed: Sequence[str], deadline: Deadline
    ) -> Iterator[PerfBench]:
        """A guest of the kernel of that release with these drivers, and the volumes that are ``needed``.

        Raises:
            LabError: it does not come up, or a volume cannot be had.
        """
        specimens = {name: self._specimen(name, deadline) for name in needed}
        request = GuestRequest("perf", _USERLAND, "amd64", KernelRequest(kernel), system="perf")
        with ExitStack() as life:
            built, missing = self._modules(life, request.kernel, drivers, deadline)
            shelf = Shelf.empty(self.folder.path / f"perf-{next(self._shelves)}.raw")
            life.callback(shelf.disk.unlink, missing_ok=True)
            with step("set up a bench", host=self.host or "none", kernel=request.kernel.name):
                ready = perf_readiness(built)
                guest = life.enter_context(self._guest(request, ready, shelf.disk, deadline))
            yield PerfBench(guest, shelf, specimens, self.sizes, missing)

    @contextmanager
    def _guest(
        self, request: GuestRequest, ready: BareReadiness, shelf: Path, deadline: Deadline
    ) -> Iterator[BenchGuest]:
        if not self.host:
            with bare_guest(self.pool.ground, request, ready, self.folder, shelf=shelf, deadline=deadline) as bare:
                yield bare
            return
        host = HostRequest("lab", self.host)
        with self.pool.guest(host, request, ready, shelf=shelf, deadline=deadline) as guest:
            yield OnXen(guest)

    def _modules(
        self, life: ExitStack, wanted: KernelRequest, drivers: Sequence[Driver], deadline: Deadline
    ) -> tuple[Mapping[str, BuiltModule], Mapping[str, str]]:
        """What is compiled for the kernel, by driver; and why some could not be, which takes no other with it."""
        built: dict[str, BuiltModule] = {}
        missing: dict[str, str] = {}
        kernel = life.enter_context(
            obtain_kernel(self.cache, wanted.release, arch=wanted.arch, flavour=wanted.flavour, deadline=deadline)
        )
        for driver in drivers:
            if driver.built is None or driver.built.source(wanted.release) is None:
                continue
            try:
                module = obtain_module(self.cache, wanted.release, kernel, driver.built, deadline=deadline)
                built[driver.name] = life.enter_context(module)
            except LabError as trouble:
                emit("module trouble", driver=driver.name, kernel=wanted.name, why=trouble.message)
                missing[driver.name] = trouble.message
        return built, missing

    def _specimen(self, name: str, deadline: Deadline) -> Specimen:
        if name not in self._specimens:
            recipe = volumes(self.sizes)[name]

            def make(into: Path) -> None:
                build(recipe, into, deadline)

            folder = self.stack.enter_context(
                self.cache.use("volume", _key(recipe, deadline), make, deadline=deadline, title=f"volume {recipe.name}")
            )
            image = next(path for path in folder.iterdir() if path.is_file())
            self._specimens[name] = Specimen.of(Volume(image, recipe, recipe.manifest()))
        return self._specimens[name]


def _key(recipe: Recipe, deadline: Deadline) -> str:
    """As the rest of the lab has it; for a recipe that is in no registry, with what it is made of."""
    key = recipe_key(recipe, deadline)
    return key if recipe.name in recipes else f"{key}-{fingerprint(repr(recipe.items), recipe.size)}"
