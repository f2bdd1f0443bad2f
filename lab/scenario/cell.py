"""A cell: one combination of a scenario's axes, resolved so far that a stage can bring it up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = [
    "MAX_ITERATIONS",
    "BootRequest",
    "Cell",
    "Expectation",
    "GuestRequest",
    "HostRequest",
    "KernelRequest",
    "Limits",
    "MigrationRequest",
    "ModulesRequest",
    "NtfsRequest",
    "Request",
]

MAX_ITERATIONS = 1000
"""Of one move in one cell. Days under emulation; more is a slip of the pen."""


@dataclass(frozen=True, slots=True)
class HostRequest:
    """A Xen host by what it must be. ``xen`` is the version's first two numbers, such as ``4.17``.

    ``role`` is the key under ``hosts:`` (``source``, ``target``, or any name for a lone host).
    ``inventory`` names a host of the user's own list instead; then ``xen`` may be empty.
    ``dom0`` is the architecture of what steers the host, kernel and tools; Xen itself is amd64.
    """

    role: str
    xen: str = ""
    inventory: str = ""
    dom0: str = "amd64"

    @property
    def label(self) -> str:
        """What axes and cells call it: ``4.17``, ``4.14-dom0-i386``, or the name of the inventory."""
        return self.inventory or self.xen + ("" if self.dom0 == "amd64" else f"-dom0-{self.dom0}")

    @property
    def name(self) -> str:
        """The name used in reports and in the ``hosts`` of matrix.json."""
        return self.inventory or f"xen-{self.label}"


@dataclass(frozen=True, slots=True)
class KernelRequest:
    """A kernel by what its package is: Debian ``release`` (bookworm, trixie, forky, experimental ...),
    ``arch`` (amd64, i386) and ``flavour`` (cloud, generic, 686-pae).
    """

    release: str
    arch: str = "amd64"
    flavour: str = "cloud"

    @property
    def name(self) -> str:
        """Such as ``trixie-amd64-cloud``."""
        return f"{self.release}-{self.arch}-{self.flavour}"


@dataclass(frozen=True, slots=True)
class GuestRequest:
    """A guest by its recipe. ``system`` is ``debian`` (systemd, realistic) or ``probe`` (own init, fast).

    ``type`` is pv, pvh or hvm; ``memory`` is in MiB.
    """

    name: str
    release: str
    userland: str
    kernel: KernelRequest
    type: str = "pv"
    memory: int = 256
    system: str = "debian"


@dataclass(frozen=True, slots=True)
class ModulesRequest:
    """Kernel modules: ``load`` before anything else, ``load_after`` once the guest has moved.

    ``delivery`` is ``push`` (sent into the running guest through its shell) or ``image`` (already on its disk).
    """

    load: tuple[str, ...] = ()
    load_after: tuple[str, ...] = ()
    delivery: str = "push"


@dataclass(frozen=True, slots=True)
class Limits:
    """Upper bounds of the scenario, in seconds.

    ``fsync`` is what one write to the disk may take once the guest has arrived; ``clock`` by how much its wall clock
    may stray while it moves.
    """

    network_gap: float = 5.0
    guest_pause: float = 5.0
    cell: float = 600.0
    fsync: float = 5.0
    clock: float = 1.0


@dataclass(frozen=True, slots=True)
class BootRequest:
    """Start a guest on a host and look inside; with ``modules``, load them there."""

    host: HostRequest
    guest: GuestRequest
    modules: ModulesRequest = ModulesRequest()


@dataclass(frozen=True, slots=True)
class MigrationRequest:
    """Move ``guest`` from ``source`` to ``target``; ``how`` is cold, cold-shared, save-restore or live.

    Cold copies the disk while the guest is off; with cold-shared, both hosts have the disk. ``arrive`` is the same
    guest under another kernel or of another type, as which it runs on the target; None where it stays what it is. With
    ``back`` it returns to the source in the end, as it was there. ``iterations`` is how often it goes, returning in
    between.
    """

    source: HostRequest
    target: HostRequest
    guest: GuestRequest
    how: str
    modules: ModulesRequest = ModulesRequest()
    arrive: GuestRequest | None = None
    back: bool = False
    iterations: int = 1


@dataclass(frozen=True, slots=True)
class NtfsRequest:
    """Mount ``volume`` with ``driver`` in a guest of ``kernel`` and do ``operation`` to it.

    ``stage`` is ``xen`` (a guest of ``host``) or ``microvm`` (a bare QEMU guest; ``host`` is ignored). With a
    ``writer`` that driver does the operation, in a guest of its own, and ``driver`` reads what has come of it.
    """

    host: HostRequest
    guest: GuestRequest
    driver: str
    volume: str
    operation: str = "read"
    stage: str = "xen"
    writer: str = ""

    @property
    def shelved(self) -> str:
        """What the volume is called that ``driver`` gets."""
        return f"{self.volume}+{self.operation}@{self.writer}" if self.writer else self.volume


Request = BootRequest | MigrationRequest | NtfsRequest


@dataclass(frozen=True, slots=True)
class Expectation:
    """What the scenario says will come of a cell, other than a pass. ``place`` is file:line:column."""

    outcome: str
    because: str
    finding: str = ""
    place: str = ""


@dataclass(frozen=True, slots=True)
class Cell:
    """One combination = one pytest item = one square of a matrix.

    ``name`` is unique within its file and readable: the values of the axes that vary, joined by ``-``.
    ``id`` is ``path::name`` with the path as given on the command line, relative to the root, with ``/``.
    ``axes`` holds every axis of its kind, also those that do not vary.
    """

    path: str
    name: str
    scenario: str
    kind: str
    axes: Mapping[str, str]
    request: Request
    limits: Limits = Limits()
    expect: Expectation | None = None
    line: int = 1
    facts: Mapping[str, str] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """The cell's name in every report."""
        return f"{self.path}::{self.name}"
