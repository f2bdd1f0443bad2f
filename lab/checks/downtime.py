"""Downtime as a distribution from two meters that do not know of each other, or no figure at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

__all__ = [
    "ENOUGH",
    "PAUSES",
    "Calibration",
    "Distribution",
    "Downtime",
    "Iteration",
    "distribution",
    "downtime",
]

ENOUGH = 30
"""Iterations below which there is no headline figure."""

_SLACK = 0.1
"""Seconds by which a meter may miss an injected pause beyond what is not known of the pause itself."""

_APART = (0.25, 0.25)
"""Seconds, and part of the longer one, by which the meters' medians may differ. The network is silent for longer than
the guest stands still: bridges have to learn where it is now.
"""

PAUSES = (0.25, 1.0, 5.0)
"""Seconds on which both meters are calibrated."""


@dataclass(frozen=True, slots=True)
class Iteration:
    """One move in seconds: the longest gap of the guest's heartbeat, and the longest silence of its network."""

    guest: float
    network: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """A pause of a length known to lie between ``least`` and ``most``, and what both meters said of it."""

    asked: float
    least: float
    most: float
    guest: float
    network: float

    def complaints(self) -> tuple[str, ...]:
        """Which meter was wrong, and how."""
        return tuple(
            f"the {meter} meter read {reading:.3f} s of a pause of {self.asked:g} s ({self.least:.3f}..{self.most:.3f})"
            for meter, reading in (("guest", self.guest), ("network", self.network))
            if not self.least - _SLACK <= reading <= self.most + _SLACK
        )


@dataclass(frozen=True, slots=True)
class Distribution:
    """Of one meter, in seconds; percentiles are values that were seen (nearest rank)."""

    least: float
    p50: float
    p95: float
    most: float


@dataclass(frozen=True, slots=True)
class Downtime:
    """The downtime of one kind of move.

    ``withheld`` are the reasons why there is no headline figure; the rest is shown all the same. ``accelerator`` is
    tcg, kvm or hardware.
    """

    accelerator: str
    guest: Distribution | None
    network: Distribution | None
    iterations: tuple[Iteration, ...]
    calibrations: tuple[Calibration, ...]
    withheld: tuple[str, ...]

    @property
    def headline(self) -> str:
        """The figure in words, or that it is withheld and why."""
        count = f"n={len(self.iterations)}"
        if self.withheld or self.guest is None:
            return f"withheld ({count}): {'; '.join(self.withheld)}"
        of = self.guest
        said = f"{of.p50:.2f} s (min {of.least:.2f}, p95 {of.p95:.2f}, max {of.most:.2f}, {count})"
        return f"{said}, functional only: hosts under {self.accelerator}" if self.accelerator != "hardware" else said

    def to_json(self) -> dict[str, Any]:
        """For the record of a run."""
        return {
            "accelerator": self.accelerator,
            "headline": self.headline,
            "withheld": list(self.withheld),
            "n": len(self.iterations),
            "guest": _json(self.guest),
            "network": _json(self.network),
            "iterations": [{"guest": one.guest, "network": one.network} for one in self.iterations],
            "calibrations": [
                {
                    "asked": one.asked,
                    "least": one.least,
                    "most": one.most,
                    "guest": one.guest,
                    "network": one.network,
                }
                for one in self.calibrations
            ],
        }


def downtime(
    iterations: Sequence[Iteration], calibrations: Sequence[Calibration], *, accelerator: str, enough: int = ENOUGH
) -> Downtime:
    """What these iterations say, and whether it may be said aloud."""
    return Downtime(
        accelerator,
        distribution([one.guest for one in iterations]),
        distribution([one.network for one in iterations]),
        tuple(iterations),
        tuple(calibrations),
        (*_too_few(iterations, enough), *_uncalibrated(calibrations), *_apart(iterations)),
    )


def distribution(values: Sequence[float]) -> Distribution | None:
    """Of ``values``; of none there is none."""
    if not values:
        return None
    ordered = sorted(values)
    return Distribution(ordered[0], _rank(ordered, 50), _rank(ordered, 95), ordered[-1])


def _rank(ordered: Sequence[float], percent: int) -> float:
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]


def _too_few(iterations: Sequence[Iteration], enough: int) -> tuple[str, ...]:
    return (f"{len(iterations)} iterations of at least {enough}",) if len(iterations) < enough else ()


def _uncalibrated(calibrations: Sequence[Calibration]) -> tuple[str, ...]:
    missing = [f"{asked:g} s" for asked in PAUSES if asked not in {one.asked for one in calibrations}]
    never = (f"not calibrated on a pause of {', '.join(missing)}",) if missing else ()
    return (*never, *(complaint for one in calibrations for complaint in one.complaints()))


def _apart(iterations: Sequence[Iteration]) -> tuple[str, ...]:
    if not iterations:
        return ()
    guest, network = median(one.guest for one in iterations), median(one.network for one in iterations)
    seconds, part = _APART
    if abs(guest - network) <= max(seconds, part * max(guest, network)):
        return ()
    return (f"the meters disagree: p50 {guest:.3f} s in the guest, {network:.3f} s on its network",)


def _json(of: Distribution | None) -> dict[str, float] | None:
    return None if of is None else {"min": of.least, "p50": of.p50, "p95": of.p95, "max": of.most}
