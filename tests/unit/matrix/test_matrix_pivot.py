from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.errors import UnknownNameError
from lab.matrix.model import FROM, Matrix, MatrixCell
from lab.matrix.pivot import NOT_TRIED, Layout, Square, axis_values, default_layout, pivot, tables
from lab.verdict import Outcome
from tests.unit.report.example import RUN, empty, example


def _cell(kind: str = "migration", **axes: str) -> MatrixCell:
    return MatrixCell("x::" + "-".join(axes.values()), "s", kind, axes, Outcome.PASS)


def test_a_migration_runs_down_by_journey_and_across_by_how_and_type() -> None:
    migration = tables(example())[0]
    assert migration.layout == Layout(("source", "target"), ("how", "type"))
    assert migration.rows == (("4.14", "4.20"),)
    assert migration.columns == (
        ("cold", "pv"),
        ("cold", "pvh"),
        ("save-restore", "pv"),
        ("save-restore", "pvh"),
        ("live", "pv"),
        ("live", "pvh"),
    )
    assert migration.constants == {"guest": "web32", "userland": "i386", "kernel": "bookworm-amd64-cloud"}


def test_ntfs_runs_down_by_volume_and_across_by_driver_and_kernel() -> None:
    ntfs = tables(example())[2]
    assert ntfs.layout == Layout(("volume",), ("driver", "kernel"))
    assert ntfs.columns == (("ntfs3", "trixie-6.12"), ("ntfs", "forky-7.2"), ("ntfs-3g", "trixie-6.12"))
    assert ntfs.constants == {"operation": "read"}
    assert [cell.id for cell in sorted(ntfs.cells, key=lambda c: c.id)] == sorted(
        cell.id for cell in example().cells if cell.kind == "ntfs"
    )


def test_modules_run_down_by_guest_and_across_by_host_even_if_nothing_varies() -> None:
    assert tables(example())[1].layout == Layout(("guest",), ("host",))


def test_an_axis_that_parts_cells_is_added_and_one_that_follows_from_others_is_not() -> None:
    cells = [
        _cell("ntfs", volume=volume, driver=driver, driver_version=version, cluster=cluster)
        for volume in ("clean", "dirty")
        for driver, version in (("ntfs3", "6.12"), ("ntfs-3g", "2022"))
        for cluster in ("4k", "64k")
    ]
    assert default_layout("ntfs", cells) == Layout(("volume", "cluster"), ("driver",))


def test_a_kind_nobody_knows_still_gets_a_layout() -> None:
    cells = [_cell("boot", colour="red", size="1"), _cell("boot", colour="blue", size="1")]
    assert default_layout("other", cells) == Layout(("colour",), ("size",))


def test_a_square_holds_all_its_cells_and_a_missing_one_says_why() -> None:
    cells = [_cell(a="1", b="1", c="1"), _cell(a="1", b="1", c="2"), _cell(a="2", b="2", c="1")]
    table = pivot(cells, Layout(("a",), ("b",)))
    assert table.squares == (
        (Square(tuple(cells[:2])), Square(blank=NOT_TRIED)),
        (Square(blank=NOT_TRIED), Square((cells[2],))),
    )


def test_a_cell_without_the_axis_stands_in_a_row_of_its_own() -> None:
    table = pivot([_cell(a="1", b="1"), _cell(b="2")], Layout(("a",), ("b",)))
    assert table.rows == (("",), ("1",))
    assert table.constants == {}


def test_the_wish_counts_where_the_scenario_has_the_axis() -> None:
    first, second, third = tables(example(), rows=("how",))
    assert first.layout == Layout(("how",), ("type",))
    assert second.layout == Layout(("guest",), ("host",))
    assert third.layout == Layout(("volume",), ("driver", "kernel"))


def test_an_axis_that_no_scenario_has_is_refused_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError) as caught:
        tables(example(), columns=("divers",))
    assert str(caught.value) == (
        "no axis 'divers'; known: delivery, driver, guest, host, how, kernel, operation, source, target, type, "
        "userland, volume\n  hint: did you mean 'driver'?"
    )


def test_an_empty_matrix_has_no_table() -> None:
    assert tables(empty()) == ()
    assert pivot([], Layout(("a",), ("b",))).squares == ()


AXES = st.fixed_dictionaries({name: st.sampled_from("123") for name in ("source", "target", "how", "guest", "extra")})


@settings(max_examples=60, deadline=None)
@given(st.lists(AXES, max_size=25, unique_by=lambda axes: tuple(sorted(axes.items()))))
def test_every_cell_has_one_square_of_its_own(axes: list[dict[str, str]]) -> None:
    cells = tuple(_cell(**values) for values in axes)
    found = tables(Matrix(RUN, cells))
    squares = [square.cells for table in found for row in table.squares for square in row if square.cells]
    assert sorted(cell.id for square in squares for cell in square) == sorted(cell.id for cell in cells)
    assert all(len(square) == 1 for square in squares)
    for table in found:
        assert list(table.rows) == sorted(table.rows, key=lambda row: _place(row, table.layout.rows, cells))


def _place(row: tuple[str, ...], axes: tuple[str, ...], cells: tuple[MatrixCell, ...]) -> list[int]:
    values = axis_values(cells)
    return [values[axis].index(value) for axis, value in zip(axes, row, strict=True)]


def test_of_which_run_a_verdict_is_makes_no_row() -> None:
    own, carried = _cell("boot", guest="web", host="4.20"), _cell("boot", guest="web", host="4.20", **{FROM: "first"})
    assert default_layout("boot", [own, carried]) == Layout(("guest",), ("host",))
    (table,) = tables(Matrix(RUN, (own, carried)), rows=(FROM,))
    assert table.rows == (("",), ("first",)), "but whoever asks for it gets it"
