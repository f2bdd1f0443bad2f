"""Conditions (``exclude:`` and the ``when:`` of ``expect:``): which combinations they mean."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from lab.scenario.candidate import Candidate
from lab.scenario.document import Node
from lab.scenario.known import fits
from lab.scenario.mistake import Mistakes, suggest

__all__ = ["explain", "known_axes", "matching", "values"]

Condition = Mapping[str, tuple[str, ...]]


def values(candidates: Iterable[Candidate]) -> dict[str, tuple[str, ...]]:
    """The values of each axis, in the order in which they come up."""
    found: dict[str, dict[str, None]] = {}
    for candidate in candidates:
        for axis, label in candidate.axes.items():
            found.setdefault(axis, {})[label] = None
    return {axis: tuple(labels) for axis, labels in found.items()}


def matching(candidates: Sequence[Candidate], condition: Condition) -> list[int]:
    """The indices of the candidates that have one of the named values on every named axis."""
    fitting = {
        axis: _fitting(labels, {each.axes.get(axis, "") for each in candidates}) for axis, labels in condition.items()
    }
    return [
        index
        for index, candidate in enumerate(candidates)
        if all(candidate.axes.get(axis) in labels for axis, labels in fitting.items())
    ]


def _fitting(wanted: Iterable[str], labels: Iterable[str]) -> frozenset[str]:
    """Those of ``labels`` that are named, or fit a pattern."""
    return frozenset(label for pattern in wanted for label in labels if fits(label, pattern))


def known_axes(named: Sequence[str], axes: Sequence[str], node: Node, mistakes: Mistakes) -> bool:
    """Whether all axes that the condition at ``node`` names exist; the others go to ``mistakes`` at their place."""
    unknown = [axis for axis in named if axis not in axes]
    for axis in unknown:
        hint = suggest(axis, tuple(axes)) or f"; axes here: {', '.join(axes)}"
        mistakes.add(node.at((axis,)).key, f"unknown axis {axis!r}{hint}")
    return not unknown


def explain(condition: Condition, axes: Mapping[str, tuple[str, ...]]) -> str:
    """Why nothing matches."""
    reasons = []
    for axis, labels in condition.items():
        missing = [label for label in labels if not any(fits(each, label) for each in axes[axis])]
        if missing:
            hint = suggest(missing[0], axes[axis])
            shown = ", ".join(axes[axis][:8]) + (", ..." if len(axes[axis]) > 8 else "")
            reasons.append(f"{axis} is never {' or '.join(map(repr, missing))} here, only {shown}{hint}")
    return "; ".join(reasons) or "no cell has all of these values together"
