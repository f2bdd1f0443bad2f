"""Whether cells agree that differ in one axis only, such as the stage on which a driver was tried. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from lab.errors import EXIT_LAB, EXIT_PRODUCT, UsageError
from lab.matrix.model import MatrixCell
from lab.verdict import Outcome

__all__ = ["Group", "Seen", "agreement", "exit_code"]

_LEARNED = ("kernel_version", "kernel_package", "driver_version", "options_asked", "options_in_force", "loading")
"""What cells tell among their axes without having been asked for it; it must be the same on all sides."""

_PASSING = frozenset({"from"})
"""What cells tell among their axes and is of no concern here."""

_GOES_WITH: Mapping[str, frozenset[str]] = {"stage": frozenset({"host"})}
"""Axes that cannot stay the same when this one changes."""

_UNSAID = {"stage": "xen"}
"""What cells mean that do not have the axis."""

_ENDED = frozenset({"crash", "hang"})
"""Findings in whose checks stand addresses and times, which are never the same twice."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A cell, and the differences that its evidence lists, as text; empty where it lists none."""

    cell: MatrixCell
    differences: str = ""

    @property
    def is_evidence(self) -> bool:
        """Whether it says anything about the product."""
        return self.cell.judged and self.cell.outcome not in {Outcome.ERROR, Outcome.SKIPPED}


@dataclass(frozen=True, slots=True)
class Group:
    """Cells that differ in the axis only: what they are about, and of each value what was seen.

    ``unlike`` is what is not the same, ``lacking`` why it cannot be said whether it is.
    """

    what: str
    sides: Mapping[str, tuple[Seen, ...]]
    unlike: tuple[str, ...]
    lacking: tuple[str, ...]

    def __str__(self) -> str:
        sides = " and ".join(self.sides)
        if self.unlike:
            return f"{self.what}: not the same: {'; '.join(self.unlike)}"
        return f"{self.what}: cannot be told: {'; '.join(self.lacking)}" if self.lacking else f"{self.what}: {sides}"


def agreement(seen: Iterable[Seen], axis: str) -> tuple[Group, ...]:
    """The groups, in the order in which they come up.

    Raises:
        UsageError: no cell has another value on that axis than the others of its scenario.
    """
    groups: dict[tuple[str, ...], list[Seen]] = {}
    values: dict[str, dict[str, None]] = {}
    for one in seen:
        groups.setdefault(_key(one.cell, axis), []).append(one)
        values.setdefault(one.cell.scenario, {})[_value(one.cell, axis)] = None
    varying = {scenario for scenario, found in values.items() if len(found) > 1}
    if not varying:
        found = sorted({value for each in values.values() for value in each})
        raise UsageError(
            f"nothing to compare: {axis} is {' or '.join(map(repr, found)) or 'in no cell'} throughout each scenario",
            hint=f"name the run with the other {axis}, too" if found else "",
        )
    return tuple(
        _group(members, axis, tuple(values[members[0].cell.scenario]))
        for members in groups.values()
        if members[0].cell.scenario in varying
    )


def exit_code(groups: Sequence[Group]) -> int:
    """0 where all agree, 1 where one does not, 3 where that cannot be told of one."""
    if any(group.unlike for group in groups):
        return EXIT_PRODUCT
    return EXIT_LAB if any(group.lacking for group in groups) else 0


def _value(cell: MatrixCell, axis: str) -> str:
    return cell.axes.get(axis, _UNSAID.get(axis, ""))


def _key(cell: MatrixCell, axis: str) -> tuple[str, ...]:
    aside = {axis, *_GOES_WITH.get(axis, ()), *_LEARNED, *_PASSING}
    return cell.scenario, *(f"{name}={value}" for name, value in sorted(cell.axes.items()) if name not in aside)


def _group(members: Sequence[Seen], axis: str, values: tuple[str, ...]) -> Group:
    aside = {axis, *_GOES_WITH.get(axis, ()), *_LEARNED, *_PASSING}
    first, *others = members
    what = " ".join(value for name, value in first.cell.axes.items() if name not in aside)
    sides = {value: tuple(one for one in members if _value(one.cell, axis) == value) for value in values}
    lacking = [f"{value}: not tried" for value, found in sides.items() if not found]
    lacking += [
        f"{_value(one.cell, axis)}: {one.cell.outcome.value}: {one.cell.reason}"
        for one in members
        if not one.is_evidence
    ]
    sound = [one for one in (first, *others) if one.is_evidence]
    unlike = [words for other in sound[1:] for words in _unlike(sound[0], other, axis)]
    return Group(what, sides, tuple(dict.fromkeys(unlike)), tuple(lacking))


def _unlike(one: Seen, other: Seen, axis: str) -> Iterable[str]:
    """What is not the same, most telling first."""
    here, there = (_value(each.cell, axis) for each in (one, other))
    for what, mine, theirs in _compared(one, other):
        if mine != theirs:
            yield f"{what}: {here}: {mine or 'nothing'}, {there}: {theirs or 'nothing'}"
    if one.differences != other.differences and not {one.cell.finding, other.cell.finding} & _ENDED:
        yield "differences.json of their evidence"


def _compared(one: Seen, other: Seen) -> Iterable[tuple[str, str, str]]:
    yield "outcome", _state(one.cell), _state(other.cell)
    for name in _LEARNED:
        yield name, one.cell.axes.get(name, ""), other.cell.axes.get(name, "")
    if {one.cell.finding, other.cell.finding} & _ENDED:
        return
    mine, theirs = (_checks(each.cell) for each in (one, other))
    for name in dict.fromkeys((*mine, *theirs)):
        yield f"check {name}", mine.get(name, ""), theirs.get(name, "")


def _state(cell: MatrixCell) -> str:
    return f"{cell.outcome.value} ({cell.finding})" if cell.finding else cell.outcome.value


def _checks(cell: MatrixCell) -> dict[str, str]:
    """Each check's outcome; where that is no pass, also what was observed."""
    return {
        check.name: check.outcome.value if check.outcome is Outcome.PASS else f"{check.outcome.value}: {check.observed}"
        for check in cell.checks
    }
