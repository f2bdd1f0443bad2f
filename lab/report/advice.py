"""A volume in a sentence: what each driver would do to it, and which of them are safe to read it with. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

from lab.matrix.model import MatrixCell
from lab.verdict import Outcome

__all__ = ["advice"]

_WRITTEN = frozenset({"volume-unchanged", "image-untouched"})


def advice(volume: str, state: str, cells: Sequence[MatrixCell], doubts: Sequence[str] = ()) -> str:
    """One paragraph on ``volume``, from the cells that read it; ``doubts`` is what was not judged of it."""
    said = "; ".join(f"{_way(cell)} {_does(cell)}" for cell in cells) or "no driver was tried"
    parts = [f"{volume} ({state}): {said}.", _safe(cells)]
    if doubts:
        more = f", and {len(doubts) - 1} more" if len(doubts) > 1 else ""
        parts.append(f"Not judged: {doubts[0]}{more}.")
    return " ".join(parts)


def _way(cell: MatrixCell) -> str:
    return f"{cell.axes.get('driver', '?')} ({cell.axes.get('kernel', '?')})"


def _safe(cells: Sequence[MatrixCell]) -> str:
    whole = [_way(cell) for cell in cells if cell.outcome is Outcome.PASS and cell.finding == "correct"]
    partly = [_way(cell) for cell in cells if cell.outcome is Outcome.UNSUPPORTED and cell.finding == "degraded"]
    poorer = f"{', '.join(partly)} (right, but not all of it)" if partly else ""
    safe = ", ".join(filter(None, (*whole, poorer)))
    return f"Safe to read with: {safe}." if safe else "Safe to read with: none of them."


def _does(cell: MatrixCell) -> str:
    match cell.outcome:
        case Outcome.PASS:
            return "refuses it, and rightly so" if cell.finding == "refused" else "reads it right"
        case Outcome.UNSUPPORTED:
            return _falls_short(cell)
        case Outcome.FAIL:
            return _fails(cell)
        case Outcome.ERROR | Outcome.SKIPPED:
            return f"was not judged ({_brief(cell.reason)})"
        case _ as never:
            assert_never(never)


def _falls_short(cell: MatrixCell) -> str:
    match cell.finding:
        case "refused":
            return f"refuses it ({_brief(cell.reason.partition(': ')[2])})"
        case "degraded":
            return f"shows less than there is ({_brief('; '.join(_poorer(cell)))})"
        case _:
            machine, _, words = cell.reason.partition(": ")
            return {
                "driver-not-in-kernel": "is not in that kernel",
                "driver-not-installed": "is not installed",
                "no-truth": "mounts it, and nobody can say whether what it shows is right",
            }.get(machine, f"cannot be tried ({_brief(words or machine)})")


def _poorer(cell: MatrixCell) -> list[str]:
    checks = (check for check in cell.checks if check.outcome is Outcome.UNSUPPORTED and check.name != "readers-agree")
    return [f"{check.name}: {check.observed}" for check in checks]


def _fails(cell: MatrixCell) -> str:
    names = [check.name for check in cell.checks if check.outcome is Outcome.FAIL]
    if not _WRITTEN.isdisjoint(names):
        return "writes to it though told not to"
    match cell.finding:
        case "wrong-data":
            return f"shows it wrongly ({', '.join(names)})"
        case "crash":
            return "takes the kernel down"
        case "hang":
            return "hangs on it"
        case _:
            return f"fails to read a part of it ({', '.join(names)})"


def _brief(text: str, most: int = 120) -> str:
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[: most - 3]}..."
