"""What came of one measure of one driver on one kernel, over all rounds."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import dataclass

from lab.ntfs.perf.taken import Taken
from lab.verdict import Outcome, worst

__all__ = ["Figure"]

UNTRIED = "not got to"


@dataclass(frozen=True, slots=True)
class Figure:
    """``samples`` are the values of the rounds that gave one, in their order. They count only if the ``outcome`` is a
    pass: one wrong answer among fast ones takes the figure away.
    """

    measure: str
    driver: str
    outcome: Outcome
    reason: str = ""
    finding: str = ""
    samples: tuple[float, ...] = ()

    @classmethod
    def of(cls, measure: str, driver: str, rounds: Iterable[Taken]) -> Figure:
        """The figure of these rounds; the reason is that of the first of the worst."""
        each = tuple(rounds)
        if not each:
            return cls(measure, driver, Outcome.SKIPPED, UNTRIED)
        outcome = worst(one.outcome for one in each)
        first = next((number, one) for number, one in enumerate(each, 1) if one.outcome is outcome)
        number, one = first
        when = f" (round {number})" if one.reason and len(each) > 1 and outcome is not Outcome.UNSUPPORTED else ""
        samples = tuple(one.value for one in each if one.value is not None)
        finding = one.finding.value if one.finding else ""
        return cls(measure, driver, outcome, f"{one.reason}{when}", finding, samples)

    @property
    def counts(self) -> bool:
        """Whether it is a figure."""
        return self.outcome is Outcome.PASS and bool(self.samples)

    @property
    def median(self) -> float:
        """The middle of its samples.

        Raises:
            statistics.StatisticsError: there are none.
        """
        return statistics.median(self.samples)

    @property
    def low(self) -> float:
        """The least of its samples."""
        return min(self.samples)

    @property
    def high(self) -> float:
        """The most."""
        return max(self.samples)
