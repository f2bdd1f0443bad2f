"""A domain of a libvirt connection."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, TypeVar

from lab.deadline import Deadline
from lab.errors import GuestError, UsageError
from lab.hypervisor import binding
from lab.hypervisor.binding import RawDomain
from lab.hypervisor.calls import Job, briefly
from lab.hypervisor.errors import GuestNotFoundError, GuestRefusedError
from lab.hypervisor.model import Connection, Domain, DomainSize, DomainState, MigrationPlan
from lab.wait import wait_until

if TYPE_CHECKING:
    from lab.hypervisor.connection import LibvirtConnection

__all__ = ["LibvirtDomain", "wait_for_state"]

T = TypeVar("T")

# By the numbers of virDomainState.
_STATES = (
    DomainState.NOSTATE,
    DomainState.RUNNING,
    DomainState.BLOCKED,
    DomainState.PAUSED,
    DomainState.SHUTDOWN,
    DomainState.SHUTOFF,
    DomainState.CRASHED,
    DomainState.SUSPENDED,
)
_ABORT_SECONDS = 2.0
_ANSWER_SECONDS = 2.0


class LibvirtDomain:
    """A domain by its UUID: libvirt looks it up by that, so a namesake defined later is another domain."""

    def __init__(self, connection: LibvirtConnection, raw: RawDomain) -> None:
        self.connection = connection
        self.name = raw.name()
        self.uuid = raw.UUIDString()
        self._raw = raw

    def __repr__(self) -> str:
        return f"<LibvirtDomain {self.name} on {self.connection.uri}>"

    def start(self, deadline: Deadline, *, paused: bool = False) -> None:
        flags = binding.START_PAUSED if paused else 0
        self._run("start", lambda: self._raw.createWithFlags(flags), deadline)

    def destroy(self, deadline: Deadline) -> None:
        """Pull the plug; see :class:`lab.hypervisor.model.Domain`."""
        try:
            self._run("destroy", self._raw.destroy, deadline)
        except GuestNotFoundError:
            return
        except GuestRefusedError:
            if self.is_active(deadline):
                raise

    def undefine(self, deadline: Deadline) -> None:
        """Forget the definition; see :class:`lab.hypervisor.model.Domain`."""
        try:
            self._run("undefine", lambda: self._raw.undefineFlags(binding.UNDEFINE_MANAGED_SAVE), deadline)
        except GuestNotFoundError:
            return
        except GuestRefusedError:  # a transient domain has no definition to forget, and libvirt calls that invalid
            if self._is_persistent(deadline):
                raise

    def shutdown(self, deadline: Deadline) -> None:
        self._run("shutdown", self._raw.shutdown, deadline)

    def suspend(self, deadline: Deadline) -> None:
        self._run("suspend", self._raw.suspend, deadline)

    def resume(self, deadline: Deadline) -> None:
        self._run("resume", self._raw.resume, deadline)

    def state(self, deadline: Deadline) -> DomainState:
        number = self._run("state", self._raw.state, deadline)[0]
        return _STATES[number] if 0 <= number < len(_STATES) else DomainState.NOSTATE

    def is_active(self, deadline: Deadline) -> bool:
        try:
            return bool(self._run("is active", self._raw.isActive, deadline))
        except GuestNotFoundError:
            return False

    def size(self, deadline: Deadline) -> DomainSize:
        _state, most_kib, kib, vcpus, *_ = self._run("info", self._raw.info, deadline)
        return DomainSize(vcpus, kib, most_kib)

    def xml(self, deadline: Deadline) -> str:
        return self._run("dump XML", lambda: self._raw.XMLDesc(0), deadline)

    def save(self, path: str, deadline: Deadline) -> None:
        self._run(f"save to {path}", lambda: self._raw.save(path), deadline)

    def attach(self, device_xml: str, deadline: Deadline) -> None:
        self._run("attach", lambda: self._raw.attachDeviceFlags(device_xml, binding.AFFECT_LIVE), deadline)

    def detach(self, device_xml: str, deadline: Deadline) -> None:
        self._run("detach", lambda: self._raw.detachDeviceFlags(device_xml, binding.AFFECT_LIVE), deadline)

    def migrate_to(self, target: Connection, plan: MigrationPlan, deadline: Deadline) -> Domain:
        """Move it; see :class:`lab.hypervisor.model.Domain`.

        Raises:
            UsageError: ``target`` is not a libvirt connection.
        """
        if not isinstance(target, type(self.connection)):
            raise UsageError(
                f"{self.connection.uri}: guest {self.name}: migrate: {target.uri} is no libvirt connection"
            )
        call = f"migrate to {target.uri}"
        job = Job(self._abort, target.calls)
        flags = _flags(plan)
        params = {binding.MIGRATE_URI: plan.uri} if plan.uri is not None else {}
        towards, raw_target = plan.peer_to_peer, target.raw
        if towards is not None:
            self._run(call, lambda: self._raw.migrateToURI3(towards, params, flags), deadline, job=job)
            return target.domain(self.name, deadline)
        moved = self._run(call, lambda: self._raw.migrate3(raw_target, params, flags), deadline, job=job)
        return LibvirtDomain(target, moved)

    def _abort(self) -> str:
        """Ask libvirt to abort the job, past :class:`Calls`: the connection is busy with that very job."""

        def abort() -> str:
            try:
                self._raw.abortJob()
            except Exception as error:  # noqa: BLE001 - whatever it is, it is only told
                said = binding.listen(error)
                return f"abort refused: {said.text if said else error}"
            return "aborted"

        return briefly(
            abort,
            f"abort not answered within {_ABORT_SECONDS:g} s",
            seconds=_ABORT_SECONDS,
            flying=(self.connection.calls.flying,),
        )

    def _is_persistent(self, deadline: Deadline) -> bool:
        try:
            return bool(self._run("is persistent", self._raw.isPersistent, deadline))
        except GuestNotFoundError:
            return False

    def _run(self, call: str, function: Callable[[], T], deadline: Deadline, *, job: Job | None = None) -> T:
        return self.connection.calls.run(call, function, deadline, guest=self.name, job=job)


def _flags(plan: MigrationPlan) -> int:
    wanted = (
        (plan.live, binding.MIGRATE_LIVE),
        (plan.peer_to_peer is not None, binding.MIGRATE_PEER_TO_PEER),
        (plan.persist_on_target, binding.MIGRATE_PERSIST),
        (plan.undefine_on_source, binding.MIGRATE_UNDEFINE_SOURCE),
    )
    return sum(flag for want, flag in wanted if want)


def wait_for_state(domain: Domain, states: Iterable[DomainState], deadline: Deadline) -> DomainState:
    """The first of ``states`` that the domain is seen in; ask for ABSENT to accept that it is gone.

    Raises:
        DeadlineError: it was in none of them; the message has the state it was in.
        GuestError: it is gone, or crashed, and neither was asked for.
    """
    wanted = frozenset(states)
    seen = DomainState.UNKNOWN

    def look() -> DomainState | None:
        nonlocal seen
        try:
            # The last question gets time for its answer, so that it is about the guest and not about the deadline.
            seen = domain.state(Deadline(max(deadline.remaining(), _ANSWER_SECONDS)))
        except GuestNotFoundError:
            seen = DomainState.ABSENT
        if seen in {DomainState.ABSENT, DomainState.CRASHED} and seen not in wanted:
            raise GuestError(f"{domain.connection.uri}: guest {domain.name}: {seen.value} while waiting for {names}")
        return seen if seen in wanted else None

    names = " or ".join(sorted(state.value for state in wanted))
    return wait_until(
        f"{domain.connection.uri}: guest {domain.name}: {names}",
        look,
        deadline=deadline,
        detail=lambda: f"it is {seen.value}",
    )
