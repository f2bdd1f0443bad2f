"""The lab's meter outside a guest, ``files/netmeter.py``: it runs on a host and talks to the agent inside."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from lab.deadline import Deadline
from lab.guests.agent import SEND_AND_RUN, Place, program
from lab.guests.answer import Fields, as_question, read_answer
from lab.shell import AskingShell

__all__ = [
    "METER",
    "ClockSample",
    "DatagramReport",
    "MeterConfig",
    "MeterReport",
    "SessionReport",
    "Silence",
    "meter_report",
    "start_meter",
    "stop_meter",
]

SCHEMA = "lab.netmeter/1"
"""As in ``files/netmeter.py``."""

METER = Place("/run/lab-netmeter.py", "/run/lab-netmeter")
"""Where a meter lies unless it is told otherwise; several guests need a place each."""

_ANSWERING = 60.0


@dataclass(frozen=True, slots=True)
class MeterConfig:
    """``address`` is the guest's. A datagram goes out each ``interval`` seconds and is missed after ``patience``."""

    address: str
    echo_port: int = 7077
    interval: float = 0.02
    tcp_interval: float = 0.1
    patience: float = 1.0

    def to_json(self) -> str:
        """As the meter takes it."""
        return json.dumps(asdict(self))


@dataclass(frozen=True, slots=True)
class Silence:
    """A time without an answer; ``at`` is the host's MONOTONIC."""

    at: float
    seconds: float


@dataclass(frozen=True, slots=True)
class ClockSample:
    """The guest's wall clock minus the meter's, give or take ``error``, at ``at`` on the host's MONOTONIC.

    The meter's own is its host's REALTIME as it was at the start, moved on by MONOTONIC: the same for all samples.
    """

    at: float
    offset: float
    error: float


@dataclass(frozen=True, slots=True)
class DatagramReport:
    """``sent`` counts those that had time to be answered. ``own_silence`` is how long the meter itself slept."""

    sent: int
    missed: int
    missed_in_a_row: int
    refused: int
    twice: int
    overtaken: int
    silences: tuple[Silence, ...]
    own_silence: float
    trip_p50: float | None
    trip_p95: float | None
    clocks: tuple[ClockSample, ...]


@dataclass(frozen=True, slots=True)
class SessionReport:
    """The TCP connection. ``ended`` says why it did, or nothing; ``wrong`` what came out of order, or nothing."""

    sent: int
    echoed: int
    answers: int
    wrong: str
    ended: str
    silences: tuple[Silence, ...]


@dataclass(frozen=True, slots=True)
class MeterReport:
    """What the meter says at ``now`` of the time since ``since`` (its host's MONOTONIC)."""

    now: float
    since: float
    interval: float
    udp: DatagramReport
    tcp: SessionReport

    @property
    def gap(self) -> float:
        """The network gap in seconds: the longest time between two answers, or lost numbers in a row x interval."""
        silent = self.udp.silences[0].seconds if self.udp.silences else self.now - self.since
        return max(silent, self.udp.missed_in_a_row * self.interval)


def start_meter(shell: AskingShell, config: MeterConfig, *, place: Place = METER, deadline: Deadline) -> MeterReport:
    """Send the meter to a host and start it; returns when its connection to the guest stands.

    Raises:
        GuestError: it does not start; the message says why.
    """
    words = ("start", "--folder", place.folder, "--config", config.to_json())
    text = program("netmeter.py")
    said = shell.run("sh", "-c", SEND_AND_RUN, "sh", place.program, *words, stdin=text, deadline=deadline)
    return _meter_report_of(read_answer(said, who="meter", schema=SCHEMA))


def meter_report(shell: AskingShell, *, since: float = 0.0, place: Place = METER, deadline: Deadline) -> MeterReport:
    """What the meter has seen since ``since`` (as in an earlier report's ``now``).

    Raises:
        GuestError: it does not run, or its answer is no report.
    """
    question = as_question({"do": "report", "since": since})
    said = shell.ask(place.socket, question, deadline=deadline.at_most(_ANSWERING))
    return _meter_report_of(read_answer(said, who="meter", schema=SCHEMA))


def stop_meter(shell: AskingShell, *, place: Place = METER, deadline: Deadline) -> None:
    """End the meter.

    Raises:
        GuestError: it does not run.
    """
    said = shell.ask(place.socket, as_question({"do": "stop"}), deadline=deadline.at_most(_ANSWERING))
    read_answer(said, who="meter", schema=SCHEMA)


def _meter_report_of(fields: Fields) -> MeterReport:
    return MeterReport(
        now=fields.real("now"),
        since=fields.real("since"),
        interval=fields.real("interval"),
        udp=_datagrams(fields.object("udp")),
        tcp=_session(fields.object("tcp")),
    )


def _datagrams(fields: Fields) -> DatagramReport:
    own = _silences(fields, "own")
    trip = fields.object("trip")
    return DatagramReport(
        sent=fields.whole("sent"),
        missed=fields.whole("missed"),
        missed_in_a_row=fields.whole("missed_in_a_row"),
        refused=fields.whole("refused"),
        twice=fields.whole("twice"),
        overtaken=fields.whole("overtaken"),
        silences=_silences(fields, "silences"),
        own_silence=own[0].seconds if own else 0.0,
        trip_p50=trip.maybe("p50", trip.real),
        trip_p95=trip.maybe("p95", trip.real),
        clocks=tuple(
            ClockSample(one.real("at"), one.real("offset"), one.real("error")) for one in fields.objects("clocks")
        ),
    )


def _session(fields: Fields) -> SessionReport:
    ended = fields.maybe("ended", fields.object)
    return SessionReport(
        sent=fields.whole("sent"),
        echoed=fields.whole("echoed"),
        answers=fields.whole("answers"),
        wrong=fields.text("wrong"),
        ended=ended.text("why") if ended else "",
        silences=_silences(fields, "silences"),
    )


def _silences(fields: Fields, name: str) -> tuple[Silence, ...]:
    return tuple(Silence(one.real("at"), one.real("seconds")) for one in fields.objects(name))
