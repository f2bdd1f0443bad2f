"""The scenario files of the migration matrix: what they promise is in them."""

from __future__ import annotations

from collections import Counter
from itertools import permutations
from pathlib import Path

import pytest

from lab.scenario.cell import Cell, Limits, MigrationRequest
from lab.scenario.load import Expansion, expansions

FOLDER = Path(__file__).parents[3] / "scenarios" / "migration"
PAIRS = set(permutations(("4.14", "4.17", "4.20"), 2))


def expanded(name: str) -> tuple[Expansion, ...]:
    path = FOLDER / f"{name}.lab.yaml"
    return expansions(path.read_text(encoding="utf-8"), path=path.name)


def cells(name: str) -> list[Cell]:
    return [cell for expansion in expanded(name) for cell in expansion.cells]


def moves(found: list[Cell]) -> list[MigrationRequest]:
    return [cell.request for cell in found if isinstance(cell.request, MigrationRequest)]


@pytest.fixture(scope="module")
def full() -> list[Cell]:
    return cells("full")


def test_the_full_matrix_counts() -> None:
    assert {one.scenario: len(one.cells) for one in expanded("full")} == {
        "every guest moves between every two versions, cold and live": 72,
        "every guest is saved on one version and restored on another": 24,
        "every guest moves live and comes home again": 24,
        "a 32-bit kernel stays behind": 24,
        "a 32-bit kernel is brought back": 24,
        "a host with a 32-bit dom0 is given up": 8,
    }


def test_every_guest_moves_in_every_way_between_every_two_versions(full: list[Cell]) -> None:
    plain = [move for move in moves(full) if not move.arrive and not move.back and move.source.dom0 == "amd64"]
    found = Counter(
        ((move.source.xen, move.target.xen), move.how, move.guest.userland, move.guest.kernel.arch, move.guest.type)
        for move in plain
    )
    assert found == Counter(
        (pair, how, userland, "amd64", type_)
        for pair in PAIRS
        for how in ("cold", "cold-shared", "save-restore", "live")
        for userland in ("i386", "amd64")
        for type_ in ("pv", "pvh")
    )


def test_kernels_change_their_architecture_in_both_directions(full: list[Cell]) -> None:
    changing = [move for move in moves(full) if move.arrive]
    found = Counter(
        (
            (move.source.xen, move.target.xen),
            move.how,
            (move.guest.kernel.arch, move.guest.type),
            (move.arrive.kernel.arch, move.arrive.type),
        )
        for move in changing
        if move.arrive
    )
    wanted = [(("i386", "pvh"), ("amd64", "pv")), (("i386", "pvh"), ("amd64", "pvh"))]
    wanted += [(there, here) for here, there in wanted]
    assert found == Counter(
        (pair, how, *change) for pair in PAIRS for how in ("cold", "cold-shared") for change in wanted
    )
    assert {move.guest.userland for move in changing} == {"i386"}


def test_all_come_home_and_old_dom0s_are_given_up(full: list[Cell]) -> None:
    back = [move for move in moves(full) if move.back]
    assert {(move.source.xen, move.target.xen) for move in back} == PAIRS
    assert {move.how for move in back} == {"live"}
    old = [move for move in moves(full) if move.source.dom0 == "i386"]
    assert {(move.source.name, move.target.name) for move in old} == {
        ("xen-4.14-dom0-i386", "xen-4.17"),
        ("xen-4.14-dom0-i386", "xen-4.20"),
    }


def test_no_32_bit_kernel_is_pv(full: list[Cell]) -> None:
    guests = {guest for move in moves(full) for guest in (move.guest, move.arrive) if guest}
    assert {guest.type for guest in guests if guest.kernel.arch == "i386"} == {"pvh"}


def test_the_nightly_file_is_the_full_one_in_pairs(full: list[Cell]) -> None:
    text = (FOLDER / "nightly.lab.yaml").read_text(encoding="utf-8")
    assert _scenarios(text.replace("pairwise: true\n", "")) == _scenarios((FOLDER / "full.lab.yaml").read_text("utf-8"))
    nightly = expanded("nightly")
    assert all(one.untested == () for one in nightly)
    assert {one.scenario: len(one.cells) for one in nightly} == {
        "every guest moves between every two versions, cold and live": 10,
        "every guest is saved on one version and restored on another": 8,
        "every guest moves live and comes home again": 8,
        "a 32-bit kernel stays behind": 8,
        "a 32-bit kernel is brought back": 8,
        "a host with a 32-bit dom0 is given up": 8,
    }
    assert {cell.name for cell in cells("nightly")} <= {cell.name for cell in full}


def _scenarios(text: str) -> str:
    return text[text.index("scenario: ") :]


def test_the_short_file_is_a_first_look(full: list[Cell]) -> None:
    short = {cell.name: cell for cell in cells("short")}
    assert list(short) == [
        "cold-4.17-to-4.20-web32-pv",
        "cold-shared-4.17-to-4.20-web32-pv",
        "live-4.17-to-4.20-web32-pv",
        "save-restore-4.17-to-4.20-web32-pv",
        "live-4.20-to-4.14-web64-pv",
        "cold-4.17-to-4.20-pae32-pvh-as-bookworm-amd64-cloud-pv",
    ]
    same = {cell.name: cell for cell in full if cell.name in short}
    assert {name: (cell.request, cell.limits) for name, cell in short.items()} == {
        name: (cell.request, cell.limits) for name, cell in same.items()
    }


@pytest.mark.parametrize("name", ["full", "nightly", "short"])
def test_only_saved_guests_may_be_silent_for_long(name: str) -> None:
    for cell in cells(name):
        if cell.axes["source"] != "4.14-dom0-i386":
            how, gap = cell.axes["how"], cell.limits.network_gap
            # Who is off on the way has no downtime: what cells of that kind bear is what they share a scenario with.
            assert gap in {"save-restore": {120.0}, "live": {60.0}}.get(how, {5.0, 60.0}), cell.name
            assert cell.limits == Limits(gap, gap, cell.limits.cell, fsync=5.0, clock=1.0), cell.name


@pytest.mark.parametrize("name", ["full", "nightly", "short"])
def test_modules_are_the_same_everywhere(name: str) -> None:
    modules = {(move.modules.load, move.modules.load_after, move.modules.delivery) for move in moves(cells(name))}
    assert modules == {(("loop", "fuse", "dm-mod"), ("isofs",), "push")}
