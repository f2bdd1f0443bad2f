"""The only module that imports libvirt: calls behind Protocols, constants as plain numbers, errors as values.

libvirt-python ships no types and its annotations are wrong in places, so nothing of it may leak out of here.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import libvirt

__all__ = ["RawConnection", "RawDomain", "Said", "listen", "open_connection"]

NO_SUPPORT: Final[int] = libvirt.VIR_ERR_NO_SUPPORT
OPERATION_UNSUPPORTED: Final[int] = libvirt.VIR_ERR_OPERATION_UNSUPPORTED
ARGUMENT_UNSUPPORTED: Final[int] = libvirt.VIR_ERR_ARGUMENT_UNSUPPORTED
CONFIG_UNSUPPORTED: Final[int] = libvirt.VIR_ERR_CONFIG_UNSUPPORTED
INVALID_ARGUMENT: Final[int] = libvirt.VIR_ERR_INVALID_ARG
NO_DOMAIN: Final[int] = libvirt.VIR_ERR_NO_DOMAIN
OPERATION_INVALID: Final[int] = libvirt.VIR_ERR_OPERATION_INVALID
OPERATION_FAILED: Final[int] = libvirt.VIR_ERR_OPERATION_FAILED
XML_ERROR: Final[int] = libvirt.VIR_ERR_XML_ERROR
XML_DETAIL: Final[int] = libvirt.VIR_ERR_XML_DETAIL
XML_SCHEMA: Final[int] = libvirt.VIR_ERR_XML_INVALID_SCHEMA
SYSTEM_ERROR: Final[int] = libvirt.VIR_ERR_SYSTEM_ERROR
INTERNAL_ERROR: Final[int] = libvirt.VIR_ERR_INTERNAL_ERROR
NO_CONNECTION: Final[frozenset[int]] = frozenset(
    {
        libvirt.VIR_ERR_NO_CONNECT,
        libvirt.VIR_ERR_INVALID_CONN,
        libvirt.VIR_ERR_RPC,
        libvirt.VIR_ERR_GNUTLS_ERROR,
        libvirt.VIR_ERR_AUTH_FAILED,
        libvirt.VIR_ERR_AUTH_CANCELLED,
        libvirt.VIR_ERR_AUTH_UNAVAILABLE,
        libvirt.VIR_ERR_SSH,
        libvirt.VIR_ERR_LIBSSH,
    }
)
"""Codes that speak of the connection whoever raised them."""

FROM_RPC: Final[int] = libvirt.VIR_FROM_RPC
FROM_TRANSPORT: Final[frozenset[int]] = frozenset(
    {libvirt.VIR_FROM_RPC, libvirt.VIR_FROM_REMOTE, libvirt.VIR_FROM_SSH, libvirt.VIR_FROM_LIBSSH}
)
"""Origins within libvirt that are the wire: a dead socket is ``internal error: client socket is closed`` from there."""

FROM_DRIVER: Final[int] = libvirt.VIR_FROM_LIBXL

START_PAUSED: Final[int] = libvirt.VIR_DOMAIN_START_PAUSED
UNDEFINE_MANAGED_SAVE: Final[int] = libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE
AFFECT_LIVE: Final[int] = libvirt.VIR_DOMAIN_AFFECT_LIVE
MIGRATE_LIVE: Final[int] = libvirt.VIR_MIGRATE_LIVE
MIGRATE_PEER_TO_PEER: Final[int] = libvirt.VIR_MIGRATE_PEER2PEER
MIGRATE_PERSIST: Final[int] = libvirt.VIR_MIGRATE_PERSIST_DEST
MIGRATE_UNDEFINE_SOURCE: Final[int] = libvirt.VIR_MIGRATE_UNDEFINE_SOURCE
MIGRATE_URI: Final[str] = libvirt.VIR_MIGRATE_PARAM_URI

# A peer that is silent for 5 s is asked; after 3 questions without an answer the socket is closed.
_KEEPALIVE = (5, 3)

# Over a line and to a machine that are not the lab's own a minute may go by: a busy host was given up after 20 s.
_PATIENT_KEEPALIVE = (10, 5)


class RawDomain(Protocol):
    """What the lab uses of ``libvirt.virDomain``, in libvirt's own spelling."""

    def name(self) -> str: ...
    def UUIDString(self) -> str: ...  # noqa: N802 - libvirt's spelling
    def createWithFlags(self, flags: int) -> int: ...  # noqa: N802 - libvirt's spelling
    def destroy(self) -> int: ...
    def undefineFlags(self, flags: int) -> int: ...  # noqa: N802 - libvirt's spelling
    def shutdown(self) -> int: ...
    def suspend(self) -> int: ...
    def resume(self) -> int: ...
    def state(self) -> Sequence[int]: ...
    def info(self) -> Sequence[int]: ...
    def isActive(self) -> int: ...  # noqa: N802 - libvirt's spelling
    def isPersistent(self) -> int: ...  # noqa: N802 - libvirt's spelling
    def XMLDesc(self, flags: int) -> str: ...  # noqa: N802 - libvirt's spelling
    def save(self, to: str) -> int: ...
    def attachDeviceFlags(self, xml: str, flags: int) -> int: ...  # noqa: N802 - libvirt's spelling
    def detachDeviceFlags(self, xml: str, flags: int) -> int: ...  # noqa: N802 - libvirt's spelling
    def abortJob(self) -> int: ...  # noqa: N802 - libvirt's spelling
    def migrate3(self, dconn: RawConnection, params: Mapping[str, str], flags: int) -> RawDomain: ...
    def migrateToURI3(self, dconnuri: str, params: Mapping[str, str], flags: int) -> int: ...  # noqa: N802 - libvirt's spelling


