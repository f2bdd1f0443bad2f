"""libvirt's errors as members of the lab's family; the code and the words of libvirt are always kept.

The codes are those of ``virterror.h``. libvirt uses a few of them for many things, so the origin counts too:
an ``internal error`` from the RPC layer is a dead socket, the same code from libxl is a guest that would not start.
"""

from __future__ import annotations

from dataclasses import dataclass

from lab.errors import GuestError, HostError, LabError, UnsupportedError
from lab.hypervisor import binding
from lab.hypervisor.binding import Said

__all__ = [
    "DomainXmlError",
    "GuestNotFoundError",
    "GuestRefusedError",
    "HostRefusedError",
    "NotSupportedError",
    "Place",
    "refusal",
]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a call was made: connection, guest (may be empty) and the name of the call."""

    uri: str
    guest: str
    call: str

    def __str__(self) -> str:
        guest = f"guest {self.guest}: " if self.guest else ""
        return f"{self.uri}: {guest}{self.call}"


class _SpokenError(LabError):
    """An error that libvirt reported: ``code`` is its ``VIR_ERR_*``, ``text`` its own words, ``place`` the call."""

    code: int
    text: str
    place: Place


class HostRefusedError(_SpokenError, HostError):
    """The connection, the daemon or the machine behind it is in trouble."""

    def __init__(self, place: Place, said: Said, *, hint: str = "") -> None:
        super().__init__(f"{place}: {said.text}", hint=hint)
        self.place, self.code, self.text = place, said.code, said.text


class GuestRefusedError(_SpokenError, GuestError):
    """libvirt or Xen would not do this to this guest."""

    def __init__(self, place: Place, said: Said) -> None:
        super().__init__(f"{place}: {said.text}")
        self.place, self.code, self.text = place, said.code, said.text


class GuestNotFoundError(GuestRefusedError, LookupError):
    """No such domain on this host (any more)."""


class NotSupportedError(_SpokenError, UnsupportedError):
    """The driver says that it cannot do this at all. ``reason`` starts with ``libvirt-``."""

    def __init__(self, place: Place, said: Said, *, reason: str) -> None:
        super().__init__(f"{place}: {said.text}", reason=reason)
        self.place, self.code, self.text = place, said.code, said.text


class DomainXmlError(_SpokenError, ValueError):
    """Domain or device XML that libvirt (or its RELAX-NG) does not accept; ``code`` is 0 when it was the RELAX-NG."""

    def __init__(self, place: Place | str, said: Said) -> None:
        super().__init__(f"{place}: {said.text}")
        self.place = place if isinstance(place, Place) else Place(place, "", "validate")
        self.code, self.text = said.code, said.text


_UNSUPPORTED = {
    binding.NO_SUPPORT: "libvirt-no-support",
    binding.OPERATION_UNSUPPORTED: "libvirt-operation-unsupported",
    binding.ARGUMENT_UNSUPPORTED: "libvirt-argument-unsupported",
    binding.CONFIG_UNSUPPORTED: "libvirt-config-unsupported",
}
_BAD_XML = frozenset({binding.XML_ERROR, binding.XML_DETAIL, binding.XML_SCHEMA})


def refusal(place: Place, said: Said) -> LabError:
    """The lab's error for what libvirt said of a call at ``place``."""
    if said.code == binding.NO_DOMAIN:
        return GuestNotFoundError(place, said)
    if said.code in _UNSUPPORTED:
        return NotSupportedError(place, said, reason=_UNSUPPORTED[said.code])
    if said.code == binding.INVALID_ARGUMENT and said.text.startswith("unsupported flags "):
        # virCheckFlags, when a driver does not know a flag: `unsupported flags (0x1) in function testDomainX`.
        return NotSupportedError(place, said, reason="libvirt-flags-unsupported")
    if said.code in _BAD_XML:
        return DomainXmlError(place, said)
    if said.code in binding.NO_CONNECTION or said.origin in binding.FROM_TRANSPORT or said.code == binding.SYSTEM_ERROR:
        return HostRefusedError(place, said)
    return GuestRefusedError(place, said) if place.guest else HostRefusedError(place, said)
