"""What a guest's agent has seen: its report as values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from lab.guests.answer import Fields

__all__ = [
    "SCHEMA",
    "AgentReport",
    "Arrears",
    "DiskReport",
    "EchoReport",
    "Gap",
    "HeartbeatReport",
    "Latencies",
    "MemoryReport",
    "Moment",
    "ProcessReport",
    "Silent",
    "Step",
    "agent_report_of",
]

SCHEMA = "lab.agent/1"
"""As in ``files/agent.py``."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Silent:
    """A part of the agent that did not report, and why."""

    why: str


@dataclass(frozen=True, slots=True)
class Moment:
    """One moment on the guest's three clocks, in seconds."""

    boot: float
    mono: float
    real: float


@dataclass(frozen=True, slots=True)
class Gap:
    """A time in which the heartbeat did not beat. ``at`` is BOOTTIME; ``boot``, ``mono`` are its length by either."""

    at: float
    boot: float
    mono: float

    @property
    def seconds(self) -> float:
        """Its length. MONOTONIC stands still while Xen has a guest suspended, BOOTTIME is set forward afterwards."""
        return max(self.boot, self.mono)


@dataclass(frozen=True, slots=True)
class Step:
    """A step of REALTIME that BOOTTIME did not share."""

    at: float
    seconds: float


@dataclass(frozen=True, slots=True)
class HeartbeatReport:
    """``gaps`` are those since the moment that was asked for, of ``notable`` seconds and more, the longest first.

    ``easy`` is the longest shorter one, ever. ``forgotten``: there were so many that some of that time are lost.
    ``last`` is when it was last seen to beat.
    """

    tick: float
    notable: float
    ticks: int
    last: float
    real_time: bool
    easy: float
    forgotten: bool
    gaps: tuple[Gap, ...]
    backwards: int
    backwards_worst: float
    steps: tuple[Step, ...]

    @property
    def longest(self) -> float:
        """The longest gap of that time; where none was notable, none was longer than this."""
        return self.gaps[0].seconds if self.gaps else self.easy


@dataclass(frozen=True, slots=True)
class Arrears:
    """A comparison of what is there with what must be: how many of how many are wrong, and the first in words."""

    of: int
    wrong: int
    first: str
    how: str = ""


@dataclass(frozen=True, slots=True)
class MemoryReport:
    """Sizes in bytes. ``room`` is what the guest could spare; ``verified`` is nothing if that was not asked for."""

    wanted: int
    filled: int
    room: int
    written: int
    generation: int
    verified: Arrears | None


@dataclass(frozen=True, slots=True)
class Latencies:
    """How long writes took that began at ``since`` or later and are done; seconds on BOOTTIME."""

    since: float
    count: int
    most: float | None
    p95: float | None
    last: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class DiskReport:
    """``numbers`` are those of the last confirmed write to each region. ``in_flight`` is how long one is under way.

    ``verified`` is nothing if that was not asked for or if the disk did not let it be done.
    """

    number: int
    numbers: tuple[int, ...]
    region_bytes: int
    in_flight: float | None
    errors: tuple[str, ...]
    writes: Latencies
    writes_after: Latencies
    verified: Arrears | None


@dataclass(frozen=True, slots=True)
class EchoReport:
    """``port`` is that of TCP and UDP; ``ended`` are the reasons why connections did."""

    port: int
    connections: int
    accepted: int
    ended: tuple[str, ...]
    datagrams: int


@dataclass(frozen=True, slots=True)
class ProcessReport:
    """A process: the same pid with the same start (clock ticks since boot) is the same one."""

    pid: int
    start: int
    alive: bool

    def __str__(self) -> str:
        return f"{self.pid}/{self.start}" + ("" if self.alive else " (dead)")


@dataclass(frozen=True, slots=True)
class AgentReport:
    """What the agent says at ``now`` of the time since ``since`` (BOOTTIME)."""

    boot_id: str
    bits: int
    python: str
    port: int
    now: Moment
    since: float
    processes: Mapping[str, ProcessReport]
    heartbeat: HeartbeatReport | Silent
    memory: MemoryReport | Silent
    disk: DiskReport | Silent
    echo: EchoReport | Silent


