"""The live progress of a run: done of total, what is being done, how long it will take.

In a terminal two lines at the bottom stay alive and every verdict other than a plain pass scrolls by above them;
in a log each verdict is one plain line.
"""

from __future__ import annotations

import statistics
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self, TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from lab.matrix.model import MatrixCell
from lab.matrix.tally import unexpected_pass
from lab.report.sign import FLAKY, SIGNS, Sign, duration, plain, printable, words
from lab.verdict import Outcome

__all__ = ["PlannedCell", "Progress"]


class PlannedCell(Protocol):
    """What is known of a cell before it runs."""

    @property
    def id(self) -> str: ...
    @property
    def kind(self) -> str: ...


_SAY_SECONDS = 30.0

_MANY = 20
"""From so many cells on, those that take long are no chance: some wait for their guest, some hang."""


@dataclass(slots=True)
class _Phase:
    """What is done before any cell runs, since when, when that was last said, and in what words."""

    what: str = ""
    begun: float = 0.0
    said: float = 0.0
    line: str = ""


def _group(cell: PlannedCell) -> str:
    """Cells that take alike."""
    axes: Mapping[str, str] = getattr(cell, "axes", {})
    return f"{cell.kind} {axes.get('operation', '')}"


def _usual(seconds: Sequence[float]) -> float:
    """Of a few, the median; the more there are, the more their mean, for what is left has its share of long ones."""
    median, count = statistics.median(seconds), len(seconds)
    return median + (statistics.fmean(seconds) - median) * count / (count + _MANY)


