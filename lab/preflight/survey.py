"""What is asked of a host: one shell command that only reads, and libvirt.

Whatever a host cannot say (no ``xl``, not root, another system) is left empty or None, never guessed; the rules then
say that they could not tell.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from lab.deadline import Deadline
from lab.errors import HostError
from lab.hypervisor import Connection, DomainXmlError, GuestNotFoundError, HypervisorFacts, capabilities
from lab.preflight.cpu import features
from lab.process import last_line
from lab.shell import Shell

__all__ = ["SCRIPT", "HostSurvey", "Place", "Tenant", "Told", "ask_host", "parse_host", "version_of"]

# Everything in one command: each costs a quarter of a second under emulation, and seconds over a slow line.
# Only what is asked for by path is looked at, and of files no more than five bytes: whether one is a 32-bit ELF.
SCRIPT = r"""
export PATH=/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C
echo "kernel $(uname -r)"
xl info 2>/dev/null | sed 's/^/xl /'
echo "dom0 $(xl list 0 2>/dev/null | tail -n 1)"
for net in /sys/class/net/*/bridge; do
  if [ -d "$net" ]; then net=${net%/bridge}; echo "bridge ${net##*/}"; fi
done
ovs-vsctl --timeout=3 list-br 2>/dev/null | sed 's/^/bridge /'
echo bridges
number=0
for path; do
  if [ -b "$path" ]; then
    echo "place $number block $(blockdev --getsize64 "$path" 2>/dev/null)"
    udevadm info --query=property --name="$path" 2>/dev/null |
      sed -n -e "s/^ID_SERIAL=/serial $number /p" -e "s/^DM_UUID=/mapped $number /p" -e "s/^PARTN=/part $number /p"
  elif [ -f "$path" ]; then
    echo "place $number file $(stat -L -c %s "$path" 2>/dev/null)"
    echo "filesystem $number $(stat -L -f -c %T "$path" 2>/dev/null)"
    echo "magic $number $(head -c 5 "$path" 2>/dev/null | od -An -tx1 | tr -d ' \n')"
  elif [ -e "$path" ]; then echo "place $number other"
  else echo "place $number absent"; fi
  number=$((number + 1))
done
echo end
"""

_ELF_CLASS = {"7f454c4601": 32, "7f454c4602": 64}  # elf(5): EI_MAG0..3, EI_CLASS


@dataclass(frozen=True, slots=True)
class Place:
    """What is at a path of a host. ``kind`` is block, file, other, absent, or empty if nobody said.

    ``identity`` tells a block device from any other, wherever it is plugged in; ``filesystem`` is that of a file.
    ``bits`` is 32 or 64 for an ELF file.
    """

    kind: str = ""
    bytes: int | None = None
    identity: str = ""
    filesystem: str = ""
    bits: int | None = None

    @property
    def there(self) -> bool:
        """Whether a disk can be made of it, or a file be read."""
        return self.kind in {"block", "file"}


@dataclass(frozen=True, slots=True)
class Tenant:
    """A domain of a host, as libvirt has it."""

    name: str
    uuid: str
    active: bool


@dataclass(frozen=True, slots=True)
class Told:
    """What the command has printed, read."""

    kernel: str = ""
    xl: Mapping[str, str] = field(default_factory=dict)
    dom0_mib: int | None = None
    bridges: frozenset[str] | None = None
    places: Mapping[str, Place] = field(default_factory=dict)
    whole: bool = False
    """Whether it was printed to its end."""


@dataclass(frozen=True, slots=True)
class HostSurvey:
    """A host. ``features`` are the CPU's that guests are shown; ``abis`` what libvirt makes of ``xen_caps``.

    ``dom0_fixed`` is whether dom0 was given its memory at boot, so that it makes no room for guests; None if unknown.
    """

    name: str
    xen: str = ""
    libvirt: str = ""
    kernel: str = ""
    xen_caps: frozenset[str] = frozenset()
    abis: str = ""
    virt_caps: frozenset[str] | None = None
    features: frozenset[str] | None = None
    free_mib: int | None = None
    dom0_mib: int | None = None
    dom0_fixed: bool | None = None
    max_vcpus: int | None = None
    bridges: frozenset[str] | None = None
    tenants: tuple[Tenant, ...] = ()
    places: Mapping[str, Place] = field(default_factory=dict)

    @property
    def version(self) -> tuple[int, ...]:
        """Xen's, major and minor; empty if unknown."""
        return version_of(self.xen)

    def tenant(self, name: str) -> Tenant | None:
        """The domain of that name."""
        return next((tenant for tenant in self.tenants if tenant.name == name), None)


