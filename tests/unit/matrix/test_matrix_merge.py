from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.matrix.merge import merge, weakest_accelerator
from lab.matrix.model import NO_VERDICT, HostFacts, Matrix, MatrixCell, RunFacts
from lab.verdict import Outcome
from tests.unit.report.example import example

HOST = st.builds(HostFacts, st.sampled_from(["a", "b"]), st.just("embedded"), st.sampled_from("12"), *[st.just("")] * 3)
RUN = st.builds(
    RunFacts,
    id=st.sampled_from(["r1", "r2", "r3"]),
    started=st.sampled_from(["2026-11-22T14:30:15+00:00", "2026-11-23T14:30:15+00:00"]),
    seconds=st.sampled_from([1.0, 2.0]),
    command=st.sampled_from(["lab run", "lab run -k x"]),
    revision=st.sampled_from(["", "abc"]),
    accelerator=st.sampled_from(["", "tcg", "kvm", "hardware"]),
    hosts=st.lists(HOST, max_size=2, unique=True).map(tuple),
)
CELL = st.builds(
    MatrixCell,
    id=st.sampled_from(["x::1", "x::2", "x::3"]),
    scenario=st.just("s"),
    kind=st.just("boot"),
    axes=st.just({}),
    outcome=st.sampled_from(Outcome),
    reason=st.sampled_from(["", "why", f"{NO_VERDICT}the run ended before this cell"]),
    attempts=st.sampled_from([1, 2]),
)
MATRIX = st.builds(Matrix, RUN, st.lists(CELL, max_size=3, unique_by=lambda cell: cell.id).map(tuple))


def _canonical(matrix: Matrix) -> Matrix:
    hosts = tuple(sorted(matrix.run.hosts, key=repr))
    return Matrix(replace(matrix.run, hosts=hosts), tuple(sorted(matrix.cells, key=lambda cell: cell.id)))


@settings(max_examples=80, deadline=None)
@given(MATRIX, MATRIX, MATRIX)
def test_merging_is_commutative_associative_and_idempotent(a: Matrix, b: Matrix, c: Matrix) -> None:
    assert _canonical(merge(a, b)) == _canonical(merge(b, a))
    assert _canonical(merge(merge(a, b), c)) == _canonical(merge(a, merge(b, c))) == _canonical(merge(a, b, c))
    assert _canonical(merge(a, a)) == _canonical(a)


@pytest.mark.parametrize(
    ("kept", "lost"),
    [
        (Outcome.PASS, Outcome.SKIPPED),
        (Outcome.UNSUPPORTED, Outcome.PASS),
        (Outcome.ERROR, Outcome.PASS),
        (Outcome.FAIL, Outcome.ERROR),
    ],
)
def test_the_verdict_a_reader_must_not_miss_is_kept(kept: Outcome, lost: Outcome) -> None:
    cell = MatrixCell("x::1", "s", "boot", {}, kept)
    other = replace(cell, outcome=lost)
    run = example().run
    assert merge(Matrix(run, (other,)), Matrix(run, (cell,))).cells == (cell,)


def test_a_verdict_beats_none_and_none_beats_a_skip() -> None:
    run = example().run
    judged = MatrixCell("x::1", "s", "boot", {}, Outcome.PASS)
    never = replace(judged, outcome=Outcome.ERROR, reason=f"{NO_VERDICT}the run ended before this cell")
    skipped = replace(judged, outcome=Outcome.SKIPPED, reason="not selected")
    assert merge(Matrix(run, (never,)), Matrix(run, (judged,))).cells == (judged,)
    assert merge(Matrix(run, (never,)), Matrix(run, (skipped,))).cells == (never,)


def test_nothing_to_merge() -> None:
    with pytest.raises(ValueError, match=r"^no matrix to merge$"):
        merge()


def test_one_emulated_host_makes_the_whole_run_emulated() -> None:
    assert weakest_accelerator(["kvm", "tcg", "hardware"]) == "tcg"
    assert weakest_accelerator(["kvm", "", "hardware"]) == "kvm"
    assert weakest_accelerator([]) == ""
