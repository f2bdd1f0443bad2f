"""Where one bench at a time is up: cells that want the same guest share it, until a driver spoils it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import count
from typing import NamedTuple

from lab.deadline import Deadline
from lab.errors import LabError
from lab.events import emit, step
from lab.hosts.run_folder import RunFolder
from lab.ntfs.shelf import Shelf
from lab.ntfs.specimen import Specimen
from lab.scenario.cell import GuestRequest, NtfsRequest
from lab.stage.bench import Bench
from lab.stage.furnishing import is_furnished
from lab.stage.hosts import HostPool
from lab.stage.microvm import bench_guest

__all__ = ["BenchSlot"]

_ANSWER_SECONDS = 20.0


class _Up(NamedTuple):
    """A bench, whose it is, and what ends it."""

    key: tuple[str, str, GuestRequest, str]
    bench: Bench
    life: ExitStack


@dataclass
class BenchSlot:
    """Benches of ``pool``; what is up ends with ``stack`` at the latest. Files of its shelves are called ``name``."""

    pool: HostPool
    folder: RunFolder
    stack: ExitStack
    name: str
    _up: _Up | None = None
    _shelves: Iterator[int] = field(default_factory=count)

    def take(self, request: NtfsRequest, specimen: Specimen, deadline: Deadline) -> Bench:
        """A bench on which the cell can run, with ``specimen`` on its shelf: the one that is up, or a new one.

        Raises:
            LabError: it does not come up, or the volume cannot be copied.
        """
        key = (request.stage, request.host.name, request.guest, request.driver if is_furnished(request) else "")
        if self._up is not None:
            shelf = self._up.bench.shelf
            if self._up.key == key and shelf.has_room(specimen) and self._is_sound(self._up.bench, deadline):
                shelf.put(specimen, deadline)
                return self._up.bench
            self.close()
        life = self.stack.enter_context(ExitStack())
        shelf = Shelf.empty(self.folder.path / f"{self.name}-{next(self._shelves)}.raw")
        life.callback(shelf.disk.unlink, missing_ok=True)
        shelf.put(specimen, deadline)
        with step("set up a bench", host=request.host.name, kernel=request.guest.kernel.name):
            guest = life.enter_context(bench_guest(self.pool, self.folder, request, shelf.disk, deadline=deadline))
        self._up = _Up(key, Bench(guest, shelf), life)
        return self._up.bench

    def close(self) -> None:
        """Take down what is up."""
        if self._up is not None:
            life = self._up.life
            self._up = None
            life.close()

    def _is_sound(self, bench: Bench, deadline: Deadline) -> bool:
        if bench.spoiled:
            return False
        try:
            return bench.answers(deadline.at_most(_ANSWER_SECONDS))
        except LabError as trouble:
            emit("bench lost", guest=bench.guest.name, why=trouble.message)
            return False
