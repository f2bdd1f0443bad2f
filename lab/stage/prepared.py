"""What was brought up for a cell, ready to be judged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from lab.guests.guest import Guest
from lab.guests.moving import Arrival
from lab.hosts.host import Host
from lab.ntfs.drivers import Driver
from lab.scenario.cell import Limits
from lab.stage.bench import Bench
from lab.verdict import Verdict

__all__ = ["Foregone", "PreparedGuest", "PreparedMove", "PreparedVolume"]


@dataclass(frozen=True)
class PreparedGuest:
    """A guest that is up, with its modules at hand."""

    guest: Guest
    facts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class PreparedMove:
    """A guest on the source, and the target it goes to.

    ``arrival`` is as what it arrives there, ``departure`` as what it comes back; None is as it is.
    """

    guest: Guest
    source: Host
    target: Host
    facts: Mapping[str, str] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)
    arrival: Arrival | None = None
    departure: Arrival | None = None
    blames_silence: bool = True
    """Whether a guest that has arrived and does not answer is the product's failure, or is to be seen once more."""


@dataclass(frozen=True)
class PreparedVolume:
    """A bench that has the driver and the volume."""

    bench: Bench
    driver: Driver
    facts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Foregone:
    """Nothing needs to be brought up: the verdict is known."""

    verdict: Verdict
    facts: Mapping[str, str] = field(default_factory=dict)
