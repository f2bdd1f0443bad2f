"""Patterns that stand for names, and volumes that one driver writes and another reads."""

from __future__ import annotations

import pytest

from lab.errors import ScenarioError
from lab.scenario.cell import Cell, NtfsRequest
from lab.scenario.known import Known, fits
from lab.scenario.load import parse

TEXT = """\
scenario: volumes
stage: microvm
kernels: [{release: trixie}, {release: forky}]
drivers: [ntfs3]
volumes: [clean, "names-*"]
operations: [read]
"""
CROSSED = """\
scenario: written by one, read by the other
stage: microvm
kernels: {release: trixie}
drivers: [ntfs3, ntfs-3g]
volumes: clean
operations: [create, rename]
written_by: [ntfs3, ntfs]
"""
KNOWN = Known(
    drivers=frozenset({"ntfs", "ntfs3", "ntfs-3g"}),
    volumes=frozenset({"clean", "names-cjk", "names-case", "hostile-a", "hostile-b"}),
    operations=frozenset({"read", "create", "rename"}),
)


def cells(text: str, known: Known | None = KNOWN) -> tuple[Cell, ...]:
    return parse(text, path="s.lab.yaml", known=known)


def values(found: tuple[Cell, ...], axis: str) -> list[str]:
    return list(dict.fromkeys(cell.axes[axis] for cell in found))


def test_a_pattern_stands_for_every_name_that_fits_in_alphabetical_order() -> None:
    assert values(cells(TEXT), "volume") == ["clean", "names-case", "names-cjk"]
    assert values(cells(TEXT.replace("[ntfs3]", '"*"')), "driver") == ["ntfs", "ntfs-3g", "ntfs3"]
    assert values(cells(TEXT.replace("[read]", '"*"')), "operation") == ["create", "read", "rename"]
    assert values(cells(TEXT.replace("names-*", "hostile-?")), "volume") == ["clean", "hostile-a", "hostile-b"]


def test_a_name_that_also_fits_a_pattern_is_there_once() -> None:
    found = cells(TEXT.replace("clean", "names-cjk"))
    assert values(found, "volume") == ["names-cjk", "names-case"]
    assert len(found) == 2 * 2


def test_nobody_knows_what_patterns_stand_for_without_the_names() -> None:
    assert values(cells(TEXT, None), "volume") == ["clean", "names-*"]


def test_conditions_may_be_patterns_too() -> None:
    everything = TEXT.replace('[clean, "names-*"]', '"*"') + 'exclude: {volume: ["hostile-*", names-cjk]}\n'
    assert values(cells(everything), "volume") == ["clean", "names-case"]
    expecting = TEXT + 'expect: {when: {volume: "names-*"}, outcome: unsupported, because: so}\n'
    assert [cell.expect is not None for cell in cells(expecting)] == [False, True, True] * 2


def test_brackets_mean_themselves() -> None:
    assert fits("disk[1].img", "disk[1]*")
    assert not fits("disk1.img", "disk[1]*")
    assert not fits("Clean", "clean")


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "names-*",
            "nmaes-*",
            (
                "5:18: no volume fits 'nmaes-*'; known: clean, hostile-a, hostile-b, names-case, names-cjk",
                "5:18: no volume fits 'nmaes-*'; known: clean, hostile-a, hostile-b, names-case, names-cjk",
            )[:1],
        ),
        (
            "names-*",
            "n mes*",
            ("5:18: volumes: 'n mes*' is not a name of letters, digits, . _ - (or a pattern with * and ?)",),
        ),
        ("[ntfs3]", '"x*"', ("4:10: no driver fits 'x*'; known: ntfs, ntfs-3g, ntfs3",)),
    ],
)
def test_a_pattern_that_fits_nothing_is_a_mistake(old: str, new: str, expected: tuple[str, ...]) -> None:
    with pytest.raises(ScenarioError) as caught:
        cells(TEXT.replace(old, new))
    assert str(caught.value).splitlines() == [f"s.lab.yaml:{line}" for line in expected]


def test_a_condition_whose_pattern_fits_nothing_is_a_mistake() -> None:
    with pytest.raises(ScenarioError) as caught:
        cells(TEXT + 'exclude: {volume: "odd-*"}\n')
    assert str(caught.value) == (
        "s.lab.yaml:7:10: exclude matches no cell: volume is never 'odd-*' here, only clean, names-case, names-cjk"
    )


def test_what_one_driver_writes_every_driver_reads() -> None:
    found = cells(CROSSED)
    assert [cell.name for cell in found[:3]] == [
        "ntfs3-trixie-clean-create-by-ntfs3",
        "ntfs3-trixie-clean-create-by-ntfs",
        "ntfs3-trixie-clean-rename-by-ntfs3",
    ]
    assert len(found) == 2 * 2 * 2
    assert values(found, "writer") == ["ntfs3", "ntfs"]
    request = found[1].request
    assert isinstance(request, NtfsRequest)
    assert (request.driver, request.writer, request.shelved) == ("ntfs3", "ntfs", "clean+create@ntfs")


def test_without_a_writer_there_is_no_such_axis() -> None:
    assert all("writer" not in cell.axes for cell in cells(TEXT))


def test_every_operation_of_a_writer_is_every_one_that_writes() -> None:
    found = cells(CROSSED.replace("[create, rename]", '"*"'))
    assert values(found, "operation") == ["create", "rename"]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "operations: [create, rename]\n",
            "",
            "6:13: written_by: to read is not to write; name what is written, as in operations: [everything]",
        ),
        ("[ntfs3, ntfs]", "[ntfs9]", "7:14: no driver 'ntfs9'; did you mean 'ntfs'?"),
    ],
)
def test_mistakes_about_writers_have_their_place(old: str, new: str, expected: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        cells(CROSSED.replace(old, new))
    assert str(caught.value) == f"s.lab.yaml:{expected}"
