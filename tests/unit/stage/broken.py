"""Each fault as a good journey shows it, and a ground whose guests show nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from lab.checks.faults import Fault
from lab.checks.journey import Journey
from lab.checks.obstacles import Crossing
from lab.checks.proof import way_of
from lab.checks.steerable import Steering
from lab.deadline import Deadline
from lab.errors import LabError
from lab.guests.meter import MeterReport, Silence
from lab.guests.witness import Arrears, Gap
from lab.hosts.traces import Trace
from lab.hypervisor import DomainState
from lab.matrix.model import HostFacts
from tests.unit.checks.journeys import DOMAIN, GOOD, METER
from tests.unit.checks.test_checks_invariants import (
    Change,
    killed,
    with_after,
    with_agent,
    with_journey,
    with_meter,
    with_sides,
    with_trace,
)

__all__ = ["BREAKS", "FakeGround", "FakeSubject", "seen_of"]

_LOG = GOOD.after.kernel_log
_WRONG = Arrears(64, 1, "page 7 differs")


def _paused(seconds: float) -> Change:
    return with_agent("heartbeat", gaps=(Gap(80.0, seconds, seconds),))


BREAKS: Mapping[str, Change] = {
    "still-on-source": with_sides(source=DomainState.SHUTOFF),
    "reboot": with_after(boot_id="1111", uptime=3.0),
    "killed-process": killed,
    "flipped-page": with_agent("memory", verified=_WRONG),
    "stale-page": with_agent("memory", verified=_WRONG),
    "changed-byte": with_after(keepsake="60303ae22b998861bce3"),
    "dropped-region": with_agent("disk", verified=_WRONG),
    "frozen-backend": with_agent("disk", in_flight=9.0),
    "silent-network": with_meter("udp", silences=(Silence(520.0, 6.02),)),
    "reset": with_meter("tcp", ended="Connection reset by peer"),
    "pause-0.25s": _paused(0.26),
    "pause-1s": _paused(1.02),
    "pause-5s": _paused(5.1),
    "stepped-clock": with_meter("udp", clocks=(replace(METER.udp.clocks[0], offset=2.3),)),
    "clock-set-back": with_agent("heartbeat", backwards=1, backwards_worst=-1.0),
    "another-clocksource": with_after(clocksource="tsc"),
    "another-mac": with_sides(after=replace(DOMAIN, macs=("00:16:3e:77:00:8a",))),
    "unloaded-module": with_after(modules=frozenset({"ext4", "fuse"})),
    "warning": with_after(kernel_log=(*_LOG, "WARNING: CPU: 0 PID: 1 at lab/fault.c:1 injected")),
    "registers-dumped": with_trace("xen-4.20", log="(XEN) Xen call trace:"),
    "leaked-loop": with_trace("xen-4.20", Trace("loop", "loop0 /run/lab-fault-leak")),
    "deaf-guest": with_journey(steering=Steering(("paused", "resumed"), "shut down: not seen within 60 s")),
    "not-cold": lambda seen: seen,
    "network-off": with_meter("udp", sent=200, missed=200),
}
"""Fault -> what it makes of a good journey."""


def seen_of(fault: Fault | None) -> Journey:
    """What a good guest shows around a fault."""
    seen = GOOD if fault is None else replace(BREAKS[fault.name](GOOD), how=way_of(fault))
    steered = fault is None or fault.name == "deaf-guest"
    return seen if steered else replace(seen, steering=None)


@dataclass
class FakeSubject:
    """Shows what the ground has in ``shows``, else what the fault does; raises what it has in ``troubles``."""

    number: int
    ground: FakeGround

    def try_out(self, fault: Fault | None, deadline: Deadline) -> Journey:
        name = fault.name if fault else "none"
        deadline.check(name)
        self.ground.log.append(f"{self.number}: {name}")
        if name in self.ground.troubles:
            raise self.ground.troubles[name]
        return self.ground.shows.get(name) or seen_of(fault)

    def heal(self, fault: Fault, deadline: Deadline) -> None:
        deadline.check(fault.name)
        if f"heal {fault.name}" in self.ground.troubles:
            raise self.ground.troubles[f"heal {fault.name}"]


@dataclass
class FakeGround:
    """A ground without hosts. ``log`` has who was tried on whom."""

    shows: dict[str, Journey] = field(default_factory=dict)
    troubles: dict[str, BaseException] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)
    accelerator: str = "tcg"
    up: int = 0

    def hosts(self) -> tuple[HostFacts, ...]:
        return (HostFacts("xen-4.14", "embedded", "4.14.6", "7.0.0", "5.10.0-amd64", "xen-3.0-x86_64"),)

    def plan(self, deadline: Deadline) -> None:
        deadline.check("plan")
        self.log.append("plan")

    @contextmanager
    def subject(self, deadline: Deadline) -> Iterator[FakeSubject]:
        deadline.check("subject")
        self.up += 1
        if "subject" in self.troubles:
            raise self.troubles["subject"]
        try:
            yield FakeSubject(self.up, self)
        finally:
            self.log.append("down")

    def crossing(self, deadline: Deadline) -> AbstractContextManager[Crossing]:
        raise AssertionError(f"nobody crosses here, in {deadline.seconds} s or more")

    def salvage(self, folder: Path) -> None:
        (folder / "xl-dmesg.log").write_text("(XEN) nothing to see\n")


def silent(meter: MeterReport) -> MeterReport:
    """A meter that slept itself."""
    udp = replace(meter.udp, silences=(Silence(520.0, 8.0),), own_silence=7.9)
    return replace(meter, udp=udp)


TROUBLE = LabError("xen-4.14: QEMU ended with status -9")
