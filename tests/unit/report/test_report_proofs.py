"""The table of faults: what was missed stands out, in any encoding."""

from __future__ import annotations

import io

from lab.checks.proof import CONTROL, Proof
from lab.report.proofs_table import proofs_sentence, show

PROOFS = (
    Proof("clock", "stepped-clock", "it is stepped", caught=True, red=("clock", "kernel-log"), seconds=14.2),
    Proof("no-leak", "leaked-loop", "a loop device is left", red=("clock",), seen="clock: +2 s", seconds=9),
    Proof("io-moves", "frozen-backend", "the disk is frozen", trouble="nobody knows how to freeze \x1b[31m"),
    Proof("", CONTROL, "nothing", seconds=30),
)


def shown(encoding: str, width: int = 100) -> str:
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding=encoding)
    show(PROOFS, untried=("reboot",), accelerator="tcg", file=file, width=width)
    file.flush()
    return raw.getvalue().decode(encoding)


def test_a_table_with_what_was_missed_in_full() -> None:
    said = shown("utf-8")
    rows = [[cell.strip() for cell in line.strip("│").split("│")] for line in said.splitlines() if "│" in line]
    assert rows == [
        ["clock", "stepped-clock", "✔ caught", "kernel-log", "14.2 s"],
        ["no-leak", "leaked-loop", "✘ missed", "clock", "9.0 s"],
        ["io-moves", "frozen-backend", "! unproven", "", "0.0 s"],
        ["control", "none", "✔ green", "", "30.0 s"],
        ["", "reboot", "not tried", "", ""],
    ]
    assert "✘ missed  no-leak: leaked-loop, a loop device is left\n    clock: +2 s\n" in said
    assert (
        "! unproven  io-moves: frozen-backend, the disk is frozen\n    nobody knows how to freeze \\x1b[31m\n" in said
    )
    assert said.splitlines()[-2:] == [
        "emulated (tcg): functional evidence, not performance",
        "1 of 4 faults caught by the name of their invariant; control: green",
    ]


def test_ascii_where_there_is_no_more() -> None:
    said = shown("ascii", 80)
    assert "+ caught" in said
    assert "X missed" in said
    assert max(len(line) for line in said.splitlines()) <= 80


def test_a_control_that_was_not_tried_is_not_green() -> None:
    untried = proofs_sentence((), ("stepped-clock", CONTROL))
    assert untried == "0 of 1 faults caught by the name of their invariant; control: not tried"
