"""The table of obstacles: what did not hold stands in full, in any encoding."""

from __future__ import annotations

from lab.checks.setback import Encounter
from lab.report.obstacles_text import obstacles_sentence, render
from lab.verdict import Check, Outcome

HELD = Check("lives-once", Outcome.PASS, "on one host", "on one host")
ENCOUNTERS = (
    Encounter("no-bridge", "it is renamed", (HELD, HELD), seconds=84.2),
    Encounter("name-taken", "it is taken", (HELD, Check("no-leak", Outcome.FAIL, "nothing", "a loop \x1b[31m")), 9.0),
    Encounter("power-cut", "it is cut", trouble="no hosts"),
)


def test_a_row_each_and_what_did_not_hold() -> None:
    assert render(ENCOUNTERS, untried=("unreachable",), accelerator="tcg").splitlines() == [
        "obstacle     checks  outcome    took",
        "no-bridge    2 of 2  ✔ pass     1 m 24 s",
        "name-taken   1 of 2  ✘ fail     9.0 s",
        "power-cut            ! error    0.0 s",
        "unreachable          not tried",
        "",
        "✘ fail  name-taken: it is taken",
        "    no-leak: expected nothing, observed a loop \\x1b[31m",
        "",
        "! error  power-cut: it is cut",
        "    no hosts",
        "",
        "emulated (tcg): functional evidence, not performance",
        "1 of 4 obstacles named, survived and left behind",
    ]


def test_ascii_where_there_is_no_more() -> None:
    said = render(ENCOUNTERS, encoding="ascii")
    assert "X fail" in said
    assert said.isascii()
    assert obstacles_sentence(()) == "0 of 0 obstacles named, survived and left behind"