def agent_report_of(fields: Fields) -> AgentReport:
    """The report of an agent's answer.

    Raises:
        GuestError: a field is missing or of another type.
    """
    now = fields.object("now")
    processes = fields.object("processes")
    return AgentReport(
        boot_id=fields.text("boot_id"),
        bits=fields.whole("bits"),
        python=fields.text("python"),
        port=fields.whole("port"),
        now=Moment(now.real("boot"), now.real("mono"), now.real("real")),
        since=fields.real("since"),
        processes={
            "hub": _process(fields.object("hub")),
            **{name: _process(processes.object(name)) for name in processes.fields},
        },
        heartbeat=_or_silent(fields.object("heartbeat"), _heartbeat),
        memory=_or_silent(fields.object("memory"), _memory),
        disk=_or_silent(fields.object("disk"), _disk),
        echo=_or_silent(fields.object("echo"), _echo),
    )


def _or_silent(fields: Fields, read: Callable[[Fields], T]) -> T | Silent:
    return Silent(fields.text("error")) if "error" in fields.fields else read(fields)


def _process(fields: Fields) -> ProcessReport:
    return ProcessReport(fields.whole("pid"), fields.whole("start"), fields.flag("alive"))


def _heartbeat(fields: Fields) -> HeartbeatReport:
    return HeartbeatReport(
        tick=fields.real("tick"),
        notable=fields.real("notable"),
        ticks=fields.whole("ticks"),
        last=fields.real("last"),
        real_time=fields.flag("fifo"),
        easy=fields.real("easy"),
        forgotten=fields.flag("forgotten"),
        gaps=tuple(Gap(gap.real("at"), gap.real("boot"), gap.real("mono")) for gap in fields.objects("gaps")),
        backwards=fields.whole("backwards"),
        backwards_worst=fields.real("backwards_worst"),
        steps=tuple(Step(step.real("at"), step.real("seconds")) for step in fields.objects("steps")),
    )


def _memory(fields: Fields) -> MemoryReport:
    return MemoryReport(
        wanted=fields.whole("wanted"),
        filled=fields.whole("filled"),
        room=fields.whole("room"),
        written=fields.whole("written"),
        generation=fields.whole("generation"),
        verified=fields.maybe("verified", lambda name: _pages(fields.object(name))),
    )


def _pages(fields: Fields) -> Arrears:
    first = fields.maybe("first", fields.object)
    return Arrears(fields.whole("pages"), fields.whole("wrong"), _page(first) if first else "")


def _page(first: Fields) -> str:
    at = f"page {first.whole('page')} of generation {first.whole('generation')}"
    page, generation = first.maybe("found_page", first.whole), first.maybe("found_generation", first.whole)
    if page is None or generation is None:
        return f"{at} differs from byte {first.whole('offset')} on"
    return f"{at} holds page {page} of generation {generation}"


def _disk(fields: Fields) -> DiskReport:
    numbers = fields.wholes("numbers")
    verified = fields.maybe("verified", fields.object)
    return DiskReport(
        number=fields.whole("number"),
        numbers=numbers,
        region_bytes=fields.whole("region_bytes"),
        in_flight=fields.maybe("in_flight", fields.real),
        errors=tuple(f"region {error.whole('region')}: {error.text('text')}" for error in fields.objects("errors")),
        writes=_latencies(fields.object("fsync")),
        writes_after=_latencies(fields.object("fsync_after")),
        verified=_regions(verified, len(numbers)) if verified else None,
    )


def _regions(fields: Fields, regions: int) -> Arrears:
    error = fields.text("error")
    if error:
        return Arrears(regions, regions, f"the disk cannot be read: {error}")
    first = fields.maybe("first", fields.object)
    return Arrears(regions, fields.whole("wrong"), _region(first) if first else "", fields.text("how"))


def _region(first: Fields) -> str:
    found = first.maybe("found_number", first.whole)
    holds = "no write of the agent" if found is None else f"write {found}"
    return f"region {first.whole('region')} holds {holds}, and write {first.whole('number')} was confirmed"


def _latencies(fields: Fields) -> Latencies:
    return Latencies(
        since=fields.real("since"),
        count=fields.whole("count"),
        most=fields.maybe("max", fields.real),
        p95=fields.maybe("p95", fields.real),
        last=tuple((one.real("at"), one.real("seconds")) for one in fields.objects("last")),
    )


def _echo(fields: Fields) -> EchoReport:
    return EchoReport(
        port=fields.whole("port"),
        connections=fields.whole("connections"),
        accepted=fields.whole("accepted"),
        ended=tuple(one.text("why") for one in fields.objects("ended")),
        datagrams=fields.whole("datagrams"),
    )
