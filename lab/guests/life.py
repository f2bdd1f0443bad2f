"""Whether a guest is the one that it was: the same boot, and in it the same agent."""

from __future__ import annotations

from dataclasses import dataclass

from lab.deadline import Deadline
from lab.errors import GuestError
from lab.shell import Shell

__all__ = ["Life", "life_of"]

# The class keeps grep, whose own command line has the pattern, from finding itself. The 22nd field of stat is the
# moment at which a process began (proc(5)).
_SCRIPT = r"""
cat /proc/sys/kernel/random/boot_id
grep -slaE 'lab-[a]gent\.py' /proc/[0-9]*/cmdline | while read -r file; do
  folder=${file%/cmdline}
  echo "${folder#/proc/}/$(cut -d' ' -f22 "$folder/stat")"
done
"""


@dataclass(frozen=True, slots=True)
class Life:
    """``agent`` are its processes, each as pid and start."""

    boot_id: str
    agent: frozenset[str] = frozenset()

    def lost(self, now: Life) -> str:
        """What is no longer as it was, or nothing."""
        if self.boot_id != now.boot_id:
            return f"boot_id was {self.boot_id}, is {now.boot_id}"
        gone = sorted(self.agent - now.agent)
        return f"processes of the agent are gone: {', '.join(gone)}" if gone else ""


def life_of(shell: Shell, *, deadline: Deadline) -> Life:
    """The life of the guest that ``shell`` leads into.

    Raises:
        GuestError: it has no boot id, or no agent.
        HostError, DeadlineError: it does not answer.
    """
    boot_id, *agent = shell.run("sh", "-c", _SCRIPT, deadline=deadline).text.split() or [""]
    if not agent:
        raise GuestError(f"no agent runs in the boot {boot_id}" if boot_id else "it does not tell its boot id")
    return Life(boot_id, frozenset(agent))
