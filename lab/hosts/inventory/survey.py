"""What the lab needs of a host of the user's, asked in one command, and what of it is missing: judged purely."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from lab.deadline import Deadline
from lab.errors import HostError
from lab.process import last_line
from lab.scenario.inventory import ListedHost
from lab.shell import Shell

__all__ = ["LEAST_MIB", "Lack", "Survey", "lacks", "mending", "survey"]

LEAST_MIB = 512
"""Free memory that a small guest takes, with what Xen takes for it."""

_PROGRAMS = ("xl", "virsh", "python3", "nbd-client", "nc", "flock", "ip", "xenstore-ls")

# Which package of Debian's brings a program. xl and xenstore-ls come with whatever Xen the host runs.
_PACKAGES = {
    "virsh": "libvirt-clients",
    "python3": "python3-minimal",
    "nbd-client": "nbd-client",
    "nc": "netcat-openbsd",
    "flock": "util-linux",
    "ip": "iproute2",
}

SCRIPT = r"""
export PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin" LC_ALL=C
bridge=$1; shift
echo "user $(id -u)"
for program; do command -v "$program" >/dev/null && echo "program $program"; done
{ [ -d /sys/module/nbd ] || modprobe -n nbd 2>/dev/null; } && echo "module nbd"
{ [ -d /sys/module/xen_blkback ] || modprobe -n xen-blkback 2>/dev/null; } && echo "module xen-blkback"
[ -d "/sys/class/net/$bridge/bridge" ] && echo "bridge $bridge"
ls -d /sys/class/net/*/bridge 2>/dev/null | cut -d/ -f5 | sed 's/^/other /'
for name in libvirt virtxend; do
  [ -S "/run/libvirt/$name-sock" ] && echo "socket /run/libvirt/$name-sock" && break
done
timeout 30 xl info 2>/dev/null | sed -nE 's/^(xen_version|free_memory) *: */\1 /p'
answer=$(timeout 30 virsh -q -c xen:///system version 2>&1) && echo "libvirt yes" ||
  echo "libvirt no $(echo "$answer" | grep -v '^$' | tail -n 1)"
sshd -T 2>/dev/null | grep -iE '^(allowstreamlocalforwarding|allowtcpforwarding|disableforwarding) '
grep -qs -- '--log=\(guest\|all\)' /etc/default/xen /etc/default/xencommons /etc/sysconfig/xencommons && echo "consoles"
echo end
"""


@dataclass(frozen=True, slots=True)
class Survey:
    """What a host said of itself. ``libvirt`` is why libvirt does not answer, empty if it does."""

    root: bool
    programs: frozenset[str]
    modules: frozenset[str]
    bridge: bool
    bridges: tuple[str, ...]
    socket: str
    xen: str
    free_mib: int | None
    libvirt: str
    forwards: bool
    """Whether sshd there lets sockets and connections be forwarded; who does not say does."""
    consoles: bool
    """Whether xenconsoled keeps what guests say on their consoles."""


@dataclass(frozen=True, slots=True)
class Lack:
    """One thing that a host lacks. ``packages`` and ``command`` (run there) are what mends it, ``advice`` what no
    command can. What is not ``needed`` only makes for poorer evidence.
    """

    what: str
    seen: str
    packages: tuple[str, ...] = ()
    command: str = ""
    advice: str = ""
    needed: bool = field(default=True)


def survey(shell: Shell, bridge: str, *, deadline: Deadline) -> Survey:
    """Ask a host; nothing there is changed.

    Raises:
        HostError: it did not say all.
    """
    done = shell.run("sh", "-c", SCRIPT, "sh", bridge, *_PROGRAMS, deadline=deadline)
    lines = done.text.splitlines()
    if "end" not in lines:
        raise HostError(f"half an answer: {last_line(done.stderr) or f'status {done.status}'}")
    return parse(lines, bridge)


def parse(lines: list[str], bridge: str) -> Survey:
    """What the script has printed."""
    said: dict[str, list[str]] = {}
    for line in lines:
        key, _, value = line.strip().partition(" ")
        said.setdefault(key, []).append(value)

    def one(key: str) -> str:
        return said.get(key, [""])[0]

    libvirt, _, why = one("libvirt").partition(" ")
    free = one("free_memory")
    # Disks come by sockets of that machine (remote), guests are reached by TCP from it (local); sshd_config(5).
    forbidden = (
        one("allowstreamlocalforwarding") in {"no", "local"}
        or one("allowtcpforwarding") in {"no", "remote"}
        or one("disableforwarding") == "yes"
    )
    return Survey(
        root=one("user") == "0",
        programs=frozenset(said.get("program", ())),
        modules=frozenset(said.get("module", ())),
        bridge=bridge in said.get("bridge", ()),
        bridges=tuple(said.get("other", ())),
        socket=one("socket"),
        xen=one("xen_version"),
        free_mib=int(free) if free.isdecimal() else None,
        libvirt="" if libvirt == "yes" else why or "it said nothing",
        forwards=not forbidden,
        consoles="consoles" in said,
    )


def lacks(host: ListedHost, seen: Survey) -> Iterator[Lack]:
    """What is missing for the lab to use the host, most telling first."""
    if not seen.root:
        yield Lack("root", "ssh logs in as another user", advice="say ssh: root@... in the hosts file")
        return  # of what root may ask, nothing is known
    if not seen.xen:
        yield Lack("Xen", "xl info says nothing", advice="boot it with Xen, and see that `xl info` works there")
    yield from _programs(seen)
    yield from _places(host, seen)
    if seen.free_mib is not None and seen.free_mib < LEAST_MIB:
        advice = "end a guest there, or give dom0 less: xl mem-set 0 ..."
        yield Lack("memory", f"{seen.free_mib} MiB free for guests", advice=advice)
    if not seen.consoles:
        words = "xenconsoled keeps no logs of guests' consoles: evidence lacks what a guest said last"
        advice = 'XENCONSOLED_ARGS="--log=guest" in /etc/default/xen there, at its next start'
        yield Lack("consoles", words, advice=advice, needed=False)


def _programs(seen: Survey) -> Iterator[Lack]:
    for program, package in _PACKAGES.items():
        if program not in seen.programs:
            yield Lack(program, f"no {program}", packages=(package,))
    if seen.libvirt and "virsh" in seen.programs:
        packages = ("libvirt-daemon-system", "libvirt-daemon-driver-xen")
        yield Lack("libvirt", f"xen:///system does not answer: {seen.libvirt}", packages=packages)
    elif not seen.socket and not seen.libvirt:
        yield Lack("libvirt", "no /run/libvirt/libvirt-sock", command="systemctl start libvirtd.socket")


def _places(host: ListedHost, seen: Survey) -> Iterator[Lack]:
    for module in ("nbd", "xen-blkback"):
        if module not in seen.modules:
            advice = f"its kernel has no module {module}; Debian's own have it"
            yield Lack(f"module {module}", f"the kernel has no {module}", advice=advice)
    if not seen.bridge:
        there = f"it has {', '.join(seen.bridges)}" if seen.bridges else "it has none"
        advice = f"make {host.bridge}, or name another one: bridge: in the hosts file"
        yield Lack("bridge", f"no bridge {host.bridge}; {there}", advice=advice)
    if not seen.forwards:
        advice = (
            "AllowStreamLocalForwarding yes and AllowTcpForwarding yes in its sshd_config, without DisableForwarding"
        )
        yield Lack("forwarding", "its sshd does not forward what disks and guests' shells come through", advice=advice)


def mending(ssh: Sequence[str], found: Sequence[Lack]) -> str:
    """The one command, run on this machine, that mends what a command can over there; ``ssh`` is how to get there."""
    packages = list(dict.fromkeys(name for lack in found for name in lack.packages))
    commands = list(dict.fromkeys(lack.command for lack in found if lack.command))
    if packages:
        install = f"apt-get install -y --no-install-recommends {shlex.join(packages)}"
        commands.insert(0, f"apt-get update && {install}")
    return shlex.join((*ssh, " && ".join(commands))) if commands else ""
