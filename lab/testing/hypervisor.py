"""A hypervisor in memory: behind the same Protocols as libvirt, and able to fail on demand.

It refuses what libvirt refuses, in libvirt's own codes and words, and goes through the same mapping and the same
bounded calls; one contract test suite holds it and libvirt's ``test:///`` driver to the same behaviour.
What ``test:///`` has not, it has: migration, paused start, live devices, and faults.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import TracebackType
from typing import Self, TypeVar

from lab.deadline import Deadline
from lab.errors import LabError, UsageError
from lab.hypervisor import binding
from lab.hypervisor.binding import Said
from lab.hypervisor.calls import Calls, Job
from lab.hypervisor.document import Element, element, parse, render
from lab.hypervisor.domain_xml import DomainIdentity, identity
from lab.hypervisor.model import Connection, DomainSize, DomainState, HypervisorFacts, MigrationPlan
from lab.testing.hypervisor_world import CAPABILITIES, FakeRefusal, Faults, Record, World

__all__ = ["CAPABILITIES", "FakeConnection", "FakeDomain", "FakeHypervisor", "Faults"]

T = TypeVar("T")


class FakeHypervisor(World):
    """One host to connect to; set ``faults`` to have it fail."""

    def connect(self, *, deadline: Deadline) -> FakeConnection:
        """A connection to this host; fails as :func:`lab.hypervisor.connect` does."""
        connection = FakeConnection(self)
        connection.calls.run("connect", lambda: self.enter("connect"), deadline)
        return connection


class FakeConnection:
    """A :class:`lab.hypervisor.model.Connection` to a :class:`FakeHypervisor`."""

    def __init__(self, hypervisor: FakeHypervisor) -> None:
        self.hypervisor = hypervisor
        self.calls = Calls(hypervisor.uri, listen=_listen, alive=lambda: not hypervisor.faults.down)

    @property
    def uri(self) -> str:
        return self.hypervisor.uri

    @property
    def broken(self) -> LabError | None:
        return self.calls.broken

    def facts(self, deadline: Deadline) -> HypervisorFacts:
        return self._run("facts", lambda: self.hypervisor.facts, deadline)

    def define(self, xml: str, deadline: Deadline) -> FakeDomain:
        return FakeDomain(self, self._run("define", lambda: self.hypervisor.define(xml), deadline).identity)

    def domain(self, name: str, deadline: Deadline) -> FakeDomain:
        return FakeDomain(self, self._run("look up", lambda: self.hypervisor.record(name), deadline, name).identity)

    def domains(self, deadline: Deadline) -> tuple[str, ...]:
        def names() -> tuple[str, ...]:
            return tuple(sorted(record.identity.name for record in self.hypervisor.records.values()))

        return self._run("list domains", names, deadline)

    def restore(self, path: str, xml: str | None, deadline: Deadline) -> None:
        self.calls.run(f"restore from {path}", lambda: self._do("restore", path, xml), deadline)

    def _do(self, verb: str, path: str, xml: str | None) -> None:
        if self.hypervisor.enter(verb):
            self.hypervisor.restore(path, xml)

    def reconnect(self, deadline: Deadline) -> FakeConnection:
        return self.hypervisor.connect(deadline=deadline)

    def close(self) -> None:
        self.calls.mark_broken(LabError("it was closed"))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _run(self, verb: str, answer: Callable[[], T], deadline: Deadline, guest: str = "") -> T:
        def ask() -> T:
            self.hypervisor.enter(verb)
            return answer()

        return self.calls.run(verb, ask, deadline, guest=guest)


def _listen(error: BaseException) -> Said | None:
    return error.said if isinstance(error, FakeRefusal) else None


class FakeDomain:
    """A :class:`lab.hypervisor.model.Domain` of a :class:`FakeHypervisor`."""

    def __init__(self, connection: FakeConnection, who: DomainIdentity) -> None:
        self.connection = connection
        self.name = who.name
        self.uuid = who.uuid

    def start(self, deadline: Deadline, *, paused: bool = False) -> None:
        def start(record: Record) -> None:
            record.require(active=False)
            self._host.refuse_unfit(record)
            record.state = DomainState.PAUSED if paused else DomainState.RUNNING

        self._change("start", start, deadline)

    def destroy(self, deadline: Deadline) -> None:
        self._tear_down("destroy", self._host.end, deadline)

    def undefine(self, deadline: Deadline) -> None:
        def undefine(record: Record) -> None:
            record.persistent = False
            if not record.active:
                self._host.end(record)

        self._tear_down("undefine", undefine, deadline)

    def shutdown(self, deadline: Deadline) -> None:
        def shutdown(record: Record) -> None:
            record.require(active=True)
            self._host.end(record)

        self._change("shutdown", shutdown, deadline)

    def suspend(self, deadline: Deadline) -> None:
        self._turn("suspend", DomainState.RUNNING, DomainState.PAUSED, deadline)

    def resume(self, deadline: Deadline) -> None:
        self._turn("resume", DomainState.PAUSED, DomainState.RUNNING, deadline)

    def state(self, deadline: Deadline) -> DomainState:
        return self._ask("state", lambda record: record.state, deadline)

    def is_active(self, deadline: Deadline) -> bool:
        def active() -> bool:
            self._host.enter("is active")
            known = self._host.records.get(self.uuid)
            return known is not None and known.active

        return self.connection.calls.run("is active", active, deadline, guest=self.name)

    def size(self, deadline: Deadline) -> DomainSize:
        who = self._ask("info", lambda record: record.identity, deadline)
        return DomainSize(who.vcpus, who.memory_kib, who.memory_kib)

    def xml(self, deadline: Deadline) -> str:
        return self._ask("dump XML", lambda record: record.xml, deadline)

    def save(self, path: str, deadline: Deadline) -> None:
        def save(record: Record) -> None:
            record.require(active=True)
            self._host.saved[path] = replace(record)
            self._host.end(record)

        self._change("save", save, deadline, called=f"save to {path}")

    def attach(self, device_xml: str, deadline: Deadline) -> None:
        def attach(devices: Element, device: Element) -> None:
            if _find(devices, device) is not None:
                raise FakeRefusal(
                    binding.OPERATION_FAILED, f"operation failed: target {_target(device)} already exists"
                )
            devices.append(device)

        self._replug("attach", attach, device_xml, deadline)

    def detach(self, device_xml: str, deadline: Deadline) -> None:
        def detach(devices: Element, device: Element) -> None:
            plugged = _find(devices, device)
            if plugged is None:
                raise FakeRefusal(binding.OPERATION_FAILED, f"operation failed: no device {_target(device)}")
            devices.remove(plugged)

        self._replug("detach", detach, device_xml, deadline)

    def migrate_to(self, target: Connection, plan: MigrationPlan, deadline: Deadline) -> FakeDomain:
        if not isinstance(target, FakeConnection):
            raise UsageError(f"{self.connection.uri}: guest {self.name}: migrate: {target.uri} is no fake connection")

        def move() -> DomainIdentity:
            record = self._host.record(self.uuid)
            record.require(active=True)
            with self._host.job(record):
                self._host.aborted.clear()
                if self._host.enter("migrate"):
                    target.hypervisor.receive(record, self._host, plan)
            return record.identity

        call = f"migrate to {target.uri}"
        who = self.connection.calls.run(call, move, deadline, guest=self.name, job=Job(self._abort, target.calls))
        return FakeDomain(target, who)

    @property
    def _host(self) -> FakeHypervisor:
        return self.connection.hypervisor

    def _abort(self) -> str:
        if self._host.faults.no_abort:
            return "abort refused: this function is not supported by the connection driver: virDomainAbortJob"
        self._host.aborted.set()
        return "aborted"

    def _ask(self, verb: str, answer: Callable[[Record], T], deadline: Deadline) -> T:
        def ask() -> T:
            self._host.enter(verb)
            return answer(self._host.record(self.uuid))

        return self.connection.calls.run(verb, ask, deadline, guest=self.name)

    def _change(self, verb: str, change: Callable[[Record], None], deadline: Deadline, *, called: str = "") -> None:
        def work() -> None:
            record = self._host.record(self.uuid)
            if self._host.enter(verb):
                change(record)

        self.connection.calls.run(called or verb, work, deadline, guest=self.name)

    def _tear_down(self, verb: str, change: Callable[[Record], None], deadline: Deadline) -> None:
        def work() -> None:
            known = self._host.records.get(self.uuid)
            if self._host.enter(verb) and known is not None:
                change(known)

        self.connection.calls.run(verb, work, deadline, guest=self.name)

    def _turn(self, verb: str, before: DomainState, after: DomainState, deadline: Deadline) -> None:
        def turn(record: Record) -> None:
            if record.state is not before:
                text = f"Requested operation is not valid: domain is not {before.value}"
                raise FakeRefusal(binding.OPERATION_INVALID, text)
            record.state = after

        self._change(verb, turn, deadline)

    def _replug(self, verb: str, plug: Callable[[Element, Element], None], device_xml: str, deadline: Deadline) -> None:
        def change(record: Record) -> None:
            record.require(active=True)
            root = parse(record.xml)
            devices = root.find("devices")
            if devices is None:
                devices = element("devices")
                root.append(devices)
            plug(devices, parse(device_xml, "device XML"))
            record.xml = render(root)
            record.identity = identity(record.xml)

        self._change(verb, change, deadline)


def _target(device: Element) -> str:
    found = device.find("mac" if device.tag == "interface" else "target")
    return "" if found is None else found.get("address") or found.get("dev") or ""


def _find(devices: Element, wanted: Element) -> Element | None:
    of_kind = devices.iterfind(str(wanted.tag))
    return next((device for device in of_kind if _target(device) == _target(wanted)), None)
