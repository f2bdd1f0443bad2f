"""A guest that is watched from within: its agent runs and a file lies on its disk, before it is frozen."""

from __future__ import annotations

import hashlib

from lab.cache import fingerprint
from lab.deadline import Deadline
from lab.guests.agent import program, start_agent
from lab.guests.guest import Guest
from lab.guests.observation import write_keepsake
from lab.guests.poised import Readiness
from lab.stage.travel import EMULATED_ROUNDS, ROUNDS, agent_config

__all__ = ["WATCHED"]


def _watch(guest: Guest, deadline: Deadline) -> None:
    write_keepsake(guest.shell, deadline=deadline)
    start_agent(guest.shell, agent_config(guest.host), deadline=deadline)


WATCHED = Readiness(
    fingerprint("watched 3", repr((ROUNDS, EMULATED_ROUNDS)), hashlib.sha256(program("agent.py")).hexdigest()),
    _watch,
)
"""Before a move: what happens to it then is told by who was there all the time."""
