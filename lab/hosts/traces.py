"""What domains leave on a host: taken in one command before a move and after it, and compared."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from lab.deadline import Deadline
from lab.errors import HostError
from lab.shell import Shell

__all__ = ["ALLOWED", "Tenant", "Trace", "Traces", "leftovers", "parse_traces", "take_traces"]

SCRIPT = r"""
export PATH=/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin
xl list -v | while read -r name id rest; do
  case "$id" in ''|ID|0) ;; *) echo "tenant $id $name $rest" ;; esac
done
xenstore-ls -f / |
  sed -nE 's#^(/(vm/[^/ ]+|libxl/[0-9]+|local/domain/[0-9]+(/backend/[^/ ]+/[0-9]+/[^/ ]+)?)) = .*#xenstore \1#p'
for net in /sys/class/net/*; do
  case "${net##*/}" in vif*|tap*|vnet*) echo "interface ${net##*/}" ;; esac
done
for device in /sys/bus/xen-backend/devices/*; do [ -e "$device" ] && echo "backend ${device##*/}"; done
for file in /sys/block/loop*/loop/backing_file; do
  [ -e "$file" ] && device=${file#/sys/block/} && echo "loop ${device%%/*} $(cat "$file")"
done
find /run/lock /run/libvirt /run/xen /var/lib/xen /var/lib/libvirt/libxl -xdev -type f 2>/dev/null | sed 's/^/file /'
grep -sxE 'libxl-save-help.*|qemu-system.*|xl|qemu-dm' /proc/[0-9]*/comm | while IFS=: read -r file name; do
  echo "process $name $(tr '\0' ' ' < "${file%/comm}/cmdline" 2>/dev/null)"
done
cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | while read -r _ local _ state _; do
  [ "$state" = 0A ] && echo "port $((0x${local##*:}))"
done
echo "xl dmesg"
xl dmesg
"""

_END = "xl dmesg"
_UUID = re.compile(r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b")

# What libvirt's libxl driver takes for incoming guests (LIBXL_MIGRATION_PORT_MIN, _MAX).
_MIGRATION_PORTS = range(49152, 49217)


@dataclass(frozen=True, slots=True)
class Tenant:
    """A domain other than dom0, as ``xl list -v`` has it. A name of ``(null)`` is one that does not get to die."""

    number: int
    name: str
    uuid: str

    def owns(self, trace: Trace) -> bool:
        """Whether the trace is this domain's, by its number, its UUID or its name."""
        if self.uuid and self.uuid in trace.what:
            return True
        if trace.kind == "tenant":
            return trace.what == self.name
        mine = re.escape(self.name)
        number = {
            "xenstore": rf"/libxl/{self.number}|/local/domain/{self.number}(/.*)?|/.*/backend/[^/]+/{self.number}/.*",
            "interface": rf"(vif|tap){self.number}\..*",
            "backend": rf"[a-z0-9]+-{self.number}-.*",
            "file": rf".*/{mine}(\.(xml|pid|lock|save))?",
            "process": rf".*(\s|=){mine}(\s.*|,.*)?",
        }.get(trace.kind)
        return number is not None and re.fullmatch(number, trace.what) is not None


@dataclass(frozen=True, slots=True, order=True)
class Trace:
    """One thing on a host: a tenant, a xenstore path, an interface, a backend, a loop device, a file, a process, or a
    port.
    """

    kind: str
    what: str

    def __str__(self) -> str:
        return f"{self.kind} {self.what}"


@dataclass(frozen=True, slots=True)
class Traces:
    """Everything on a host at one moment, who its domains are, and what its hypervisor has logged so far."""

    tenants: tuple[Tenant, ...]
    traces: frozenset[Trace]
    log: tuple[str, ...]

    def tenant(self, name: str) -> Tenant | None:
        """The domain of that name."""
        return next((tenant for tenant in self.tenants if tenant.name == name), None)


ALLOWED: tuple[tuple[str, str, str], ...] = (
    ("file", r"/run/libvirt/.*\.pid", "a daemon of libvirt's that was started by its socket writes its number"),
    ("file", r"/run/libvirt/(interface|network|nodedev|qemu|secrets|storage)/.*", "drivers that are no guest's"),
    ("file", r"/run/xen/domid-history", "the numbers that domains had lately, so that none gets one of them too soon"),
    ("file", r"/run/lock/(lvm|subsys|iscsi)/.*", "services of the host that are no guest's"),
    ("file", r"/run/xen/xen-hotplug/.*", "lock files of Xen's hot-plug scripts, one a kind of device, made once"),
    ("file", r"/var/lib/xen/xen-hotplug/.*", "likewise, where older Xens keep them"),
)
"""Kind, pattern and reason of what may come and go without being a leak."""


def take_traces(shell: Shell, *, deadline: Deadline) -> Traces:
    """Everything on a host that a guest may leave there, in one command.

    Raises:
        HostError: the host cannot tell.
    """
    said = shell.run("sh", "-c", SCRIPT, deadline=deadline)
    text = said.stdout.decode("utf-8", "backslashreplace")
    if f"\n{_END}\n" not in f"\n{text}":
        raise HostError(f"what is on the host: half an answer of {len(text)} characters (status {said.status})")
    return parse_traces(text)


def parse_traces(text: str) -> Traces:
    """What the script has printed."""
    head, _, log = f"\n{text}".partition(f"\n{_END}\n")
    tenants, traces = [], set()
    for line in head.splitlines():
        kind, _, what = line.strip().partition(" ")
        if kind == "tenant":
            number, name, rest = (*what.split(" ", 2), "")[:3]
            uuid = _UUID.search(rest)
            tenants.append(Tenant(int(number), name, uuid.group() if uuid else ""))
            traces.add(Trace(kind, name))
        elif kind == "port":
            if int(what) in _MIGRATION_PORTS:
                traces.add(Trace(kind, what))
        elif kind:
            traces.add(Trace(kind, what.rstrip()))
    return Traces(tuple(tenants), frozenset(traces), tuple(log.splitlines()))


def leftovers(before: Traces, after: Traces, *, guest: str, home: bool) -> tuple[str, ...]:
    """What has come to a host (``+``) or gone from it (``-``) while ``guest`` moved, other than its own and what is
    allowed; and what of its own it has left behind (``=``). The guest's own may be only where it is at home now.
    """
    was, now = before.tenant(guest), after.tenant(guest) if home else None
    came = _others(after.traces - before.traces, now)
    went = _others(before.traces - after.traces, was)
    both = before.traces & after.traces
    left = [one for one in sorted(both) if was is not None and was.owns(one) and not (now and now.owns(one))]
    marked = (("+", came), ("-", went), ("=", left))
    return tuple(f"{mark} {trace}" for mark, traces in marked for trace in traces)


def _others(traces: frozenset[Trace], owner: Tenant | None) -> Iterator[Trace]:
    for trace in sorted(traces):
        if owner is not None and owner.owns(trace):
            continue
        if not any(trace.kind == kind and re.fullmatch(pattern, trace.what) for kind, pattern, _why in ALLOWED):
            yield trace
