"""What is asked of a guest: its domain XML, and from within whatever it tells when its shell answers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from lab.deadline import Deadline
from lab.debian.module_tree import module_name
from lab.errors import LabError
from lab.hypervisor import Connection, DomainState, identity
from lab.hypervisor.document import Element, parse, text_of
from lab.shell import Shell

__all__ = ["SCRIPT", "Disk", "GuestSurvey", "Inside", "ask_guest", "parse_inside", "read_domain"]

SCRIPT = r"""
echo "release $(uname -r)"
echo "version $(uname -v)"
echo "machine $(uname -m)"
echo "bits $(getconf LONG_BIT 2>/dev/null)"
sed -n 's/^flags[^:]*: /flags /p' /proc/cpuinfo | head -n 1
cut -d' ' -f1 /proc/modules | sed 's/^/loaded /'
for tree in /lib/modules/*; do if [ -d "$tree" ]; then echo "tree ${tree##*/}"; fi; done
if [ -n "$1" ] && cd "/lib/modules/$1" 2>/dev/null; then
  sed 's|.*/|has |' modules.builtin 2>/dev/null
  cut -d: -f1 modules.dep 2>/dev/null | sed 's|.*/|has |'
fi
echo end
"""

_SECONDS = 15.0
"""A guest that hangs must not keep the answer for the others."""


@dataclass(frozen=True, slots=True)
class Disk:
    """A disk. ``kind`` is libvirt's: block, file, network, volume; ``source`` a path where it is one of the first."""

    target: str
    source: str
    kind: str
    readonly: bool = False


@dataclass(frozen=True, slots=True)
class Inside:
    """What a guest says of itself. ``bits`` are its userland's, ``flags`` those of the CPU that it sees.

    ``trees`` are the kernels for which it has modules; ``has`` are those for the kernel that it was asked about.
    """

    release: str = ""
    version: str = ""
    machine: str = ""
    bits: int | None = None
    flags: frozenset[str] = frozenset()
    loaded: frozenset[str] = frozenset()
    trees: frozenset[str] = frozenset()
    has: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class GuestSurvey:
    """A guest. ``boots`` are files of its host that it starts from: kernel, initrd, boot loader, firmware.

    ``networks`` are interfaces that are on no bridge by name. ``inside`` is None where nobody answers within, for the
    reason ``silent``.
    """

    name: str
    uuid: str = ""
    type: str = ""
    arch: str = ""
    memory_kib: int = 0
    vcpus: int = 1
    shadow: bool = False
    active: bool = True
    disks: tuple[Disk, ...] = ()
    bridges: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    boots: tuple[tuple[str, str], ...] = ()
    inside: Inside | None = None
    silent: str = ""

    @property
    def needed_mib(self) -> int:
        """The memory of Xen's that it takes, as libxl reckons it in libxl__domain_need_memory_calculate.

        Its own, 4 KiB for each of 256 pages a vcpu and two pages a MiB for paging, 2 MiB more, in steps of 2 MiB. Newer
        Xens get along with one page a MiB.
        """
        paging = 4 * (256 * self.vcpus + 2 * -(-self.memory_kib // 1024))
        return -(-(self.memory_kib + paging + 2048) // 2048) * 2

    @property
    def paths(self) -> tuple[str, ...]:
        """Every path of its host that it names."""
        disks = (disk.source for disk in self.disks if disk.source.startswith("/"))
        return tuple(dict.fromkeys((*disks, *(path for _what, path in self.boots))))


def ask_guest(
    connection: Connection, name: str, shell: Shell | None, *, kernel: str = "", deadline: Deadline
) -> GuestSurvey:
    """A guest of ``connection``; ``kernel`` is the release for which its modules are asked, if another one is meant.

    Raises:
        GuestNotFoundError: there is none of that name.
        HostError, DeadlineError: its host cannot be asked.
    """
    domain = connection.domain(name, deadline)
    xml, state = domain.xml(deadline), domain.state(deadline)
    inside, silent = None, "there is no way in"
    if shell is not None:
        try:
            said = shell.run("sh", "-c", SCRIPT, "sh", kernel, deadline=deadline.at_most(_SECONDS))
            inside = parse_inside(said.stdout.decode("utf-8", "backslashreplace"))
            silent = "" if inside is not None else f"its shell gave half an answer (status {said.status})"
        except LabError as trouble:
            silent = trouble.message
    return read_domain(xml, state=state, inside=inside, silent=silent)


def parse_inside(text: str) -> Inside | None:
    """What the script has printed within; None if it was cut off. What is not understood is passed over."""
    one: dict[str, str] = {}
    many: dict[str, set[str]] = {"loaded": set(), "tree": set(), "has": set()}
    for line in text.splitlines():
        word, _, rest = line.partition(" ")
        if word in many:
            many[word].add(rest.strip())
        else:
            one.setdefault(word, rest.strip())
    if "end" not in one:
        return None
    bits = one.get("bits", "")
    return Inside(
        release=one.get("release", ""),
        version=one.get("version", ""),
        machine=one.get("machine", ""),
        bits=int(bits) if bits in {"32", "64"} else None,
        flags=frozenset(one.get("flags", "").split()),
        loaded=frozenset(map(module_name, many["loaded"])),
        trees=frozenset(many["tree"]),
        has=frozenset(map(module_name, many["has"])),
    )


def read_domain(
    xml: str, *, state: DomainState = DomainState.RUNNING, inside: Inside | None = None, silent: str = ""
) -> GuestSurvey:
    """The guest that a domain XML describes.

    Raises:
        DomainXmlError: it is none.
    """
    who, root = identity(xml), parse(xml)
    kind, hap = root.find("os/type"), root.find("features/hap")
    interfaces = list(root.iterfind("devices/interface"))
    return GuestSurvey(
        name=who.name,
        uuid=who.uuid,
        type=who.type,
        arch="" if kind is None else kind.get("arch", ""),
        memory_kib=who.memory_kib,
        vcpus=who.vcpus,
        shadow=hap is not None and hap.get("state") == "off",
        active=state.executes,
        disks=tuple(_disk(disk) for disk in root.iterfind("devices/disk") if disk.find("source") is not None),
        bridges=tuple(dict.fromkeys(name for one in interfaces if (name := _bridge(one)))),
        networks=tuple(dict.fromkeys(_network(one) for one in interfaces if not _bridge(one))),
        boots=tuple(_boots(root, who.type)),
        inside=inside,
        silent=silent,
    )


def _disk(disk: Element) -> Disk:
    source, target = disk.find("source"), disk.find("target")
    where = "" if source is None else source.get("dev") or source.get("file") or source.get("name") or ""
    name = "" if target is None else target.get("dev", "")
    return Disk(name, where, disk.get("type", ""), disk.find("readonly") is not None)


def _bridge(interface: Element) -> str:
    source = interface.find("source")
    return "" if source is None else source.get("bridge", "")


def _network(interface: Element) -> str:
    source = interface.find("source")
    name = "" if source is None else source.get("network") or source.get("dev") or ""
    return f"{interface.get('type', '')} {name}".strip()


def _boots(root: Element, kind: str) -> Iterator[tuple[str, str]]:
    """Files that are needed for a start. An emulator is written down for every guest and used by HVM alone."""
    asked = [("kernel", "os/kernel"), ("initrd", "os/initrd"), ("boot loader", "bootloader"), ("firmware", "os/loader")]
    asked += [("emulator", "devices/emulator")] if kind == "hvm" else []
    for what, path in asked:
        file = text_of(root, path)
        # A bare name, such as pygrub or hvmloader, is looked up where that Xen keeps its own.
        if file.startswith("/"):
            yield what, file
