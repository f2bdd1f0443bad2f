"""What a guest says of itself at one moment: asked in one command, since each costs a quarter of a second."""

from __future__ import annotations

import re
from dataclasses import dataclass

from lab.clock import CLOCK, sight_clock
from lab.deadline import Deadline
from lab.errors import GuestError
from lab.shell import Shell, TalkingShell

__all__ = ["Observation", "observe", "start_sentinel", "write_keepsake"]

_KEEPSAKE = "/var/tmp/lab-keepsake"  # noqa: S108 - inside a guest that has no other users
_COPY = "/run/lab-keepsake"
_SENTINEL = "/run/lab-sentinel"

_ASKED = ("boot_id", "uptime", "release", "machine", "bits", "modules", "sentinel", "clocksource", "keepsake")
"""What the script prints before the log, each on a line of its own. Some may be empty."""

_NUMBERS = ("uptime", "bits")

_SCRIPT = rf"""
read -r boot_id < /proc/sys/kernel/random/boot_id
read -r uptime _ < /proc/uptime
read -r clocksource < /sys/devices/system/clocksource/clocksource0/current_clocksource
echo boot_id=$boot_id
echo uptime=$uptime
echo clocksource=$clocksource
echo release=$(uname -r)
echo machine=$(uname -m)
echo bits=$(getconf LONG_BIT)
modules=
while read -r name _; do modules="$modules $name"; done < /proc/modules
echo modules=$modules
pid=$(cat {_SENTINEL} 2>/dev/null)
echo sentinel=$pid/$(sed -n 's/.*) [^ZX] //p' /proc/${{pid:-none}}/stat 2>/dev/null | cut -d' ' -f19)
"""
_FROM_DISK = rf"""
sync
echo keepsake=$(dd if={_KEEPSAKE} of={_COPY} iflag=direct bs=1M 2>/dev/null && sha256sum < {_COPY} | cut -c1-64)
rm -f {_COPY}
"""
_FROM_NO_DISK = """
echo keepsake=
"""
_LOG = """
echo kernel_log=
dmesg
"""


@dataclass(frozen=True, slots=True)
class Observation:
    """One look inside. ``uptime`` is in seconds; ``keepsake`` is the SHA-256 of a file read from disk.

    ``sentinel`` is pid/start time in clock ticks since boot (proc(5), field 22 of stat): equal twice means that the
    very same process lives; nothing follows the stroke if none does, or only as a zombie. ``clock_offset`` is the
    guest's wall clock minus this machine's in seconds, known to within ``clock_error``, half of the time that the
    question took.
    """

    boot_id: str
    uptime: float
    release: str
    machine: str
    bits: int
    modules: frozenset[str]
    sentinel: str
    clocksource: str
    clock_offset: float
    clock_error: float
    keepsake: str
    kernel_log: tuple[str, ...]


def observe(shell: TalkingShell, *, disk: bool = True, deadline: Deadline) -> Observation:
    """Look inside a guest. ``keepsake`` is read past the page cache (open(2), O_DIRECT): it comes from the disk.

    Without ``disk``, nothing is asked that a disk which does not answer would keep from coming; there is no keepsake.

    Raises:
        CommandError: the guest could not run the script.
        GuestError: its answer is cut short, or no answer to what was asked.
    """
    with shell.talk("sh", "-c", CLOCK, deadline=deadline) as talk:
        clock = sight_clock(talk, deadline=deadline)
    script = _SCRIPT + (_FROM_DISK if disk else _FROM_NO_DISK) + _LOG
    said = shell.run("sh", "-c", script, deadline=deadline).check().stdout.decode("utf-8", "backslashreplace")
    head, marker, log = said.partition("kernel_log=\n")
    fields = dict(line.partition("=")[::2] for line in head.splitlines())
    missing = [*(name for name in _ASKED if name not in fields), *(() if marker else ("kernel_log",))]
    missing += [name for name in _NUMBERS if name in fields and not _is_number(fields[name])]
    if missing:
        raise GuestError(
            f"half an answer of {len(said)} characters, without {', '.join(missing)}",
            hint="the guest went down while it was asked, or its tools are broken; its console is with the evidence",
        )
    return Observation(
        boot_id=fields["boot_id"],
        uptime=float(fields["uptime"]),
        release=fields["release"],
        machine=fields["machine"],
        bits=int(fields["bits"]),
        modules=frozenset(fields["modules"].split()),
        sentinel=fields["sentinel"],
        clocksource=fields["clocksource"],
        clock_offset=clock.ahead,
        clock_error=clock.error,
        keepsake=fields["keepsake"],
        kernel_log=tuple(log.splitlines()),
    )


def _is_number(text: str) -> bool:
    return re.fullmatch(r"[0-9]+(\.[0-9]+)?", text.strip()) is not None


def start_sentinel(shell: Shell, *, deadline: Deadline) -> None:
    """Start a process that does nothing for days; whether it is the same one later is asked of /proc."""
    script = f"setsid sleep 604800 >/dev/null 2>&1 </dev/null & echo $! > {_SENTINEL}"
    shell.run("sh", "-c", script, deadline=deadline).check()


def write_keepsake(shell: Shell, *, mib: int = 4, deadline: Deadline) -> None:
    """Write ``mib`` MiB of random bytes to the guest's disk."""
    script = f"head -c {mib << 20} /dev/urandom > {_KEEPSAKE} && sync"
    shell.run("sh", "-c", script, deadline=deadline).check()