def version_of(text: str, parts: int = 2) -> tuple[int, ...]:
    """The first numbers of a version; empty if there are fewer.

    >>> version_of("4.20.5-pre"), version_of("6.1.0-56-cloud-amd64", 3), version_of("unknown")
    ((4, 20), (6, 1, 0), ())
    """
    found = re.match(r"\d+(\.\d+)*", text)
    numbers = tuple(map(int, found.group().split("."))) if found else ()
    return numbers[:parts] if len(numbers) >= parts else ()


def ask_host(
    name: str, shell: Shell, connection: Connection, paths: Iterable[str], *, deadline: Deadline
) -> HostSurvey:
    """Everything about a host that the rules want; ``paths`` are those that guests name.

    Raises:
        HostError, DeadlineError: it cannot be asked.
    """
    wanted = tuple(dict.fromkeys(paths))
    facts = connection.facts(deadline)
    said = shell.run("sh", "-c", SCRIPT, "sh", *wanted, deadline=deadline)
    told = parse_host(said.stdout.decode("utf-8", "backslashreplace"), wanted)
    if not told.whole:
        words = last_line(said.stderr) or f"status {said.status}"
        raise HostError(f"{name}: half an answer to what it is: {words}", hint=f"can you run a command on {name}?")
    return _survey(name, facts, told, _tenants(connection, deadline))


def parse_host(text: str, paths: Sequence[str]) -> Told:
    """What the script has printed when asked for ``paths``; whatever is not understood is passed over."""
    xl: dict[str, str] = {}
    places: dict[str, dict[str, str]] = {path: {} for path in paths}
    bridges: set[str] = set()
    kernel, dom0, asked, whole = "", "", False, False
    for line in text.splitlines():
        word, _, rest = line.partition(" ")
        match word:
            case "kernel":
                kernel = rest.strip()
            case "xl":
                key, _, value = rest.partition(":")
                xl[key.strip()] = value.strip()
            case "dom0":
                dom0 = rest
            case "bridge":
                bridges.add(rest.strip())
            case "bridges":
                asked = True
            case "place" | "serial" | "mapped" | "part" | "filesystem" | "magic":
                number, _, value = rest.partition(" ")
                if number.isdecimal() and int(number) < len(paths):
                    places[paths[int(number)]][word] = value.strip()
            case "end":
                whole = True
            case _:
                pass
    found = {path: _place(place) for path, place in places.items()}
    return Told(kernel, xl, _dom0_mib(dom0), frozenset(bridges) if asked else None, found, whole)


def _place(said: Mapping[str, str]) -> Place:
    kind, _, size = said.get("place", "").partition(" ")
    serial = said.get("mapped") or said.get("serial", "")
    part = said.get("part", "")
    return Place(
        kind=kind,
        bytes=_number(size),
        identity=f"{serial}#{part}" if serial and part else serial,
        filesystem=said.get("filesystem", ""),
        bits=_ELF_CLASS.get(said.get("magic", "")),
    )


def _dom0_mib(line: str) -> int | None:
    # xl list: Name ID Mem VCPUs State Time(s)
    words = line.split()
    return _number(words[2]) if len(words) > 2 and words[1] == "0" else None


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and re.fullmatch(r"[0-9]{1,18}", text) else None


def _survey(name: str, facts: HypervisorFacts, told: Told, tenants: tuple[Tenant, ...]) -> HostSurvey:
    last_cpu = _number(told.xl.get("max_cpu_id"))
    command = told.xl.get("xen_commandline")
    virt_caps = told.xl.get("virt_caps")
    return HostSurvey(
        name=name,
        xen=told.xl.get("xen_version") or (facts.hypervisor_version if facts.hypervisor == "Xen" else ""),
        libvirt=facts.libvirt_version,
        kernel=told.kernel,
        xen_caps=frozenset(told.xl.get("xen_caps", "").split()),
        abis=_abis(facts.capabilities_xml),
        virt_caps=None if virt_caps is None else frozenset(virt_caps.split()),
        features=features(told.xl.get("hw_caps", "")),
        free_mib=_number(told.xl.get("free_memory")),
        dom0_mib=told.dom0_mib,
        dom0_fixed=None if command is None else re.search(r"(^|\s)dom0_mem=", command) is not None,
        max_vcpus=None if last_cpu is None else last_cpu + 1,
        bridges=told.bridges,
        tenants=tenants,
        places=told.places,
    )


def _abis(xml: str) -> str:
    try:
        return str(capabilities(xml))
    except DomainXmlError:
        return ""


def _tenants(connection: Connection, deadline: Deadline) -> tuple[Tenant, ...]:
    found = []
    for name in connection.domains(deadline):
        try:
            domain = connection.domain(name, deadline)
            found.append(Tenant(name, domain.uuid.lower(), domain.is_active(deadline)))
        except GuestNotFoundError:  # it has gone meanwhile
            continue
    return tuple(found)
