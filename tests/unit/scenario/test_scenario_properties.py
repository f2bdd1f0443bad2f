"""Properties that hold for every scenario, and for every text that is none."""

from __future__ import annotations

import re
from itertools import combinations
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lab.errors import ScenarioError
from lab.scenario.load import expansions, parse
from lab.scenario.pairwise import cover, untested

QUICK = (Path(__file__).parents[3] / "scenarios" / "quick.lab.yaml").read_text(encoding="utf-8")
LINE = re.compile(r"q\.lab\.yaml:[1-9][0-9]*:[1-9][0-9]*: \S.*")

# `database=None`: a failing example is printed, and nothing is left in the checkout.
light = settings(max_examples=60, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])


def some(*values: str) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(values), min_size=1, unique=True)


@st.composite
def ntfs(draw: st.DrawFn) -> tuple[str, int]:
    """An NTFS scenario and the number of its combinations."""
    kernels = draw(some("bookworm", "trixie", "forky", "sid"))
    drivers = draw(some("ntfs", "ntfs3", "ntfs-3g", "a-b", "a"))
    volumes = draw(some("clean", "b-clean", "b", "dirty"))
    operations = draw(some("read", "write"))
    types = draw(some("pv", "pvh", "hvm"))
    memory = draw(some("256M", "512M", "1G"))
    text = (
        f'scenario: s\nhosts: {{lab: {{xen: "4.20"}}}}\nkernels: [{", ".join(f"{{release: {k}}}" for k in kernels)}]\n'
        f"drivers: [{', '.join(drivers)}]\nvolumes: [{', '.join(volumes)}]\noperations: [{', '.join(operations)}]\n"
        f"guest: {{type: [{', '.join(types)}], memory: [{', '.join(memory)}]}}\n"
    )
    return text, len(kernels) * len(drivers) * len(volumes) * len(operations) * len(types) * len(memory)


@light
@given(ntfs())
def test_without_excludes_there_are_as_many_cells_as_combinations_with_names_of_their_own(
    made: tuple[str, int],
) -> None:
    text, count = made
    cells = parse(text, path="q.lab.yaml")
    assert len(cells) == count
    assert len({cell.name for cell in cells}) == count
    assert len({tuple(cell.axes.items()) for cell in cells}) == count
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+", cell.name) for cell in cells)


@light
@given(ntfs())
def test_pairwise_covers_every_pair_and_counts_the_rest(made: tuple[str, int]) -> None:
    text, count = made
    (whole,) = expansions(text, path="q.lab.yaml")
    (paired,) = expansions(f"{text}pairwise: true\n", path="q.lab.yaml")
    assert len(paired.cells) + paired.left_out == count

    def pairs(expansion: object) -> set[object]:
        assert isinstance(expansion, type(whole))
        return {pair for cell in expansion.cells for pair in combinations(_varying(cell.axes), 2)}

    def _varying(axes: object) -> list[tuple[str, str]]:
        assert isinstance(axes, dict)
        return [item for item in axes.items() if item[0] in {"kernel", "driver", "volume", "operation"}]

    assert pairs(paired) == pairs(whole)


@light
@given(st.lists(st.fixed_dictionaries({axis: st.sampled_from("xyz") for axis in "abcd"}), max_size=30))
def test_a_cover_of_any_rows_holds_all_their_pairs(rows: list[dict[str, str]]) -> None:
    chosen = cover(rows)

    def pairs(held: list[dict[str, str]]) -> set[object]:
        return {pair for row in held for pair in combinations(sorted(row.items()), 2)}

    assert pairs([rows[index] for index in chosen]) == pairs(rows)
    assert untested(rows, [rows[index] for index in chosen]) == ()
    assert chosen == sorted(set(chosen))
    assert cover(rows) == chosen


@light
@given(
    st.lists(st.fixed_dictionaries({axis: st.sampled_from("xyz") for axis in "abcd"}), min_size=1, max_size=20),
    st.data(),
)
def test_a_pair_is_untested_if_a_row_has_it_and_no_chosen_row(rows: list[dict[str, str]], data: st.DataObject) -> None:
    chosen = data.draw(st.lists(st.sampled_from(rows)))
    varying = [axis for axis in "abcd" if len({row[axis] for row in rows}) > 1]

    def pairs(held: list[dict[str, str]]) -> set[object]:
        size = min(2, len(varying))
        rows = [[(axis, row[axis]) for axis in varying] for row in held]
        return {frozenset(pair) for row in rows for pair in combinations(row, size)}

    assert {frozenset(pair) for pair in untested(rows, chosen)} == pairs(rows) - pairs(chosen)


def judged(text: str) -> None:
    """Parse; whatever is wrong must come as lines with places."""
    try:
        parse(text, path="q.lab.yaml")
    except ScenarioError as error:
        lines = error.message.split("\n")
        assert lines == sorted(lines, key=lambda line: [int(part) for part in line.split(":")[1:3]])
        for line in lines:
            assert LINE.fullmatch(line), line


@light
@given(st.text(st.characters() | st.sampled_from(list("{}[]:,-&*!|>'\"%#?\n \t")), max_size=80))
def test_any_text_is_a_scenario_or_a_scenario_error(text: str) -> None:
    judged(text)


TOKENS = ["", ":", "{", "}", "[", "]", "- ", "\n", "---\n", "&a ", "*a", "<<: ", "6.10", "null", "~", "!!x ", '"', "#"]
TOKENS += [
    "{}",
    "[]",
    "true",
    "0x1f",
    "1e999",
    "? ",
    "|",
    "migrate",
    "kernel",
    "live",
    "[[1]]",
    "\t",
    "\\",
    "'",
    "9" * 20,
]


@settings(light, max_examples=150)
@given(
    st.lists(st.tuples(st.integers(0, len(QUICK)), st.integers(0, 12), st.sampled_from(TOKENS)), min_size=1, max_size=4)
)
def test_a_mutated_scenario_is_a_scenario_or_a_scenario_error(edits: list[tuple[int, int, str]]) -> None:
    text = QUICK
    for place, length, token in edits:
        text = text[:place] + token + text[place + length :]
    judged(text)


def test_hostile_texts() -> None:
    for text in (
        '"\\ud800": 1',
        'scenario: "\\ud800"',
        '"\\UFFFFFFFF"',
        "a: \ud800",
        "%YAML 1.1\n---\nhosts: 1:20",
        "%FOO x",
        "? |\n  two\n  lines\nscenario: x",
        "? >\n  folded\n  lines\nscenario: x",
    ):
        judged(text)
    for depth in (90, 150, 250, 400):
        judged(f"scenario: {'[' * depth}{']' * depth}")
        judged(f"hosts: {'{a: ' * depth}1{'}' * depth}")
