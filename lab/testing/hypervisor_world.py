"""The world of the fake hypervisor: its domains, what it refuses, and what can be made to go wrong in it."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from lab.hypervisor import binding
from lab.hypervisor.binding import Said
from lab.hypervisor.document import element, parse, render
from lab.hypervisor.domain_xml import DomainIdentity, identity
from lab.hypervisor.errors import DomainXmlError
from lab.hypervisor.model import DomainState, HypervisorFacts, MigrationPlan

__all__ = ["CAPABILITIES", "FakeRefusal", "Faults", "Record", "World"]

CAPABILITIES = """<capabilities><host><cpu><arch>x86_64</arch></cpu></host>
<guest><os_type>xen</os_type><arch name='x86_64'><machine>xenpv</machine><domain type='xen'/></arch></guest>
<guest><os_type>xenpvh</os_type><arch name='x86_64'><machine>xenpvh</machine><domain type='xen'/></arch>
<features><hap default='on' toggle='yes'/></features></guest>
</capabilities>"""


_FACTS = HypervisorFacts("Xen", "4.20", "11.3.0", "fake", CAPABILITIES)


class FakeRefusal(Exception):  # noqa: N818 - it is never seen outside: the bounded calls turn it into the lab's errors
    """What the fake raises where libvirt would raise its own error."""

    def __init__(self, code: int, text: str, origin: int = binding.FROM_DRIVER) -> None:
        super().__init__(text)
        self.said = Said(code, origin, text)


@dataclass
class Faults:
    """What goes wrong. Verbs are those of the messages: ``start``, ``migrate``, ``shutdown``, ``state`` ...

    ``hang`` never returns, ``refuse`` answers so, ``ignore`` is taken and not done, ``down`` is the text of a dead
    socket. ``leave_source`` and ``lose_guest`` are migrations that libvirt calls done and that are not.
    """

    hang: set[str] = field(default_factory=set)
    refuse: dict[str, Said] = field(default_factory=dict)
    ignore: set[str] = field(default_factory=set)
    down: str = ""
    leave_source: bool = False
    lose_guest: bool = False
    no_abort: bool = False


@dataclass
class Record:
    """A domain as the host keeps it."""

    xml: str
    identity: DomainIdentity
    state: DomainState = DomainState.SHUTOFF
    persistent: bool = True

    @property
    def active(self) -> bool:
        return self.state is not DomainState.SHUTOFF

    def require(self, *, active: bool) -> None:
        if self.active != active:
            text = "domain is not running" if active else "domain is already running"
            raise FakeRefusal(binding.OPERATION_INVALID, f"Requested operation is not valid: {text}")


@dataclass
class World:
    """One host in memory. ``bridges``, ``free_mib`` and ``sees`` (by a disk's path) limit what starts there; None and 0
    mean no limit. ``on_the_way`` is called when the memory of a guest comes in: it may take its time, or refuse.
    """

    uri: str = "fake:///xen"
    facts: HypervisorFacts = _FACTS
    bridges: frozenset[str] | None = None
    free_mib: int = 0
    sees: Callable[[str], bool] | None = None
    on_the_way: Callable[[], None] | None = None
    jobs: set[str] = field(default_factory=set)
    """UUIDs of guests that are just being moved away."""
    faults: Faults = field(default_factory=Faults)
    records: dict[str, Record] = field(default_factory=dict)
    saved: dict[str, Record] = field(default_factory=dict)
    aborted: threading.Event = field(default_factory=threading.Event)

    def release(self) -> None:
        """Let the calls that hang end, so that a test leaves no thread behind."""
        self.aborted.set()

    def enter(self, verb: str) -> bool:
        """Whether the call is to be carried out, unless a fault stops it here."""
        if self.faults.down:
            raise FakeRefusal(binding.SYSTEM_ERROR, self.faults.down, binding.FROM_RPC)
        if verb in self.faults.refuse:
            said = self.faults.refuse[verb]
            raise FakeRefusal(said.code, said.text, said.origin)
        if verb in self.faults.hang:
            self.aborted.wait()
            raise FakeRefusal(binding.OPERATION_FAILED, "operation aborted: canceled by client")
        return verb not in self.faults.ignore

    def record(self, key: str) -> Record:
        """The domain of that UUID, or of that name."""
        for record in self.records.values():
            if key in {record.identity.uuid, record.identity.name}:
                return record
        raise FakeRefusal(binding.NO_DOMAIN, f"Domain not found: no domain with matching name or uuid '{key}'")

    def define(self, xml: str) -> Record:
        """Take a definition: the same name and UUID replace, a name taken by another UUID is refused."""
        xml, who = _complete(xml)
        self.refuse_namesake(who)
        known = self.records.get(who.uuid)
        record = Record(xml, who, known.state if known else DomainState.SHUTOFF)
        self.records[who.uuid] = record
        return record

    def refuse_namesake(self, who: DomainIdentity) -> None:
        """Keep a name to one UUID and a UUID to one name, as libvirt does."""
        for other in self.records.values():
            if other.identity.name == who.name and other.identity.uuid != who.uuid:
                text = f"domain '{who.name}' already exists with uuid {other.identity.uuid}"
                raise FakeRefusal(binding.OPERATION_FAILED, f"operation failed: {text}")
            if other.identity.uuid == who.uuid and other.identity.name != who.name:
                text = f"domain '{other.identity.name}' is already defined with uuid {who.uuid}"
                raise FakeRefusal(binding.OPERATION_FAILED, f"operation failed: {text}")

    @contextmanager
    def job(self, record: Record) -> Iterator[None]:
        """One change at a time to a guest, as libvirt has it; who waited for half a minute hears this."""
        if record.identity.uuid in self.jobs:
            text = "Timed out during operation: cannot acquire state change lock"
            raise FakeRefusal(binding.OPERATION_FAILED, text)
        self.jobs.add(record.identity.uuid)
        try:
            yield
        finally:
            self.jobs.discard(record.identity.uuid)

    def refuse_unfit(self, record: Record) -> None:
        """What makes libxl give up on a new domain: no such disk, no such bridge, no memory."""
        lost = [disk.source for disk in record.identity.disks if self.sees is not None and not self.sees(disk.source)]
        if lost:
            why = f"Disk failed to stat: {lost[0]}: No such file or directory"
            raise FakeRefusal(binding.INTERNAL_ERROR, f"internal error: libxenlight failed to create new domain: {why}")
        bridges = {source.get("bridge", "") for source in parse(record.xml).iterfind("devices/interface/source")}
        lacking = sorted(bridges - self.bridges) if self.bridges is not None else []
        taken = sum(
            other.identity.memory_kib for other in self.records.values() if other.active and other is not record
        )
        if lacking or (self.free_mib and taken + record.identity.memory_kib > self.free_mib * 1024):
            why = f"bridge {lacking[0]} does not exist" if lacking else "not enough free memory"
            text = f"internal error: libxenlight failed to create new domain '{record.identity.name}': {why}"
            raise FakeRefusal(binding.INTERNAL_ERROR, text)

    def end(self, record: Record) -> None:
        """The domain stops; without a definition it is gone."""
        record.state = DomainState.SHUTOFF
        if not record.persistent:
            self.records.pop(record.identity.uuid, None)

    def restore(self, path: str, xml: str | None) -> None:
        """Bring a saved domain back."""
        if xml is not None:
            raise FakeRefusal(binding.ARGUMENT_UNSUPPORTED, "argument unsupported: xml modification unsupported")
        if path not in self.saved:
            text = f"cannot read domain image '{path}': No such file or directory"
            raise FakeRefusal(binding.SYSTEM_ERROR, text)
        image = self.saved[path]
        self.refuse_namesake(image.identity)
        known = self.records.get(image.identity.uuid)
        if known is not None:
            known.require(active=False)
        self.records[image.identity.uuid] = replace(
            image, state=DomainState.RUNNING, persistent=known is not None and known.persistent
        )

    def receive(self, record: Record, source: World, plan: MigrationPlan) -> None:
        """The target's half of a migration, and then the source's."""
        self.enter("receive")
        self.refuse_namesake(record.identity)
        known = self.records.get(record.identity.uuid)
        if known is not None:
            known.require(active=False)
        if self.on_the_way is not None:
            self.on_the_way()
        self.refuse_unfit(record)
        if not source.faults.lose_guest:
            self.records[record.identity.uuid] = replace(record, persistent=plan.persist_on_target)
        if not source.faults.leave_source:
            record.persistent = record.persistent and not plan.undefine_on_source
            source.end(record)


def _complete(xml: str) -> tuple[str, DomainIdentity]:
    """A definition with the UUID that libvirt would give it."""
    try:
        root = parse(xml)
        who = identity(xml)
    except DomainXmlError as broken:
        raise FakeRefusal(broken.code, broken.text) from broken
    if root.find("os/type") is None:
        raise FakeRefusal(binding.XML_ERROR, "XML error: an os <type> must be specified")
    if not who.uuid:
        who = replace(who, uuid=str(uuid.uuid4()))
        root.insert(1, element("uuid", who.uuid))
    return render(root), who
