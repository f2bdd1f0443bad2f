"""What killed runs left on a host of the user's: found by its folder there and by the tag in the guests' domain XML.

A run is alive as long as its lock on the host is held, from whatever machine; of such nothing is touched. What has no
tag of the lab's is nobody's business here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from lab.deadline import Deadline
from lab.errors import HostError
from lab.process import last_line
from lab.shell import Shell

__all__ = ["Remains", "remains", "remove_remains"]

# libvirt keeps the metadata of a domain as it was given (lab.hypervisor.domain_xml).
_LOOK = r"""
export PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin" LC_ALL=C
for home in /run/lab/*/; do
  home=${home%/} && tag=${home##*/}
  [ -d "$home/disks" ] || [ -e "$home/alive" ] || continue
  if [ -e "$home/alive" ] && ! flock -n "$home/alive" true; then echo "alive $tag"; continue; fi
  echo "dead $tag $(ls "$home/disks" 2>/dev/null | wc -l)"
done
timeout 30 virsh -q -c xen:///system list --all --name | while read -r name; do
  case $name in ''|Domain-0) continue ;; esac
  virsh -q -c xen:///system dumpxml "$name" 2>/dev/null |
    sed -nE "s/.*<lab:tag name=['\"]run['\"] value=['\"]([0-9a-f]+)['\"].*/guest \1 $name/p"
done
echo end
"""

_REMOVE = r"""
export PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin" LC_ALL=C
home=/run/lab/$1; shift
# Once more, now that it is about to go.
[ -e "$home/alive" ] && ! flock -n "$home/alive" true && { echo "it lives again" >&2; exit 1; }
for name; do
  virsh -q -c xen:///system destroy "$name" >/dev/null 2>&1
  virsh -q -c xen:///system undefine "$name" >/dev/null 2>&1
  virsh -q -c xen:///system dominfo "$name" >/dev/null 2>&1 && { echo "guest $name stays" >&2; exit 1; }
done
if flock -n /run/lab/lease true 2>/dev/null; then
  grep -lsaE '[/]run/lab-netmeter[.]py' /proc/[0-9]*/cmdline | cut -d/ -f3 | xargs -r kill -9 2>/dev/null
  meter=/run/lab-net && rm -rf "${meter}meter" "${meter}meter.py"
fi
[ -d "$home" ] || exit 0
grep " $home/" /proc/mounts | cut -d' ' -f2 | while read -r mounted; do umount "$mounted" || umount -l "$mounted"; done
for link in "$home"/disks/*; do
  device=$(readlink "$link") || continue
  nbd-client -d "$device" >/dev/null 2>&1 </dev/null
done
[ -f "$home/address" ] && read -r bridge address < "$home/address" && ip addr del "$address" dev "$bridge"
rm -rf --one-file-system "$home"
"""

_TAG = re.compile(r"[0-9a-f]{8}")


@dataclass(frozen=True, slots=True)
class Remains:
    """What the run ``tag`` left on a host."""

    tag: str
    guests: tuple[str, ...]
    disks: int


def remains(shell: Shell, *, deadline: Deadline) -> tuple[Remains, ...]:
    """What runs that are no more left on a host.

    Raises:
        HostError: it did not say all.
    """
    done = shell.run("sh", "-c", _LOOK, deadline=deadline)
    lines = done.text.splitlines()
    if "end" not in lines:
        raise HostError(f"half an answer: {last_line(done.stderr) or f'status {done.status}'}")
    return tuple(_parsed(lines))


def _parsed(lines: list[str]) -> Iterator[Remains]:
    alive, dead, guests = set[str](), dict[str, int](), dict[str, list[str]]()
    for line in lines:
        kind, _, rest = line.partition(" ")
        tag, _, what = rest.partition(" ")
        if not _TAG.fullmatch(tag):
            continue
        if kind == "alive":
            alive.add(tag)
        elif kind == "dead":
            dead[tag] = int(what)
        elif kind == "guest":
            guests.setdefault(tag, []).append(what)
    for tag in sorted((dead.keys() | guests.keys()) - alive):
        yield Remains(tag, tuple(guests.get(tag, ())), dead.get(tag, 0))


def remove_remains(shell: Shell, found: Remains, *, deadline: Deadline) -> None:
    """Take them away.

    Raises:
        HostError: something stays; what the host said is in the message.
    """
    done = shell.run("sh", "-c", _REMOVE, "sh", found.tag, *found.guests, deadline=deadline)
    if not done:
        raise HostError(f"run {found.tag}: {last_line(done.stderr) or f'status {done.status}'}")
