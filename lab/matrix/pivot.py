"""Verdicts arranged by two axes: one table a scenario, with a layout that suits its kind. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from lab.errors import UnknownNameError
from lab.matrix.model import FROM, Matrix, MatrixCell

__all__ = ["NOT_TRIED", "Layout", "Square", "Table", "axis_values", "default_layout", "pivot", "tables"]

NOT_TRIED = "not tried: the scenario or the selection leaves it out"

Values = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Layout:
    """Which axes run down and which run across; several on a side are combined."""

    rows: Values
    columns: Values


@dataclass(frozen=True, slots=True)
class Square:
    """Where a row meets a column: all the cells there, or why there is none."""

    cells: tuple[MatrixCell, ...] = ()
    blank: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """A scenario's cells. ``rows`` and ``columns`` are the values of the layout's axes; ``squares[row][column]``.

    ``constants`` are the axes that have one value throughout and are in neither header.
    """

    scenario: str
    kind: str
    layout: Layout
    rows: tuple[Values, ...]
    columns: tuple[Values, ...]
    squares: tuple[tuple[Square, ...], ...]
    constants: Mapping[str, str] = field(default_factory=dict)

    @property
    def cells(self) -> tuple[MatrixCell, ...]:
        """All of them, row by row."""
        return tuple(cell for row in self.squares for square in row for cell in square.cells)


# A migration is named by both its ends, also when one of them never varies.
_JOURNEY = ("source", "target")

# What people look for first, by kind: (down, across). An axis that is missing or never varies is left out of both.
_SUITS: Mapping[str, tuple[Values, Values]] = {
    "migration": (("source", "target", "guest"), ("how", "type")),
    "ntfs": (("volume", "operation"), ("driver", "kernel")),
    "modules": (("guest",), ("host",)),
    "boot": (("guest",), ("host",)),
}


def axis_values(cells: Iterable[MatrixCell]) -> dict[str, tuple[str, ...]]:
    """Every axis and its values, both in the order in which they are first seen."""
    seen: dict[str, dict[str, None]] = {}
    for cell in cells:
        for axis, value in cell.axes.items():
            seen.setdefault(axis, {})[value] = None
    return {axis: tuple(values) for axis, values in seen.items()}


def default_layout(kind: str, cells: Sequence[MatrixCell]) -> Layout:
    """The layout that suits the kind, with as many more axes down as it takes to give each cell its own square."""
    axes = axis_values(cells)
    differ = (axis for axis in axes if len({cell.axes.get(axis, "") for cell in cells}) > 1)
    varying = [axis for axis in differ if axis != FROM]  # of which run a verdict is says nothing about the product
    down, across = _SUITS.get(kind, ((), ()))
    rows = [axis for axis in down if axis in varying or (axis in _JOURNEY and axis in axes)]
    columns = [axis for axis in across if axis in varying]
    for axis in varying:
        used = (*rows, *columns)
        if axis not in used and _squares(cells, (*used, axis)) > _squares(cells, used):
            rows.append(axis)
    # A side without any axis would have no header at all: give it what suits the kind, even if it never varies.
    rows = rows or [axis for axis in (*down, *axes) if axis in axes and axis not in columns][:1]
    columns = columns or [axis for axis in (*across, *axes) if axis in axes and axis not in rows][:1]
    return Layout(tuple(rows), tuple(columns))


def pivot(cells: Sequence[MatrixCell], layout: Layout) -> Table:
    """The cells of one scenario in that layout; rows and columns in the order of each axis' first-seen values."""
    axes = axis_values(cells)
    place: dict[tuple[Values, Values], list[MatrixCell]] = {}
    for cell in cells:
        place.setdefault((_values(cell, layout.rows), _values(cell, layout.columns)), []).append(cell)
    rows = _sorted({row for row, _ in place}, layout.rows, axes)
    columns = _sorted({column for _, column in place}, layout.columns, axes)
    squares = tuple(
        tuple(
            Square(tuple(place[row, column])) if (row, column) in place else Square(blank=NOT_TRIED)
            for column in columns
        )
        for row in rows
    )
    used = {*layout.rows, *layout.columns}
    constants = {
        axis: values[0]
        for axis, values in axes.items()
        if axis not in used and len(values) == 1 and all(axis in cell.axes for cell in cells)
    }
    first = cells[0] if cells else None
    names = (first.scenario, first.kind) if first else ("", "")
    return Table(*names, layout, rows, columns, squares, constants)


def tables(matrix: Matrix, rows: Values = (), columns: Values = ()) -> tuple[Table, ...]:
    """One table for each scenario and kind, in the matrix' order. ``rows`` and ``columns`` are the caller's wish; a
    scenario that lacks such an axis keeps its own layout on that side.

    Raises:
        UnknownNameError: no scenario has an axis of that name.
    """
    known = axis_values(matrix.cells)
    for axis in (*rows, *columns):
        if matrix.cells and axis not in known:
            raise UnknownNameError("axis", axis, known)
    groups: dict[tuple[str, str], list[MatrixCell]] = {}
    for cell in matrix.cells:
        groups.setdefault((cell.scenario, cell.kind), []).append(cell)
    return tuple(pivot(cells, _wished(kind, cells, rows, columns)) for (_, kind), cells in groups.items())


def _wished(kind: str, cells: Sequence[MatrixCell], rows: Values, columns: Values) -> Layout:
    own = default_layout(kind, cells)
    axes = axis_values(cells)
    down = tuple(axis for axis in rows if axis in axes)
    across = tuple(axis for axis in columns if axis in axes)
    return Layout(
        down or tuple(axis for axis in own.rows if axis not in across),
        across or tuple(axis for axis in own.columns if axis not in down),
    )


def _values(cell: MatrixCell, axes: Values) -> Values:
    return tuple(cell.axes.get(axis, "") for axis in axes)


def _squares(cells: Iterable[MatrixCell], axes: Values) -> int:
    return len({_values(cell, axes) for cell in cells})


def _sorted(found: Iterable[Values], axes: Values, values: Mapping[str, Values]) -> tuple[Values, ...]:
    order = {axis: {value: at for at, value in enumerate(values.get(axis, ()))} for axis in axes}
    return tuple(
        sorted(found, key=lambda row: [order[axis].get(value, -1) for axis, value in zip(axes, row, strict=True)])
    )
