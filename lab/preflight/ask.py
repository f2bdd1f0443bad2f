"""Asking both hosts about guests, and judging: nothing is moved, nothing is written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from lab.beside import beside
from lab.deadline import Deadline
from lab.errors import UnknownNameError, UsageError
from lab.hosts.host import Host
from lab.hypervisor import Connection, GuestNotFoundError
from lab.preflight.answer import Answer
from lab.preflight.guest import GuestSurvey, ask_guest
from lab.preflight.move import Move
from lab.preflight.past import Past
from lab.preflight.question import Question
from lab.preflight.rules import judge
from lab.preflight.survey import ask_host
from lab.shell import Shell

__all__ = ["Side", "Subject", "guests_of", "preflight", "preflight_of"]

_DOM0 = "Domain-0"
"""What libvirt's libxl driver calls dom0."""


@dataclass(frozen=True)
class Side:
    """A host that can be asked. ``within`` gives the shell of a guest on it, or nothing."""

    name: str
    shell: Shell
    connection: Connection
    within: Callable[[str], Shell | None] = lambda _name: None


class Subject(Protocol):
    """A guest that runs; :class:`lab.guests.guest.Guest` is one."""

    @property
    def name(self) -> str: ...
    @property
    def shell(self) -> Shell: ...


def guests_of(side: Side, wanted: Sequence[str], move: Move, *, deadline: Deadline) -> tuple[str, ...]:
    """The guests that are meant: those of ``wanted``; if it is empty or ``all``, every one that could be moved so.

    Raises:
        UnknownNameError: one is not there.
        UsageError: dom0 is meant, or ``all`` and others, or there is none.
        HostError, DeadlineError: the host cannot be asked.
    """
    there = [name for name in side.connection.domains(deadline) if name != _DOM0]
    if not wanted or "all" in wanted:
        if len(wanted) > 1:
            raise UsageError(f"all, and {' '.join(name for name in wanted if name != 'all')}: which is meant?")
        found = tuple(name for name in there if move.cold or _runs(side, name, deadline))
        if not found:
            raise UsageError(
                f"{side.name} has no guest that {'is defined' if move.cold else 'runs'}", hint="see lab guest ls"
            )
        return found
    for name in wanted:
        if name == _DOM0:
            raise UsageError(f"{_DOM0} on {side.name} is the host itself, and cannot be moved")
        if name not in there:
            raise UnknownNameError(f"guest on {side.name}", name, there)
    return tuple(dict.fromkeys(wanted))


def _runs(side: Side, name: str, deadline: Deadline) -> bool:
    with suppress(GuestNotFoundError):
        return side.connection.domain(name, deadline).is_active(deadline)
    return False


def preflight(  # noqa: PLR0913 - both hosts, the guests, and what is meant and known
    source: Side, target: Side, guests: Sequence[str], move: Move, past: Past, *, deadline: Deadline
) -> tuple[Answer, ...]:
    """An answer for each of ``guests``; both hosts are asked once.

    Raises:
        GuestNotFoundError: one of them is not there (any more).
        HostError, DeadlineError: a host cannot be asked.
    """
    return tuple(map(judge, _questions(source, target, guests, move, past, deadline)))


def _questions(  # noqa: PLR0913, PLR0917 - as preflight
    source: Side, target: Side, guests: Sequence[str], move: Move, past: Past, deadline: Deadline
) -> tuple[Question, ...]:
    surveys: list[GuestSurvey] = [
        ask_guest(source.connection, name, source.within(name), kernel=move.kernel, deadline=deadline)
        for name in guests
    ]
    paths = tuple(dict.fromkeys(path for guest in surveys for path in guest.paths))
    with beside(lambda: ask_host(target.name, target.shell, target.connection, paths, deadline=deadline)) as there:
        here = ask_host(source.name, source.shell, source.connection, paths, deadline=deadline)
        return tuple(Question(here, there(), guest, move, past) for guest in surveys)


def preflight_of(  # noqa: PLR0913 - both hosts, the guest, and what is meant
    source: Host,
    target: Host,
    guest: Subject,
    move: Move,
    past: Past | None = None,
    *,
    back: Move | None = None,
    deadline: Deadline,
) -> Answer:
    """The answer for one guest of the lab's, for a stage that is about to move it; with ``back``, for its return too.

    Raises:
        GuestNotFoundError: it is not on ``source``.
        HostError, DeadlineError: a host cannot be asked.
    """
    here = Side(source.name, source.shell, source.connection, lambda _name: guest.shell)
    there = Side(target.name, target.shell, target.connection)
    question = _questions(here, there, (guest.name,), move, past or Past(), deadline)[0]
    answer = judge(question)
    return answer if back is None else answer.and_back(judge(question.home(back)))
