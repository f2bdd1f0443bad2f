"""Moving a domain to another host, and telling where it is afterwards."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from lab.deadline import Deadline
from lab.errors import DeadlineError, GuestError, LabError, UnsupportedError
from lab.hypervisor.errors import GuestNotFoundError
from lab.hypervisor.model import Connection, Domain, DomainState, MigrationPlan

__all__ = [
    "Migrated",
    "MigrationDeadlineError",
    "MigrationError",
    "MigrationRefusedError",
    "Sighting",
    "Whereabouts",
    "migrate",
    "moving",
    "whereabouts",
]

# The question after a failure has to be asked though the deadline may just have passed.
_AFTERWARDS_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Sighting:
    """What one host said of a domain; ``because`` is why the state is UNKNOWN."""

    uri: str
    state: DomainState
    because: str = ""

    def __str__(self) -> str:
        return f"{self.state.value} on {self.uri}" + (f" ({self.because})" if self.because else "")


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """Where a domain was last seen, on both hosts."""

    name: str
    source: Sighting
    target: Sighting

    @property
    def lives_once(self) -> bool | None:
        """Whether exactly one host has it alive (running or paused); nothing when one of them could not be asked."""
        states = (self.source.state, self.target.state)
        if DomainState.UNKNOWN in states:
            return None
        return sum(state.executes for state in states) == 1

    def __str__(self) -> str:
        return f"{self.name} is {self.source}, {self.target}"


@dataclass(frozen=True, slots=True)
class Migrated:
    """A migration that libvirt called done: its wall time as seen from here, and the domain on the target."""

    seconds: float
    domain: Domain


class MigrationError(GuestError):
    """A migration that failed. ``cause`` is the error of the call, ``whereabouts`` what was seen right afterwards."""

    def __init__(self, cause: LabError, whereabouts: Whereabouts) -> None:
        # By name: next in line after a subclass may be UnsupportedError, which wants a reason.
        LabError.__init__(self, f"{cause.message}; {whereabouts}", hint=cause.hint)
        self.cause = cause
        self.whereabouts = whereabouts


class MigrationDeadlineError(MigrationError, DeadlineError):
    """It was not done in time."""


class MigrationRefusedError(MigrationError, UnsupportedError):
    """The driver says that it cannot do this; ``reason`` is the cause's."""

    def __init__(self, cause: UnsupportedError, whereabouts: Whereabouts) -> None:
        MigrationError.__init__(self, cause, whereabouts)
        self.reason = cause.reason


def migrate(domain: Domain, target: Connection, plan: MigrationPlan, deadline: Deadline) -> Migrated:
    """Move ``domain`` to ``target``. On the deadline and on Ctrl-C the job is aborted as far as the driver can
    (libvirt's libxl driver knows no abort); that and the look afterwards may take some seconds beyond the deadline.

    Raises:
        MigrationDeadlineError: not done in time (also a DeadlineError).
        MigrationRefusedError: the driver cannot (also an UnsupportedError).
        MigrationError: anything else that went wrong (also a GuestError).
    """
    start = time.monotonic()
    with moving(domain, target):
        moved = domain.migrate_to(target, plan, deadline)
    return Migrated(time.monotonic() - start, moved)


@contextmanager
def moving(domain: Domain, target: Connection) -> Iterator[None]:
    """Around the calls of a move: whatever goes wrong becomes a :class:`MigrationError` that knows where it left the
    guest. Raises as :func:`migrate` does.
    """
    try:
        yield
    except MigrationError:
        raise
    except LabError as cause:
        seen = whereabouts(domain.name, domain.connection, target, Deadline(_AFTERWARDS_SECONDS))
        raise _failure(cause, seen) from cause


def _failure(cause: LabError, seen: Whereabouts) -> MigrationError:
    if isinstance(cause, UnsupportedError):
        return MigrationRefusedError(cause, seen)
    return (MigrationDeadlineError if isinstance(cause, DeadlineError) else MigrationError)(cause, seen)


def whereabouts(name: str, source: Connection, target: Connection, deadline: Deadline) -> Whereabouts:
    """Where the domain is. A host that cannot be asked is an UNKNOWN with its cause, never an error; a connection
    that is broken is replaced for this one question, because the host behind it may well answer a new one.
    """
    half = deadline.at_most(deadline.remaining() / 2)  # a source that hangs must leave time to ask the target
    return Whereabouts(name, _look(name, source, half), _look(name, target, deadline))


def _look(name: str, connection: Connection, deadline: Deadline) -> Sighting:
    try:
        if connection.broken is None:
            return Sighting(connection.uri, connection.domain(name, deadline).state(deadline))
        with connection.reconnect(deadline) as fresh:
            return Sighting(fresh.uri, fresh.domain(name, deadline).state(deadline))
    except GuestNotFoundError:
        return Sighting(connection.uri, DomainState.ABSENT)
    except LabError as error:
        return Sighting(connection.uri, DomainState.UNKNOWN, error.message)
