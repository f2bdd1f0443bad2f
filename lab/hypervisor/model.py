"""The words of a hypervisor: what it is, what can be asked of it, and what of a domain."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from types import TracebackType
from typing import Protocol, Self

from lab.deadline import Deadline
from lab.errors import LabError

__all__ = ["Connection", "Domain", "DomainSize", "DomainState", "HypervisorFacts", "MigrationPlan"]


class DomainState(Enum):
    """Where a domain is in its life. ABSENT and UNKNOWN are never libvirt's: nothing there, and could not be asked."""

    NOSTATE = "no state"
    RUNNING = "running"
    BLOCKED = "blocked"
    PAUSED = "paused"
    SHUTDOWN = "shutting down"
    SHUTOFF = "shut off"
    CRASHED = "crashed"
    SUSPENDED = "suspended"
    ABSENT = "absent"
    UNKNOWN = "unknown"

    @property
    def executes(self) -> bool:
        """Whether a guest in this state has a life that could be lost: it runs, or would run on when resumed."""
        return self in {DomainState.RUNNING, DomainState.BLOCKED, DomainState.PAUSED, DomainState.SUSPENDED}


@dataclass(frozen=True, slots=True)
class HypervisorFacts:
    """What a host says of itself.

    ``hypervisor_version`` of Xen is major.minor only (``4.20``): libvirt's libxl driver leaves the third number out
    (``virConnectGetVersion``), so 4.20.4 has to be read elsewhere (``xl info``). ``libvirt_version`` is the
    daemon's, not this process's.
    """

    hypervisor: str
    hypervisor_version: str
    libvirt_version: str
    hostname: str
    capabilities_xml: str


@dataclass(frozen=True, slots=True)
class DomainSize:
    """What a domain has been given."""

    vcpus: int
    memory_kib: int
    max_memory_kib: int


@dataclass(frozen=True, slots=True)
class MigrationPlan:
    """How a domain is to be moved.

    ``uri`` is where the target listens, such as ``tcp://10.77.0.20``; without it the target names itself, which only
    works where the source can resolve that name. ``peer_to_peer`` is the target's libvirt URI as the *source* sees
    it: then the source's daemon talks to the target's. Otherwise this process steers both.
    By default the domain ends up defined on the target and nowhere else.
    """

    live: bool = True
    uri: str | None = None
    peer_to_peer: str | None = None
    persist_on_target: bool = True
    undefine_on_source: bool = True


class Domain(Protocol):
    """A domain of a connection. Each call is bounded by its deadline.

    Raises, for every call: GuestNotFoundError (no such domain any more), GuestError (refused for this guest),
    UnsupportedError (the driver cannot), HostError (connection or machine), DeadlineError.
    """

    @property
    def connection(self) -> Connection: ...
    @property
    def name(self) -> str: ...
    @property
    def uuid(self) -> str: ...
    def start(self, deadline: Deadline, *, paused: bool = False) -> None: ...
    def destroy(self, deadline: Deadline) -> None:
        """Pull the plug. Nothing to do is no error: the domain is shut off or gone."""

    def undefine(self, deadline: Deadline) -> None:
        """Forget the definition and a managed save image. Nothing to do is no error; a running domain runs on."""

    def shutdown(self, deadline: Deadline) -> None:
        """Ask the guest to power off; returns when it was asked."""

    def suspend(self, deadline: Deadline) -> None: ...
    def resume(self, deadline: Deadline) -> None: ...
    def state(self, deadline: Deadline) -> DomainState: ...
    def is_active(self, deadline: Deadline) -> bool:
        """Whether it runs or is paused; a domain that is gone is not active."""

    def size(self, deadline: Deadline) -> DomainSize: ...
    def xml(self, deadline: Deadline) -> str: ...
    def save(self, path: str, deadline: Deadline) -> None:
        """Write memory and state to ``path`` on the host and stop the domain."""

    def attach(self, device_xml: str, deadline: Deadline) -> None:
        """Plug a device into the running domain."""

    def detach(self, device_xml: str, deadline: Deadline) -> None:
        """Pull a device out of the running domain."""

    def migrate_to(self, target: Connection, plan: MigrationPlan, deadline: Deadline) -> Domain:
        """The domain on ``target``. On the deadline and on Ctrl-C the job is aborted as far as the driver can.
        Callers use :func:`lab.hypervisor.migration.migrate`, which also says what became of the domain.
        """


class Connection(Protocol):
    """A connection to one hypervisor; leaving it as a context manager closes it. Raises as :class:`Domain` does."""

    @property
    def uri(self) -> str: ...
    @property
    def broken(self) -> LabError | None:
        """The first cause why this connection cannot be used any more, or nothing."""

    def facts(self, deadline: Deadline) -> HypervisorFacts: ...
    def define(self, xml: str, deadline: Deadline) -> Domain: ...
    def domain(self, name: str, deadline: Deadline) -> Domain: ...
    def domains(self, deadline: Deadline) -> tuple[str, ...]:
        """The names of all domains, active or not, sorted."""

    def restore(self, path: str, xml: str | None, deadline: Deadline) -> None:
        """Bring a saved domain back. ``xml`` replaces its definition; libxl refuses that (UnsupportedError)."""

    def reconnect(self, deadline: Deadline) -> Connection:
        """Another connection to the same hypervisor; this one stays as it is."""

    def close(self) -> None:
        """Let go; never fails and never waits long. Domains of this connection are of no use afterwards."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
