"""Loading modules in a guest, and what it says of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from lab.deadline import Deadline
from lab.debian.module_tree import module_name
from lab.process import last_line
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
    """Load each of ``names`` with modprobe, and look in /sys/module and /proc/modules whether it is there."""
    return tuple(_load(shell, name, deadline) for name in names)


def _load(shell: Shell, name: str, deadline: Deadline) -> Loading:
    done = shell.run("modprobe", name, deadline=deadline)
    if not done:
        return Loading(name, f"modprobe: status {done.status}: {last_line(done.stderr)}")
    there = module_name(name)
    # modules.builtin is what modprobe itself believes; /sys/module exists for both, but not for every built-in one.
    script = f'grep -q "^{there} .* Live " /proc/modules && echo live || {{ modinfo -F filename "{name}"; }}'
    said = shell.run("sh", "-c", script, deadline=deadline).text.strip()
    if said == "live":
        return Loading(name, "live")
    return Loading(name, "builtin" if said == "(builtin)" else f"modprobe: status 0, but /proc/modules has no {there}")
