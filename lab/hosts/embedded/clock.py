"""Setting the clock of a machine that was frozen: it stands where it was."""

from __future__ import annotations

import time

from lab.deadline import Deadline
from lab.errors import HostError
from lab.shell import Talk, TalkingShell

__all__ = ["set_clock"]

# One program for all questions: where each has a session of its own, a busy machine takes seconds over one, and by
# half of that nobody knows what the time was over there. date(1) wants whole and parts of a second apart.
_SCRIPT = r"""
while read -r word ahead; do
  if [ "$word" = set ]; then
    n=$(( $(date +%s%N) + ahead ))
    date -u -s "@${n%?????????}.${n#??????????}" > /dev/null
  fi
  date +%s.%N
done
"""

_QUESTIONS = 4
_QUICK_SECONDS = 0.1
_ROUNDS = 8
_ERROR = 0.5
"""Seconds. Scenarios bear a second unless they say otherwise, and a guest must not be blamed for its host's clock."""


def set_clock(machine: str, shell: TalkingShell, *, deadline: Deadline) -> None:
    """Set a machine's clock by ours, as NTP would, and see that it is right to within :data:`_ERROR`.

    After its return from a snapshot a host's clock stands where it was; Xen's wall clock, and so that of every guest
    that boots, follows it.

    Raises:
        HostError: it answers so slowly that nobody can tell what the time is over there, or takes no other time.
    """
    with shell.talk("sh", "-c", _SCRIPT, deadline=deadline) as talk:
        behind, _ = _behind(talk, deadline)
        for _ in range(_ROUNDS):
            talk(f"set {int(behind * 1e9)}", deadline=deadline)
            behind, took = _behind(talk, deadline)
            error = abs(behind) + took / 2
            if error < _ERROR:
                return
    raise HostError(
        f"{machine}: its clock can only be set to within {error:.1f} s, so slowly does it answer",
        hint="the machine is too busy; let it do fewer things at once",
    )


def _behind(talk: Talk, deadline: Deadline) -> tuple[float, float]:
    """How far the clock over there is behind ours, in seconds, and how long the quickest of some questions took.

    The answer was true at some moment in between; the middle is wrong by half of that at most.
    """
    behind, took = 0.0, float("inf")
    for _ in range(_QUESTIONS):
        asked = time.time()
        theirs = float(talk("now", deadline=deadline))
        answered = time.time()
        if answered - asked < took:
            behind, took = (asked + answered) / 2 - theirs, answered - asked
        if took < _QUICK_SECONDS:
            break
    return behind, took
