"""What each driver would do to a volume, in plain sentences, and which of them are safe to use on it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from lab.matrix.model import MatrixCell
from lab.report.deed import Deed, read_deed, write_deed

__all__ = ["SCHEMA", "Advice", "DriverAdvice", "advise"]

SCHEMA = "lab.advice/1"

_READ = "read"


@dataclass(frozen=True, slots=True)
class DriverAdvice:
    """One driver on one kernel: what it does when it reads, and when it writes, if that was tried."""

    driver: str
    kernel: str
    read: Deed | None
    write: Deed | None = None

    @property
    def name(self) -> str:
        """How sentences call it."""
        return f"{self.driver} ({self.kernel})"

    @property
    def line(self) -> str:
        """Its sentences."""
        return f"{self.name} " + " It ".join(deed.sentence for deed in (self.read, self.write) if deed is not None)

    @property
    def may_write(self) -> bool:
        """Whether it may be let write: who misreads a volume is not to be trusted with what it writes either."""
        return self.write is not None and self.write.safe and (self.read is None or self.read.safe)

    def to_json(self) -> dict[str, Any]:
        """One entry of ``drivers``."""
        deeds = {"read": self.read, "write": self.write}
        return {
            "driver": self.driver,
            "kernel": self.kernel,
            **{
                name: {"safe": deed.safe, "whole": deed.whole, "sentence": deed.sentence}
                for name, deed in deeds.items()
                if deed is not None
            },
        }


@dataclass(frozen=True, slots=True)
class Advice:
    """On one volume. ``doubts`` are what readers could not tell of it, so that nobody was judged by it.

    ``fault`` is what is wrong with its boot sector, or that it is truncated; empty if nothing is.
    """

    volume: str
    state: str
    drivers: tuple[DriverAdvice, ...]
    doubts: tuple[str, ...] = ()
    fault: str = ""

    @property
    def wrote(self) -> bool:
        """Whether writing was tried."""
        return any(one.write is not None for one in self.drivers)

    @property
    def safe_to_read(self) -> tuple[DriverAdvice, ...]:
        """Those that show nothing but what is there, those that show all of it first."""
        safe = [one for one in self.drivers if one.read is not None and one.read.safe]
        return tuple(sorted(safe, key=lambda one: not (one.read and one.read.whole)))

    @property
    def safe_to_write(self) -> tuple[DriverAdvice, ...]:
        """Those that read and write it right, those that do all that was asked first."""
        safe = [one for one in self.drivers if one.may_write]
        return tuple(sorted(safe, key=lambda one: not (one.write and one.write.whole)))

    @property
    def recommendation(self) -> str:
        """What to do, in a sentence or two."""
        reading = [one for one in self.safe_to_read if one.read and one.read.whole]
        if not any(deed.judged for one in self.drivers for deed in (one.read, one.write) if deed):
            return "Recommended: nothing, for no driver could be judged."
        if not self.safe_to_read:
            return f"Recommended: mount it with none of these drivers.{_first(self.state)}"
        if not reading:
            some = _names(self.safe_to_read, " or ")
            read = f"to read it, {some}, if you can do without what is not shown"
        else:
            read = f"to read it, {_names(reading, ' or ')}"
        return f"Recommended: {read}.{self._recommended_writing()}"

    def _recommended_writing(self) -> str:
        if not self.wrote:
            return ""
        writing = [one for one in self.safe_to_write if one.write and one.write.whole] or self.safe_to_write
        if not writing:
            return f" Let none of these drivers write to it.{_first(self.state)}"
        return f" To write to it, {_names(writing, ' or ')}.{_first(self.state)}"

    @property
    def not_judged(self) -> tuple[str, ...]:
        """What this advice says nothing about."""
        missing = () if self.wrote or not self.drivers else ("what drivers write (--write tries it, on a copy)",)
        return (*missing, *self.doubts)

    @property
    def text(self) -> str:
        """All of it: a line a driver, then what follows from them."""
        lines = [f"{self.volume} ({self.state}):"]
        lines += [f"  Not whole: {self.fault}."] if self.fault else []
        lines += [f"  {one.line}" for one in self.drivers]
        if not self.drivers:
            lines.append("  No driver was tried.")
        lines.append(f"  Safe to read with: {_listed(self.safe_to_read, writing=False)}.")
        if self.wrote:
            lines.append(f"  Safe to write with: {_listed(self.safe_to_write, writing=True)}.")
        lines.append(f"  {self.recommendation}")
        if self.not_judged:
            lines.append(f"  Not judged: {_some(self.not_judged)}.")
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """One entry of ``volumes`` in advice.json."""
        return {
            "volume": self.volume,
            "state": self.state,
            "fault": self.fault,
            "drivers": [one.to_json() for one in self.drivers],
            "safe_to_read": [one.name for one in self.safe_to_read],
            "safe_to_write": [one.name for one in self.safe_to_write] if self.wrote else None,
            "recommendation": self.recommendation,
            "not_judged": list(self.not_judged),
            "text": self.text,
        }


def advise(volume: str, state: str, cells: Iterable[MatrixCell], doubts: Sequence[str] = (), fault: str = "") -> Advice:
    """The advice on ``volume``, from the cells that tried it; ``doubts`` is what was not judged of it."""
    ways: dict[tuple[str, str], list[MatrixCell]] = {}
    for cell in cells:
        ways.setdefault((cell.axes.get("driver", "?"), cell.axes.get("kernel", "?")), []).append(cell)
    return Advice(volume, state, tuple(_of(way, tried, state) for way, tried in ways.items()), tuple(doubts), fault)


def _of(way: tuple[str, str], cells: Sequence[MatrixCell], state: str) -> DriverAdvice:
    reading = [cell for cell in cells if cell.axes.get("operation", _READ) == _READ]
    writing = [cell for cell in cells if cell not in reading]
    read = read_deed(reading[0], state) if reading else None
    if read is not None and read.absent:  # said once
        return DriverAdvice(*way, read)
    return DriverAdvice(*way, read, write_deed(writing, state) if writing else None)


_FIRST = {
    "dirty": "Before anything is written, let Windows run chkdsk on it.",
    "hibernated": "Before anything is written, start Windows and shut it down for good (`shutdown /s /f /t 0`).",
    "unclean-log": "Before anything is written, let Windows mount it once.",
    "damaged": "Copy what can be read off it first; then let Windows run chkdsk on a copy.",
}


def _first(state: str) -> str:
    return f" {_FIRST[state]}" if state in _FIRST else ""


def _names(drivers: Iterable[DriverAdvice], between: str) -> str:
    return between.join(one.name for one in drivers)


def _listed(drivers: Sequence[DriverAdvice], *, writing: bool) -> str:
    def each() -> Iterator[str]:
        for one in drivers:
            deed = one.write if writing else one.read
            poorer = "" if deed is None or deed.whole else " (right, but not all of it)"
            yield one.name + poorer

    return ", ".join(each()) or "none of them"


_MOST = 3


def _some(things: Sequence[str]) -> str:
    more = f"; and {len(things) - _MOST} more" if len(things) > _MOST else ""
    return "; ".join(things[:_MOST]) + more
