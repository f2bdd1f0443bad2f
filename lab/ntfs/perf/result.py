"""All figures of a run, stamped with what they were taken on; and their one serial form, ``perf.json``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from lab.ntfs.perf.figure import Figure
from lab.ntfs.perf.measure import MEASURES, Measure
from lab.ntfs.perf.sizes import Sizes
from lab.ntfs.perf.standing import LEAST_ROUNDS, Standing, standings
from lab.verdict import Outcome, worst

__all__ = ["SCHEMA", "Entrant", "KernelResult", "PerfResult", "Stamp"]

SCHEMA = "lab.ntfs.perf/1"

_CAVEATS: Mapping[str, str] = {
    "tcg": "Emulated: TCG figures are not hardware figures. Compare drivers with each other, on one kernel, only.",
    "kvm": "In a virtual machine (KVM). Compare drivers with each other, on one kernel, only.",
}


@dataclass(frozen=True, slots=True)
class Stamp:
    """What a run was: without it a figure says nothing. ``host`` is the Xen below the guests, or empty; ``load`` how
    many wanted a CPU of this machine before and at the end, and ``cpus`` how many it has.
    """

    run: str = ""
    started: str = ""
    seconds: float = 0.0
    command: str = ""
    revision: str = ""
    stage: str = ""
    host: str = ""
    accelerator: str = ""
    rounds: int = 0
    sizes: Sizes = field(default_factory=Sizes)
    load: tuple[float, float] = (0.0, 0.0)
    cpus: int = 0

    @property
    def caveat(self) -> str:
        """What the figures are not."""
        return _CAVEATS.get(self.accelerator, "Compare drivers with each other, on one kernel, only.")


@dataclass(frozen=True, slots=True)
class Entrant:
    """A driver as it was there: what it calls itself or was made from, what was mounted, and how."""

    name: str
    version: str = ""
    type: str = ""
    options: tuple[str, ...] = ()
    """Asked for: those for reading and, if something was written, those for writing."""


@dataclass(frozen=True, slots=True)
class KernelResult:
    """The figures of one kernel, all taken in one guest unless ``guests`` says that it took more.

    ``order`` is in which order drivers took their turns, round by round.
    """

    release: str
    version: str = ""
    package: str = ""
    fio: str = ""
    guests: int = 0
    entrants: tuple[Entrant, ...] = ()
    order: tuple[tuple[str, ...], ...] = ()
    figures: tuple[Figure, ...] = ()

    def of(self, measure: Measure) -> tuple[Figure, ...]:
        """Its figures of one measure, in the order of the entrants."""
        return tuple(figure for figure in self.figures if figure.measure == measure.name)

    def standings(self, measure: Measure) -> Mapping[str, Standing]:
        """Who stands where in it."""
        return standings(self.of(measure), more=measure.more)


@dataclass(frozen=True, slots=True)
class PerfResult:
    """A run. ``measures`` are those that were asked for."""

    stamp: Stamp
    measures: tuple[Measure, ...] = MEASURES
    kernels: tuple[KernelResult, ...] = field(default=())

    @property
    def figures(self) -> tuple[Figure, ...]:
        """All of them."""
        return tuple(figure for kernel in self.kernels for figure in kernel.figures)

    @property
    def outcome(self) -> Outcome:
        """The worst of all figures."""
        return worst(figure.outcome for figure in self.figures)

    @property
    def ranked(self) -> bool:
        """Whether there were rounds enough."""
        return self.stamp.rounds >= LEAST_ROUNDS

    def to_json(self) -> dict[str, Any]:
        """The document that ``lab/ntfs/perf/perf.schema.json`` describes."""
        stamp = asdict(self.stamp)
        sizes = stamp.pop("sizes")
        return {
            "schema": SCHEMA,
            "run": {
                **stamp,
                "seconds": round(self.stamp.seconds, 3),
                "load": [round(each, 2) for each in self.stamp.load],
                "caveat": self.stamp.caveat,
            },
            "sizes": sizes,
            "ranked": self.ranked,
            "measures": [_measure(each) for each in self.measures],
            "kernels": [_kernel(each, self.measures) for each in self.kernels],
        }


def _measure(measure: Measure) -> dict[str, Any]:
    return {
        "name": measure.name,
        "does": measure.does,
        "unit": measure.unit,
        "better": measure.better,
        "volume": measure.volume,
        "writes": measure.writes,
    }


def _kernel(kernel: KernelResult, measured: Sequence[Measure]) -> dict[str, Any]:
    return {
        "release": kernel.release,
        "version": kernel.version,
        "package": kernel.package,
        "fio": kernel.fio,
        "guests": kernel.guests,
        "drivers": [asdict(entrant) | {"options": list(entrant.options)} for entrant in kernel.entrants],
        "order": [list(names) for names in kernel.order],
        "figures": [
            _figure(figure, kernel.standings(measure).get(figure.driver))
            for measure in measured
            for figure in kernel.of(measure)
        ],
    }


def _figure(figure: Figure, standing: Standing | None) -> dict[str, Any]:
    counts = figure.counts
    return {
        "measure": figure.measure,
        "driver": figure.driver,
        "outcome": figure.outcome.value,
        "finding": figure.finding,
        "reason": figure.reason,
        "samples": [_rounded(sample) for sample in figure.samples],
        "median": _rounded(figure.median) if counts else None,
        "low": _rounded(figure.low) if counts else None,
        "high": _rounded(figure.high) if counts else None,
        "ratio": _rounded(standing.ratio) if standing else None,
        "rank": standing.rank if standing else None,
        "tied": standing.tied if standing else False,
    }


def _rounded(value: float) -> float:
    """Six digits: more than any of them is worth."""
    return float(f"{value:.6g}")
