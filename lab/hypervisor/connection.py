"""A connection to a hypervisor through libvirt."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Self

from lab.deadline import Deadline
from lab.errors import LabError
from lab.hypervisor import binding
from lab.hypervisor.binding import RawConnection
from lab.hypervisor.calls import Calls, bounded
from lab.hypervisor.domain import LibvirtDomain
from lab.hypervisor.errors import HostRefusedError, Place
from lab.hypervisor.model import HypervisorFacts

__all__ = ["LibvirtConnection", "connect"]

_CLOSE_SECONDS = 3.0


def connect(uri: str, *, deadline: Deadline, patient: bool = False) -> LibvirtConnection:
    """An open connection; use it with ``with``. No password is ever asked for: authentication must work without.

    One that is ``patient`` bears a minute of silence from the host, as over a line that is not the lab's own.

    Raises:
        HostError: nobody answers there, or not to us.
        DeadlineError: nothing came back in time. A connection that comes later is closed.
    """
    place = Place(uri, "", "connect")
    unwanted = threading.Event()

    def open_wanted() -> RawConnection:
        opened = binding.open_connection(uri, patient=patient)
        if unwanted.is_set():
            opened.close()
        return opened

    try:
        raw = bounded(place, open_wanted, deadline)
    except BaseException as error:  # the deadline and Ctrl-C too: a connection may still come
        unwanted.set()
        said = binding.listen(error)
        if said is None:
            raise
        raise HostRefusedError(place, said, hint=_hint(said.text)) from error
    return LibvirtConnection(uri, raw, patient=patient)


def _hint(text: str) -> str:
    if "No such file or directory" in text or "Connection refused" in text:
        return "is the host up, and its libvirt daemon running?"
    return ""


class LibvirtConnection:
    """A :class:`lab.hypervisor.model.Connection` of libvirt. ``raw`` and ``calls`` are for this package alone."""

    def __init__(self, uri: str, raw: RawConnection, *, patient: bool = False) -> None:
        self.uri = uri
        self.patient = patient
        self.raw = raw
        self.calls = Calls(uri, listen=binding.listen, alive=lambda: raw.isAlive() == 1)
        self._closed = False

    def __repr__(self) -> str:
        return f"<LibvirtConnection {self.uri}>"

    @property
    def broken(self) -> LabError | None:
        return self.calls.broken

    def facts(self, deadline: Deadline) -> HypervisorFacts:
        def ask() -> HypervisorFacts:
            kind = self.raw.getType()
            return HypervisorFacts(
                hypervisor=kind,
                hypervisor_version=_version(self.raw.getVersion(), parts=2 if kind == "Xen" else 3),
                libvirt_version=_version(self.raw.getLibVersion()),
                hostname=self.raw.getHostname(),
                capabilities_xml=self.raw.getCapabilities(),
            )

        return self.calls.run("facts", ask, deadline)

    def define(self, xml: str, deadline: Deadline) -> LibvirtDomain:
        return LibvirtDomain(self, self.calls.run("define", lambda: self.raw.defineXML(xml), deadline))

    def domain(self, name: str, deadline: Deadline) -> LibvirtDomain:
        return LibvirtDomain(self, self.calls.run("look up", lambda: self.raw.lookupByName(name), deadline, guest=name))

    def domains(self, deadline: Deadline) -> tuple[str, ...]:
        found = self.calls.run("list domains", lambda: self.raw.listAllDomains(0), deadline)
        return tuple(sorted(raw.name() for raw in found))

    def restore(self, path: str, xml: str | None, deadline: Deadline) -> None:
        self.calls.run(f"restore from {path}", lambda: self.raw.restoreFlags(path, xml, 0), deadline)

    def reconnect(self, deadline: Deadline) -> LibvirtConnection:
        return connect(self.uri, deadline=deadline, patient=self.patient)

    def close(self) -> None:
        """Let go. A broken connection is not waited for: its close would hang where its calls did."""
        if not self._closed:
            self._closed = True
            self.calls.farewell(self.raw.close, seconds=_CLOSE_SECONDS)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _version(number: int, *, parts: int = 3) -> str:
    """A version as libvirt packs it: major * 1000000 + minor * 1000 + release."""
    return ".".join(str(part) for part in (number // 1_000_000, number // 1000 % 1000, number % 1000)[:parts])
