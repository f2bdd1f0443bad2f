"""Loading modules in a guest, and what it says of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from lab.deadline import Deadline
from lab.debian.module_tree import module_name
from lab.errors import GuestError
from lab.events import step
from lab.shell import Shell

__all__ = ["Loading", "load_modules"]


@dataclass(frozen=True, slots=True)
class Loading:
    """One modprobe. ``state`` is ``live`` (a module of /proc/modules), ``builtin``, or why it is neither."""

    name: str
    state: str

    @property
    def there(self) -> bool:
        """Whether the kernel has it now."""
        return self.state in {"live", "builtin"}


def load_modules(shell: Shell, names: Iterable[str], *, deadline: Deadline) -> tuple[Loading, ...]:
    """Load each of ``names`` with modprobe, and look in /proc/modules and modules.builtin whether it is there.

    All in one command, since each costs a quarter of a second.

    Raises:
        CommandError: the guest could not run the script.
        GuestError: it does not say a line of each of them.
    """
    wanted = tuple(names)
    if not wanted:
        return ()
    with step("load modules", names=" ".join(wanted)):
        said = shell.run("sh", "-c", _SCRIPT, "sh", *wanted, deadline=deadline).check().text
    answers = said.split("\n")
    if len(answers) != len(wanted):
        # A module of which nothing is said must not count as one that nobody wanted.
        raise GuestError(f"loading {', '.join(wanted)}: {len(answers)} lines of an answer: {said[:200]!r}")
    return tuple(_loading(name, answer) for name, answer in zip(wanted, answers, strict=True))


# A line a module. modules.builtin is what modprobe itself believes; /sys/module exists for both, but not for every
# built-in one. Trouble is printed by printf, since dash's echo takes a backslash in it for more than that.
_SCRIPT = r"""
for name; do
  trouble=$(modprobe "$name" 2>&1)
  status=$?
  if [ $status != 0 ]; then
    printf 'modprobe: status %s: %s\n' "$status" "$(printf %s "$trouble" | tail -n 1)"
  elif grep -q "^$(echo "$name" | tr - _) .* Live " /proc/modules; then
    echo live
  else
    printf 'at %s\n' "$(modinfo -F filename "$name" 2>/dev/null | head -n 1)"
  fi
done
"""


def _loading(name: str, answer: str) -> Loading:
    if answer == "live" or answer.startswith("modprobe: "):
        return Loading(name, answer)
    if answer == "at (builtin)":
        return Loading(name, "builtin")
    return Loading(name, f"modprobe: status 0, but /proc/modules has no {module_name(name)}")
