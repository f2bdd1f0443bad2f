"""Scenario files -> cells: the door to this package."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lab.errors import ScenarioError
from lab.scenario import known as known_names
from lab.scenario.cell import Cell, Limits
from lab.scenario.document import read
from lab.scenario.expand import Draft, Untested, expand
from lab.scenario.known import Known
from lab.scenario.mistake import Mark, Mistakes
from lab.scenario.model import NtfsScenario
from lab.scenario.name import names
from lab.scenario.understand import understand

__all__ = ["Expansion", "Known", "Untested", "expansions", "load", "parse", "read_text", "untested_combinations"]


@dataclass(frozen=True, slots=True)
class Expansion:
    """One scenario of a file: its cells, and how many combinations of the product ``pairwise`` left out.

    ``untested`` are the pairs of values that are in no cell; None without ``pairwise``.
    """

    scenario: str
    line: int
    cells: tuple[Cell, ...]
    left_out: int
    untested: tuple[Untested, ...] | None = None


def load(path: Path, *, root: Path, known: Known | None = None) -> tuple[Cell, ...]:
    """The cells of the file ``path``; in their ids it is named relative to ``root``.

    Raises:
        ScenarioError: the file cannot be read or holds mistakes; one line ``file:line:column: what`` for each of them.
    """
    name, text = read_text(path, root=root)
    return parse(text, path=name, known=known)


def parse(text: str, *, path: str, known: Known | None = None) -> tuple[Cell, ...]:
    """The cells of all scenarios in ``text``, in its order; names of drivers and volumes are checked by ``known``,
    and patterns of them replaced; without it they are taken as they stand.

    Raises:
        ScenarioError: there are mistakes; all of them are named.
    """
    return tuple(cell for expansion in expansions(text, path=path, known=known) for cell in expansion.cells)


def expansions(text: str, *, path: str, known: Known | None = None) -> tuple[Expansion, ...]:
    """Like :func:`parse`, scenario by scenario.

    Raises:
        ScenarioError: there are mistakes; all of them are named.
    """
    mistakes = Mistakes(path)
    drafts = []
    for tree in read(text, mistakes):
        understood = understand(tree, mistakes)
        if understood is None:
            continue
        if known is not None:
            known_names.check_hosts(understood.scenario, known, tree, mistakes)
        if known is not None and isinstance(understood.scenario, NtfsScenario):
            settled = known_names.settle(understood.scenario, known, tree, mistakes)
            understood = replace(understood, scenario=settled)
        drafts.append(expand(understood, mistakes))
    named = names([(draft.kind, candidate.axes) for draft in drafts for candidate in draft.chosen])
    _check_unique(drafts, named, mistakes)
    mistakes.check()
    return _expansions(drafts, named, path)


def untested_combinations(expansions: Sequence[Expansion]) -> int:
    """How many combinations of the products ``pairwise`` left out."""
    return sum(expansion.left_out for expansion in expansions)


def read_text(path: Path, *, root: Path) -> tuple[str, str]:
    """The file's name relative to ``root`` (absolute if it is not below), and its text.

    Raises:
        ScenarioError: the file cannot be read, or is no UTF-8.
    """
    absolute, base = path.absolute(), root.absolute()
    name = absolute.relative_to(base).as_posix() if absolute.is_relative_to(base) else absolute.as_posix()
    try:
        content = path.read_bytes()
    except OSError as broken:
        raise ScenarioError(f"{Mark(1, 1).place(name)}: cannot be read: {broken.strerror or broken}") from broken
    try:
        return name, content.decode("utf-8")
    except UnicodeDecodeError as broken:
        before = content[: broken.start]
        column = len(before[before.rfind(b"\n") + 1 :].decode("utf-8")) + 1
        mark = Mark(before.count(b"\n") + 1, column)
        raise ScenarioError(f"{mark.place(name)}: byte 0x{content[broken.start]:02x} is not UTF-8") from broken


def _check_unique(drafts: Sequence[Draft], named: Sequence[str], mistakes: Mistakes) -> None:
    """Two scenarios that make the same cells: one mistake for each such pair, at the later one."""
    first: dict[str, Draft] = {}
    clashes: dict[tuple[Mark, Mark], list[str]] = {}
    names_left = iter(named)
    for draft in drafts:
        for name in (next(names_left) for _ in draft.chosen):
            other = first.setdefault(name, draft)
            if other is not draft and other.understood.sound and draft.understood.sound:
                clashes.setdefault((draft.mark, other.mark), []).append(name)
    for (mark, other_mark), cells in clashes.items():
        words = f"cell {cells[0]!r}" if len(cells) == 1 else f"{len(cells)} cells, such as {cells[0]!r},"
        verb = "is" if len(cells) == 1 else "are"
        hint = "give the guest another name or exclude them here"
        mistakes.add(mark, f"{words} {verb} also made by the scenario at {other_mark.place(mistakes.path)}; {hint}")


def _expansions(drafts: Sequence[Draft], named: Sequence[str], path: str) -> tuple[Expansion, ...]:
    found = []
    names_left = iter(named)
    for draft in drafts:
        scenario = draft.understood.scenario
        limits = Limits(**scenario.limits.model_dump())
        shown = draft.shown()
        cells = tuple(
            Cell(
                path=path,
                name=next(names_left),
                scenario=scenario.scenario,
                kind=draft.kind,
                axes=_visible(candidate.axes, shown),
                request=candidate.request,
                limits=limits,
                expect=expected,
                line=draft.mark.line,
            )
            for candidate, expected in zip(draft.chosen, draft.expected, strict=True)
        )
        found.append(Expansion(scenario.scenario, draft.mark.line, cells, draft.left_out, draft.untested))
    return tuple(found)


def _visible(axes: Mapping[str, str], shown: frozenset[str]) -> dict[str, str]:
    return {axis: label for axis, label in axes.items() if axis in shown}