class Progress:
    """A listener of the run. Methods may be called from any thread.

    ``history`` is seconds by cell id from earlier runs; ``workers`` how many cells run at once.
    """

    def __init__(
        self,
        *,
        file: TextIO | None = None,
        history: Mapping[str, float] | None = None,
        workers: int = 1,
        clock: Callable[[], float] = time.monotonic,
        live: bool | None = None,
    ) -> None:
        self._console = Console(file=file or sys.stderr, highlight=False, emoji=False, soft_wrap=True)
        self._history = history or {}
        self._workers = max(1, workers)
        self._clock = clock
        self._begun = clock()
        self._lock = threading.RLock()
        self._kinds: dict[str, str] = {}
        self._foretold: dict[str, float] = {}
        self._open: dict[str, float] = {}
        self._done: dict[str, MatrixCell] = {}
        self._step = ""
        self._phase = _Phase()
        self._carried = 0
        shown = self._console.is_terminal if live is None else live
        self._live = Live(get_renderable=self._render, console=self._console, refresh_per_second=4) if shown else None

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()

    def planned(self, cells: Iterable[PlannedCell]) -> None:
        """These cells are going to run."""
        with self._lock:
            self._kinds.update((cell.id, _group(cell)) for cell in cells)

    def foretold(self, seconds: Mapping[str, float]) -> None:
        """Seconds by cell id as they were worked out beforehand; by how much that is off, the first cells will show."""
        with self._lock:
            self._foretold.update(seconds)

    def counting(self, what: str, number: int, total: int, name: str) -> None:
        """Before any cell: ``what`` is done to ``name``, number so-and-so of ``total``; a log hears it now and then."""
        with self._lock:
            now = self._clock()
            if self._phase.what != what:
                self._phase = _Phase(what, now, now)
            line = f"{what} {number} of {total}: {self._safe(name)}"
            if number > 1:
                line += f"  (eta {duration((now - self._phase.begun) / (number - 1) * (total - number + 1))})"
            self._phase.line = line
            if self._live is None and now - self._phase.said >= _SAY_SECONDS:
                self._phase.said = now
                self._console.print(Text(line, "dim"), overflow="ignore", crop=False)

    def carried(self, cells: int, run: str, notes: Iterable[str] = ()) -> None:
        """So many more have verdicts already, of another run; ``notes`` say which of its verdicts do not count."""
        with self._lock:
            self._carried = cells
            for line in (f"carried {cells} from run {run}", *notes):
                self._console.print(Text(self._safe(line), "dim"), overflow="ignore", crop=False)

    def started(self, cell_id: str) -> None:
        """An attempt at this cell begins."""
        with self._lock:
            self._phase = _Phase()
            self._open[cell_id] = self._clock()
            self._done.pop(cell_id, None)  # a retry: it is not done after all

    def step(self, text: str) -> None:
        """What the current cell is about to do."""
        with self._lock:
            self._step = text

    def verdict(self, cell: MatrixCell) -> None:
        """A cell got its verdict."""
        with self._lock:
            self._kinds.setdefault(cell.id, _group(cell))
            self._open.pop(cell.id, None)
            self._done[cell.id] = cell
            self._step = ""
            plainly = cell.outcome is Outcome.PASS and not cell.flaky and not unexpected_pass(cell)
            if self._live is None or not plainly:
                self._console.print(self._line(cell), overflow="ignore", crop=False)

    def eta(self) -> float | None:
        """Seconds still to go, from like cells that are done, else from history; None if nobody knows.

        Alike are those of the same kind that do the same operation; where more is foretold of one, it takes more.
        """
        with self._lock:
            seen: dict[str, list[float]] = defaultdict(list)
            for cell in self._done.values():
                if cell.outcome is not Outcome.SKIPPED:
                    seen[_group(cell)].append(cell.seconds / self._foretold.get(cell.id, 1.0))
            usual = {kind: _usual(seconds) for kind, seconds in seen.items()}
            left = 0.0
            for cell_id, kind in self._kinds.items():
                if cell_id in self._done:
                    continue
                foretold = self._foretold.get(cell_id)
                guess = self._history.get(cell_id, foretold)
                if kind in usual:
                    guess = usual[kind] * (1.0 if foretold is None else foretold)
                if guess is None:
                    return None
                spent = self._clock() - self._open[cell_id] if cell_id in self._open else 0.0
                left += max(0.0, guess - spent)
            return left / self._workers

    def _line(self, cell: MatrixCell) -> Text:
        total = str(len(self._kinds))
        line = Text(f"[{len(self._done):>{len(total)}}/{total}] ")
        line.append(words(cell), SIGNS[cell.outcome].style)
        if cell.flaky:
            line.append(" flaky", FLAKY.style)
        line.append(f"  {self._safe(cell.name)}  {duration(cell.seconds)}")
        eta = self.eta()
        if eta is not None and len(self._done) < len(self._kinds):
            line.append(f"  (eta {duration(eta)})")
        return line

    def _render(self) -> Group:
        with self._lock:
            done, total = len(self._done), len(self._kinds)
            eta = self.eta()
            head = Table.grid(padding=(0, 1))
            head.add_row(
                ProgressBar(total=max(1, total), completed=done, width=24),
                Text(f"{done}/{total}", "bold"),
                self._counts(),
                *([Text(f"carried {self._carried}", "dim")] if self._carried else []),
                Text(duration(self._clock() - self._begun)),
                Text(f"eta {duration(eta)}" if eta is not None and done < total else "", "dim"),
            )
            running = ", ".join(self._safe(cell_id.rpartition("::")[2]) for cell_id in self._open)
            now = Text(self._phase.line or running, "cyan")
            if self._step and not self._phase.line:
                now.append(f"  {self._safe(self._step)}", "dim")
            now.truncate(self._console.width - 1, overflow="ellipsis")
            return Group(head, now)

    def _counts(self) -> Text:
        counts = Counter(cell.outcome for cell in self._done.values())
        found = [self._sign(SIGNS[outcome]).append(f" {counts[outcome]}") for outcome in Outcome if counts[outcome]]
        return Text(" ").join(found)

    def _sign(self, sign: Sign) -> Text:
        usable = printable(sign.glyph, self._console.encoding) == sign.glyph
        return Text(sign.glyph if usable else sign.ascii, sign.style)

    def _safe(self, text: str) -> str:
        return printable(plain(text), self._console.encoding)