class RawConnection(Protocol):
    """What the lab uses of ``libvirt.virConnect``, in libvirt's own spelling."""

    def close(self) -> int: ...
    def isAlive(self) -> int: ...  # noqa: N802 - libvirt's spelling
    def getType(self) -> str: ...  # noqa: N802 - libvirt's spelling
    def getVersion(self) -> int: ...  # noqa: N802 - libvirt's spelling
    def getLibVersion(self) -> int: ...  # noqa: N802 - libvirt's spelling
    def getHostname(self) -> str: ...  # noqa: N802 - libvirt's spelling
    def getCapabilities(self) -> str: ...  # noqa: N802 - libvirt's spelling
    def listAllDomains(self, flags: int) -> Sequence[RawDomain]: ...  # noqa: N802 - libvirt's spelling
    def lookupByName(self, name: str) -> RawDomain: ...  # noqa: N802 - libvirt's spelling
    def defineXML(self, xml: str) -> RawDomain: ...  # noqa: N802 - libvirt's spelling
    def restoreFlags(self, path: str, dxml: str | None, flags: int) -> int: ...  # noqa: N802 - libvirt's spelling


@dataclass(frozen=True, slots=True)
class Said:
    """What libvirt said: its error code, the part of it that spoke (``VIR_FROM_*``) and its words."""

    code: int
    origin: int
    text: str


def listen(error: BaseException) -> Said | None:
    """What libvirt said, or nothing when ``error`` is not libvirt's."""
    if not isinstance(error, libvirt.libvirtError):
        return None
    text = error.get_error_message() or str(error)
    return Said(error.get_error_code() or INTERNAL_ERROR, error.get_error_domain() or 0, " ".join(text.split()))


def open_connection(uri: str, *, patient: bool = False) -> RawConnection:
    """An open connection that notices a dead peer by keepalive where the driver knows it, later if it is ``patient``.
    Blocks; call it bounded.

    Raises:
        libvirt.libvirtError: as the others; :func:`listen` understands it.
    """
    _prepare()
    raw: RawConnection = libvirt.open(uri)
    try:
        raw.setKeepAlive(*(_PATIENT_KEEPALIVE if patient else _KEEPALIVE))  # type: ignore[attr-defined] # not in the Protocol: nobody else calls it
    except libvirt.libvirtError as error:
        if error.get_error_code() != NO_SUPPORT:  # test:/// has no peer that could die
            raw.close()
            raise
    return raw


@functools.cache
def _prepare() -> None:
    """Once a process: keep libvirt from printing to standard error, and run its event loop, which sends the keepalives.

    The loop must be registered before the first connection is opened. Its thread is a daemon because
    ``virEventRunDefaultImpl`` has no way to be told to end.
    """
    libvirt.registerErrorHandler(_say_nothing, None)
    libvirt.virEventRegisterDefaultImpl()
    threading.Thread(target=_run_events, name="libvirt events", daemon=True).start()


def _say_nothing(_context: object, _error: object) -> None:
    """Every error also arrives as an exception."""


def _run_events() -> None:
    while True:
        libvirt.virEventRunDefaultImpl()
