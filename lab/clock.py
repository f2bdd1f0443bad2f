"""What another machine's wall clock says, and how well that is known."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass

from lab.deadline import Deadline
from lab.errors import GuestError
from lab.shell import Talk

__all__ = ["CLOCK", "Sighting", "sight_clock"]

# One program for all questions: where each has a session of its own, a busy machine takes seconds over one, and by
# half of that nobody knows what the time was over there. date(1) wants whole and parts of a second apart.
CLOCK = r"""
while read -r word ahead; do
  if [ "$word" = set ]; then
    n=$(( $(date +%s%N) + ahead ))
    date -u -s "@${n%?????????}.${n#??????????}" > /dev/null
  fi
  date +%s.%N
done
"""
"""For ``sh -c``: answers every line with the time, and before that sets it ahead by N nanoseconds at ``set N``."""

_QUESTIONS = 4
_QUICK_SECONDS = 0.1
"""From there on it is not worth asking again."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """How far a clock is ahead of ours, in seconds, give or take ``error``."""

    ahead: float
    error: float


def sight_clock(talk: Talk, *, deadline: Deadline) -> Sighting:
    """Ask a program that runs :data:`CLOCK`; the best of a few answers is taken.

    Each was true at some moment between question and answer; the middle is wrong by half of that at most.

    Raises:
        HostError: it ended instead of answering.
        GuestError: it says something else than the time.
    """
    best = _sighted(talk, deadline)
    for _ in range(_QUESTIONS - 1):
        if best.error * 2 < _QUICK_SECONDS:
            break
        best = min(best, _sighted(talk, deadline), key=lambda sighting: sighting.error)
    return best


def _sighted(talk: Talk, deadline: Deadline) -> Sighting:
    asked = time.time()
    said = talk("now", deadline=deadline)
    error = (time.time() - asked) / 2
    if re.fullmatch(r"[0-9]+(\.[0-9]+)?", said) is None:
        raise GuestError(f"the time over there is {said!r}, which is no number of seconds")
    return Sighting(float(said) - (asked + error), error)
