"""What plain tests ask of a stage, in the words of scenario files. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields

from lab.errors import UnknownNameError, UsageError
from lab.scenario.cell import GuestRequest, HostRequest, KernelRequest

__all__ = ["guest_request", "host_request", "way"]

_WAYS = ("cold", "cold-shared", "live", "save-restore")


def host_request(host: str, *, role: str = "host") -> HostRequest:
    """A host by its Xen version, such as ``4.20``, or else by its name in the inventory."""
    return HostRequest(role, xen=host) if re.fullmatch(r"\d+\.\d+", host) else HostRequest(role, inventory=host)


def guest_request(
    *,
    release: str,
    kernel: Mapping[str, str] | None = None,
    name: str = "guest",
    userland: str = "amd64",
    **more: str | int,
) -> GuestRequest:
    """A guest with the keys of a scenario's; what is left out has the same default.

    Raises:
        UsageError: a key is none of a guest's or of a kernel's.
    """
    asked = dict(kernel or {})
    _check("kernel", asked, KernelRequest)
    _check("guest", more, GuestRequest)
    asked.setdefault("release", release)
    if asked.get("arch") == "i386":
        asked.setdefault("flavour", "686-pae")  # the one Debian kernel for i386 that boots as a Xen guest
    return GuestRequest(name, release, userland, KernelRequest(**asked), **more)  # type: ignore[arg-type] # checked above


def way(how: str) -> str:
    """``how`` itself.

    Raises:
        UnknownNameError: it is no way to move a guest.
    """
    if how not in _WAYS:
        raise UnknownNameError("way to move a guest", how, _WAYS)
    return how


def _check(what: str, asked: Mapping[str, object], request: type[GuestRequest | KernelRequest]) -> None:
    known = {field.name: field.type for field in fields(request)}
    for key, value in asked.items():
        if key not in known:
            raise UnknownNameError(f"key of a {what}", key, known)
        kind = int if known[key] == "int" else str
        if type(value) is not kind:
            raise UsageError(f"{what}: {key} is {value!r}, which is no {'whole number' if kind is int else 'text'}")
