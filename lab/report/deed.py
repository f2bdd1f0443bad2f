"""What a driver does to a volume, as a sentence, and whether that is safe. Pure.

A sentence goes on from the driver's name, or from "It": "reads it right."
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import assert_never

from lab.matrix.model import MatrixCell
from lab.verdict import Check, Finding, Outcome

__all__ = ["Deed", "read_deed", "write_deed"]


@dataclass(frozen=True, slots=True)
class Deed:
    """``safe`` is that nothing of it is wrong, ``whole`` that nothing of it is missing either.

    ``judged`` is False where nobody could say, and ``absent`` where the driver is not there at all.
    """

    sentence: str
    safe: bool = False
    whole: bool = False
    judged: bool = True
    absent: bool = False


_WRITTEN = frozenset({"volume-unchanged", "image-untouched"})

_WHY: Mapping[str, str] = {
    "dirty": "the volume is dirty: run chkdsk first",
    "hibernated": "Windows is hibernated on it: shut it down for good first",
    "unclean-log": "its log is unclean: let Windows mount it once",
    "damaged": "the volume is damaged",
}
"""Why a driver may refuse, by the state of the volume, and what mends it."""

_MISSING: Mapping[str, str] = {
    "streams": "loses the alternate streams",
    "links": "does not show where links lead",
    "read-errors": "fails to read a part of it",
}
"""What is missing, by the check that says so."""

_WRONG: Mapping[str, str] = {
    "names": "names",
    "sizes": "sizes",
    "bytes": "bytes",
    "links": "targets of links",
    "times": "times",
    "attributes": "attributes",
    "holes": "holes",
    "streams": "alternate streams",
    "metadata": "metadata",
}


def read_deed(cell: MatrixCell, state: str) -> Deed:
    """What a driver does when it reads."""
    if cell.outcome is Outcome.FAIL and not _WRITTEN.isdisjoint(check.name for check in _of(cell, Outcome.FAIL)):
        return Deed("writes to it though told not to.")
    match cell.outcome:
        case Outcome.PASS:
            return _refusal(cell, state, "it") if cell.finding == "refused" else _sound_reading(cell)
        case Outcome.UNSUPPORTED:
            return _reads_less(cell, state)
        case Outcome.FAIL:
            return _violent(cell) or _misreads(cell)
        case Outcome.ERROR | Outcome.SKIPPED:
            return Deed(f"was not judged ({_brief(cell.reason)}).", judged=False)
        case _ as never:
            assert_never(never)


def write_deed(cells: Sequence[MatrixCell], state: str) -> Deed:
    """What a driver does when it writes: the worst of the operations, and which of them it was if there are several."""
    worst = max(cells, key=_gravity)
    deed = _write_deed(worst, state)
    if len(cells) == 1:
        return deed
    return Deed(f"{deed.sentence[:-1]} ({worst.axes.get('operation', '?')}).", deed.safe, deed.whole, deed.judged)


_ORDER = (Outcome.PASS, Outcome.SKIPPED, Outcome.UNSUPPORTED, Outcome.ERROR, Outcome.FAIL)


_FINDINGS = tuple(finding.value for finding in Finding)


def _gravity(cell: MatrixCell) -> tuple[int, int]:
    """By the outcome, and of those that are alike by the finding: what is damaged is worse than what is refused."""
    return _ORDER.index(cell.outcome), _FINDINGS.index(cell.finding) if cell.finding in _FINDINGS else -1


def _write_deed(cell: MatrixCell, state: str) -> Deed:
    match cell.outcome:
        case Outcome.PASS:
            if cell.finding in {"refused", "read-only"}:
                return _refusal(cell, state, "to write to it")
            return Deed("writes to it right.", safe=True, whole=True)
        case Outcome.UNSUPPORTED:
            return _writes_less(cell, state)
        case Outcome.FAIL:
            return _violent(cell, " when it writes to it") or _miswrites(cell)
        case Outcome.ERROR | Outcome.SKIPPED:
            return Deed(f"was not judged as it writes ({_brief(_words(cell.reason))}).", judged=False)
        case _ as never:
            assert_never(never)


def _sound_reading(cell: MatrixCell) -> Deed:
    if cell.finding == "degraded":
        return Deed("says of what is damaged that it cannot be read, and reads the rest right.", safe=True, whole=True)
    return Deed("reads it right.", safe=True, whole=True)


def _reads_less(cell: MatrixCell, state: str) -> Deed:
    if cell.finding == "degraded":
        poorer = [check for check in _of(cell, Outcome.UNSUPPORTED) if check.name != "readers-agree"]
        lost = [_MISSING.get(check.name, f"shows less than there is ({_brief(str(check))})") for check in poorer]
        return Deed(f"{_joined(lost) or 'shows less than there is'}, and reads the rest right.", safe=True)
    return _unable(cell, state, "it")


def _writes_less(cell: MatrixCell, state: str) -> Deed:
    if cell.finding == "degraded":
        poorer = [check for check in _of(cell, Outcome.UNSUPPORTED) if check.name != "readers-agree"]
        names = ", ".join(check.name.removeprefix("step:") for check in poorer[:_MOST])
        more = f" and {len(poorer) - _MOST} more" if len(poorer) > _MOST else ""
        return Deed(f"writes to it right, but cannot do all ({names}{more}).", safe=True)
    return _unable(cell, state, "to write to it")


_MOST = 3


def _unable(cell: MatrixCell, state: str, what: str) -> Deed:
    if cell.finding in {"refused", "read-only"}:
        return _refusal(cell, state, what)
    machine, _, words = cell.reason.partition(": ")
    absent = {"driver-not-in-kernel": "is not in that kernel.", "driver-not-installed": "is not installed."}
    if machine in absent:
        return Deed(absent[machine], judged=False, absent=True)
    if machine == "no-truth":
        shown = "mounts it, and nobody can say whether what it shows is right."
        written = "was not let write to it, for nobody can say what it holds."
        return Deed(shown if what == "it" else written, judged=False)
    return Deed(f"cannot be tried ({_brief(words or machine)}).", judged=False)


def _refusal(cell: MatrixCell, state: str, what: str) -> Deed:
    """Refused altogether, or mounted read-only where writing was asked for."""
    does = "mounts it read-only" if cell.finding == "read-only" else f"refuses {what}"
    said = cell.reason.partition("): ")[2] if cell.finding == "refused" else ""
    quoted = f' It says: "{_brief(said)}".' if said else ""
    why = _WHY.get(state, "the volume is clean" if state == "clean" else "nobody can say whether that is right")
    link = ", though " if state == "clean" else ", and rightly so: " if cell.outcome is Outcome.PASS else ": "
    return Deed(f"{does}{link}{why}.{quoted}")


def _violent(cell: MatrixCell, when: str = "") -> Deed | None:
    match cell.finding:
        case "crash":
            ended = any(check.name == "program-lives" for check in _of(cell, Outcome.FAIL))
            return Deed(f"crashes{when}." if ended else f"takes the kernel down{when}.")
        case "hang":
            return Deed(f"hangs{when or ' on it'}.")
        case _:
            return None


def _misreads(cell: MatrixCell) -> Deed:
    broken = _of(cell, Outcome.FAIL)
    wrong = [_WRONG[check.name] for check in broken if check.name in _WRONG]
    if cell.finding == "wrong-data":
        seen = [check for check in broken if check.name in _WRONG]
        return Deed(f"shows wrong {_joined(wrong) or 'content'}, and no error{_example(cell, seen or broken)}.")
    return Deed(f"fails to read a part of it{_example(cell, broken)}.")


def _miswrites(cell: MatrixCell) -> Deed:
    broken = _of(cell, Outcome.FAIL)
    match cell.finding:
        case "damaged":
            return Deed(f"damages it{_example(cell, broken)}.")
        case "wrong-data":
            return Deed(f"says that it has written what is not there afterwards{_example(cell, broken)}.")
        case _:
            return Deed(f"fails to do what it was asked to{_example(cell, broken)}.")


def _example(cell: MatrixCell, broken: Sequence[Check]) -> str:
    if not broken:
        return ""
    cause = _cause(cell, broken)
    return f" ({cause.name.removeprefix('step:')}: {_brief(cause.observed)})"


def _cause(cell: MatrixCell, broken: Sequence[Check]) -> Check:
    """The check that makes the finding. A cell may break others that alone would make a lesser one; the reason names
    the right ones, or what they saw.
    """
    named = [check for check in broken if f" {check.name}: " in f" {cell.reason}"]
    seen = [check for check in broken if check.observed and check.observed.partition(" (and ")[0] in cell.reason]
    return (named or seen or list(broken))[0]


def _of(cell: MatrixCell, outcome: Outcome) -> list[Check]:
    return [check for check in cell.checks if check.outcome is outcome]


def _joined(words: Iterable[str]) -> str:
    *some, last = dict.fromkeys(words) or ("",)
    return f"{', '.join(some)} and {last}" if some else last


def _words(reason: str) -> str:
    """Without the word for machines in front."""
    machine, _, words = reason.partition(": ")
    return words if words and " " not in machine and "/" not in machine else reason


def _brief(text: str, most: int = 120) -> str:
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[: most - 3]}..."
