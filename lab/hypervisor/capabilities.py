"""What kinds of guest a host takes, by its libvirt capabilities.

The libxl driver makes its ``<guest>`` elements out of Xen's ``xen_caps``: ``xen-3.0-x86_64`` gives os type ``xen``
(PV) for x86_64, ``hvm-3.0-x86_32p`` gives ``hvm`` and ``xenpvh`` for i686. A host without ``xen-3.0-x86_32p`` runs no
32-bit PV guests, however new or old it is.
"""

from __future__ import annotations

from dataclasses import dataclass

from lab.errors import UnknownNameError
from lab.hypervisor.document import Element, parse, text_of

__all__ = ["Capabilities", "GuestAbi", "capabilities"]

_OS_TYPES = {"pv": frozenset({"xen", "linux"}), "pvh": frozenset({"xenpvh"}), "hvm": frozenset({"hvm"})}
_ARCHES = {"amd64": "x86_64", "i386": "i686", "x86_32": "i686", "arm64": "aarch64"}


@dataclass(frozen=True, slots=True)
class GuestAbi:
    """One kind of guest: libvirt's os type (xen, xenpvh, hvm), architecture, machines and features such as ``hap``."""

    os_type: str
    arch: str
    machines: tuple[str, ...] = ()
    features: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Capabilities:
    """The architecture of a host and the kinds of guest it takes."""

    arch: str
    guests: tuple[GuestAbi, ...]

    def supports(self, *, type: str, arch: str) -> bool:  # noqa: A002 - the lab's word for pv, pvh, hvm
        """Whether guests of ``type`` (pv, pvh, hvm) with ``arch`` (libvirt's or Debian's name) are taken.

        Raises:
            UnknownNameError: no such type.
        """
        if type not in _OS_TYPES:
            raise UnknownNameError("guest type", type, _OS_TYPES)
        wanted = _ARCHES.get(arch, arch)
        return any(abi.os_type in _OS_TYPES[type] and abi.arch == wanted for abi in self.guests)

    def __str__(self) -> str:
        return " ".join(sorted(f"{abi.os_type}-{abi.arch}" for abi in self.guests)) or "no guests"


def capabilities(xml: str) -> Capabilities:
    """The capabilities in libvirt's XML (``HypervisorFacts.capabilities_xml``).

    Raises:
        DomainXmlError: not well-formed.
    """
    root = parse(xml, "capabilities XML")
    abis = (_abi(guest, arch) for guest in root.iterfind("guest") for arch in guest.iterfind("arch"))
    return Capabilities(text_of(root, "host/cpu/arch"), tuple(abis))


def _abi(guest: Element, arch: Element) -> GuestAbi:
    machines = tuple((machine.text or "").strip() for machine in arch.iterfind("machine"))
    features = tuple(str(feature.tag) for feature in guest.iterfind("features/*"))
    return GuestAbi(text_of(guest, "os_type"), arch.get("name", ""), machines, features)
