"""``lab list``."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from lab.engine.names import known_names
from lab.engine.rootdir import root_of
from lab.errors import ScenarioError, UsageError
from lab.scenario.axes import Summary, summary
from lab.scenario.cell import Cell
from lab.scenario.load import Expansion, expansions, read_text, untested_combinations

__all__ = ["register"]

_EXAMPLE = "Examples: lab list | lab list scenarios/quick.lab.yaml | lab list --json"
_SUFFIX = ".lab.yaml"
_MOST_PAIRS = 20
_MOST_VALUES = 24


def register(app: typer.Typer) -> None:
    """Mount the verb."""
    app.command("list", epilog=_EXAMPLE, help="The cells of scenario files, without running them.")(list_cells)


def list_cells(
    paths: Annotated[list[Path] | None, typer.Argument(help="Scenario files or folders; else scenarios.")] = None,
    *,
    brief: Annotated[bool, typer.Option("--brief", help="Axes and counts only.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Print axes, counts and the cells' ids, which are those of pytest."""
    wanted = paths or [Path("scenarios")]
    found = _load(_files(wanted), root_of(wanted))
    if as_json:
        sys.stdout.write(json.dumps(_to_json(found), ensure_ascii=False, indent=1) + "\n")
        return
    for expansion in found:
        for scenario in summary(expansion.cells):
            _print(scenario, expansion, brief=brief)
    total = sum(len(expansion.cells) for expansion in found)
    left = untested_combinations(found)
    sys.stdout.write(f"{_count(len(found), 'scenario')}, {_count(total, 'cell')}")
    sys.stdout.write(f"; pairwise leaves out {_count(left, 'combination')}\n" if left else "\n")


def _print(scenario: Summary, expansion: Expansion, *, brief: bool) -> None:
    left = f"; pairwise leaves out {expansion.left_out}" if expansion.left_out else ""
    sys.stdout.write(f"{scenario.path}:{scenario.line}: {scenario.scenario}\n")
    sys.stdout.write(f"  {scenario.kind}, {_count(scenario.count, 'cell')}{left}\n")
    width = max(map(len, scenario.axes), default=0)
    for axis, values in scenario.axes.items():
        shown = [value or "none" for value in values[:_MOST_VALUES]]
        more = [f"and {len(values) - len(shown)} more"] if len(values) > len(shown) else []
        sys.stdout.write(f"  {axis:{width}}  {', '.join([*shown, *more])}\n")
    sys.stdout.writelines(f"  {line}\n" for line in _untested(expansion))
    for cell in () if brief else expansion.cells:
        expected = f"  (expected: {cell.expect.outcome})" if cell.expect else ""
        sys.stdout.write(f"    {cell.id}{expected}\n")


def _untested(expansion: Expansion) -> Iterator[str]:
    """Which pairs of values no cell has, where pairs were asked for."""
    pairs = expansion.untested
    if pairs is None:
        return
    yield f"pairs left untested: {len(pairs) or 'none'}"
    for each in pairs[:_MOST_PAIRS]:
        words = " with ".join(f"{axis} {value}" for axis, value in each.pair)
        yield f"  {words}{' (excluded)' if each.excluded else ''}"
    if len(pairs) > _MOST_PAIRS:
        yield f"  and {len(pairs) - _MOST_PAIRS} more"


def _files(paths: Iterable[Path]) -> tuple[Path, ...]:
    """The scenario files that pytest would find there.

    Raises:
        UsageError: a path does not exist, or there are none at all.
    """
    files: dict[Path, None] = {}
    for path in paths:
        if not path.exists():
            raise UsageError(
                f"{path}: no such file or folder", hint="cells are listed by file; -k belongs to `lab run`"
            )
        inside = sorted(path.rglob(f"*{_SUFFIX}")) if path.is_dir() else [path]
        files.update((file, None) for file in inside if not _hidden(file.relative_to(path)))
    if not files:
        raise UsageError(f"no *{_SUFFIX} in {', '.join(map(str, paths))}")
    return tuple(files)


def _hidden(path: Path) -> bool:
    """As pytest's norecursedirs: it does not look into folders that begin with a dot."""
    return any(part.startswith(".") for part in path.parts)


def _load(files: Sequence[Path], root: Path) -> tuple[Expansion, ...]:
    """What all files hold.

    Raises:
        ScenarioError: there are mistakes, in whichever file; all of them are named.
    """
    found: list[Expansion] = []
    mistakes = []
    for file in files:
        try:
            name, text = read_text(file, root=root)
            found += expansions(text, path=name, known=known_names())
        except ScenarioError as wrong:
            mistakes.append(str(wrong))
    if mistakes:
        raise ScenarioError("\n".join(mistakes))
    return tuple(found)


def _to_json(found: Sequence[Expansion]) -> dict[str, Any]:
    scenarios = [
        {
            "path": one.path,
            "line": one.line,
            "scenario": one.scenario,
            "kind": one.kind,
            "axes": {axis: list(values) for axis, values in one.axes.items()},
            "cells": one.count,
            "left_out": expansion.left_out,
            "untested_pairs": [
                {"axes": dict(each.pair), "excluded": each.excluded} for each in expansion.untested or ()
            ],
        }
        for expansion in found
        for one in summary(expansion.cells)
    ]
    cells = [_cell_to_json(cell) for expansion in found for cell in expansion.cells]
    return {"schema": "lab.list/1", "scenarios": scenarios, "cells": cells}


def _cell_to_json(cell: Cell) -> dict[str, Any]:
    expect = {"outcome": cell.expect.outcome, "because": cell.expect.because} if cell.expect else None
    return {"id": cell.id, "scenario": cell.scenario, "kind": cell.kind, "axes": dict(cell.axes), "expect": expect}


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
