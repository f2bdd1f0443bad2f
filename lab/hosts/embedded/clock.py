"""Setting the clock of a machine that was frozen: it stands where it was."""

from __future__ import annotations

from lab.clock import CLOCK, sight_clock
from lab.deadline import Deadline
from lab.errors import HostError
from lab.shell import TalkingShell

__all__ = ["set_clock"]

_ROUNDS = 8
_WANTED, _BORNE = 0.5, 0.9
"""Seconds: what is tried for, and what is taken in the end. Scenarios bear a second unless they say otherwise, and a
guest must not be blamed for its host's clock.
"""


def set_clock(machine: str, shell: TalkingShell, *, deadline: Deadline) -> None:
    """Set a machine's clock by ours, as NTP would, and see that it is right.

    After its return from a snapshot a host's clock stands where it was; Xen's wall clock, and so that of every guest
    that boots, follows it.

    Raises:
        HostError: it answers so slowly that nobody can tell what the time is over there, or takes no other time.
        GuestError: it says something else than the time.
    """
    with shell.talk("sh", "-c", CLOCK, deadline=deadline) as talk:
        seen = sight_clock(talk, deadline=deadline)
        for _ in range(_ROUNDS):
            talk(f"set {int(-seen.ahead * 1e9)}", deadline=deadline)
            seen = sight_clock(talk, deadline=deadline)
            error = abs(seen.ahead) + seen.error
            if error < _WANTED:
                return
    if error < _BORNE:
        return
    raise HostError(
        f"{machine}: its clock can only be set to within {error:.1f} s, so slowly does it answer",
        hint="the machine is too busy; let it do fewer things at once",
    )
