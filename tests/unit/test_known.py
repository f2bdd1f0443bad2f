from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from lab.errors import ScenarioError
from lab.known import Accepted, load, parse

GOOD = """\
# what we live with
known:
  - cell: "*::ntfs3-*"
    link: https://bugs.example.org/1
    expires: 2027-01-31
    because: >
      the driver forgets
      the hole
"""


def test_entries_are_read_with_their_places() -> None:
    assert parse(GOOD, path="known.yaml") == (
        Accepted(
            "*::ntfs3-*",
            "https://bugs.example.org/1",
            date(2027, 1, 31),
            "the driver forgets the hole",
            "known.yaml:3:5",
        ),
    )


def test_an_entry_may_be_about_some_checks_only() -> None:
    text = """\
known:
  - {cell: a, link: b, expires: 2027-01-31, because: c, checks: [checker:ntfsck, "step:append/*"]}
  - {cell: a, link: b, expires: 2027-01-31, because: c, checks: kernel-log}
"""
    assert [entry.checks for entry in parse(text, path="known.yaml")] == [
        ("checker:ntfsck", "step:append/*"),
        ("kernel-log",),
    ]


def test_checks_that_are_none_are_named_with_their_places() -> None:
    text = """\
known:
  - {cell: a, link: b, expires: 2027-01-31, because: c, checks: []}
  - {cell: a, link: b, expires: 2027-01-31, because: c, checks: [good, 7, ""]}
  - {cell: a, link: b, expires: 2027-01-31, because: c, checks: {a: b}}
  - {cell: a, link: b, expires: 2027-01-31, because: c, check: a}
"""
    with pytest.raises(ScenarioError) as caught:
        parse(text, path="known.yaml")
    assert str(caught.value).splitlines() == [
        "known.yaml:2:65: checks: must name some; leave it out to accept whatever fails",
        "known.yaml:3:72: checks: must be names of checks, or patterns of them",
        "known.yaml:3:75: checks: must be names of checks, or patterns of them",
        "known.yaml:4:65: checks: must be names of checks, or patterns of them",
        "known.yaml:5:57: unknown key 'check'; did you mean 'checks'?",
    ]


@pytest.mark.parametrize("text", ["", "# nothing\n", "known: []\n", "known:\n"])
def test_nothing_may_be_known(text: str) -> None:
    assert parse(text, path="known.yaml") == ()


def test_all_mistakes_are_named_with_their_places() -> None:
    text = """\
known:
  - {cell: a, link: b, expires: 31.1.2027, because: c}
  - {cell: 7, link: b, expires: 2027-02-30, becuase: c}
  - just a text
more: 1
"""
    with pytest.raises(ScenarioError) as caught:
        parse(text, path="known.yaml")
    assert str(caught.value).splitlines() == [
        "known.yaml:2:33: expires: '31.1.2027' is not a day; write it like 2027-01-31",
        "known.yaml:3:5: needs because",
        "known.yaml:3:12: cell: must be a text",
        "known.yaml:3:33: expires: '2027-02-30' is not a day; write it like 2027-01-31",
        "known.yaml:3:45: unknown key 'becuase'; did you mean 'because'?",
        "known.yaml:4:5: an entry is a map with the keys cell, link, expires, because",
        "known.yaml:5:1: unknown key 'more'; known failures stand in a list under `known:`",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a\n", "known.yaml:1:1: no map; known failures stand in a list under `known:`"),
        ("known: 7\n", "known.yaml:1:8: known: must be a list"),
    ],
)
def test_what_is_no_such_file_is_said(text: str, message: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        parse(text, path="known.yaml")
    assert str(caught.value) == message


def test_a_file_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=r"known\.yaml:1:1: cannot be read: No such file or directory"):
        load(tmp_path / "known.yaml", root=tmp_path)
