"""``known.yaml``: failures that are accepted until a day, each with a link to why.

::

    known:
      - cell: scenarios/quick.lab.yaml::ntfs3-*-compressed-*   an id, or a pattern of ids (*, ?)
        link: https://bugs.example.org/1                       where it is followed up
        expires: 2027-01-31                                    the last day on which it is accepted
        because: what is wrong, in a few words
        checks: [checker:ntfsck, "step:append/*"]              these alone; may be left out

A pattern of a check is one of its name, or of its name and what was observed: ``kernel-log: *ntfs_evict_big_inode*``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from lab.matrix.compare import Known
from lab.matrix.model import Matrix
from lab.scenario.document import Node, read
from lab.scenario.load import read_text
from lab.scenario.mistake import Mark, Mistakes, suggest
from lab.verdict import Outcome

__all__ = ["Accepted", "load", "outlived", "parse"]

_NEEDED = ("cell", "link", "expires", "because")
_KEYS = (*_NEEDED, "checks")


@dataclass(frozen=True, slots=True)
class Accepted(Known):
    """An accepted failure, why it is one, and where that is written."""

    because: str = ""
    place: str = ""


def load(path: Path, *, root: Path) -> tuple[Accepted, ...]:
    """The accepted failures of a file.

    Raises:
        ScenarioError: it cannot be read or holds mistakes; one line ``file:line:column: what`` for each.
    """
    name, text = read_text(path, root=root)
    return parse(text, path=name)


def outlived(matrix: Matrix, accepted: Iterable[Accepted]) -> list[str]:
    """One sentence for each entry whose failure is gone: every cell that it names was tried and passes."""
    return [
        f"{entry.place}: {entry.cell} passes, though accepted as a failure ({entry.link})"
        for entry in accepted
        if {cell.outcome for cell in matrix.cells if entry.names(cell.id)} == {Outcome.PASS}
    ]


def parse(text: str, *, path: str) -> tuple[Accepted, ...]:
    """The accepted failures in ``text``; a file of comments alone accepts none. Raises like :func:`load`."""
    mistakes = Mistakes(path)
    if not any(line.strip() and not line.lstrip().startswith("#") for line in text.splitlines()):
        return ()
    read_mistakes = Mistakes(path)
    trees = read(text, read_mistakes)
    for mark, message in read_mistakes.found:
        # The reader of scenario files explains what a scenario is; here that would mislead.
        what, of_scenario, _ = message.partition("; a scenario is a map")
        mistakes.add(mark, f"{what}; known failures stand in a list under `known:`" if of_scenario else message)
    found = [entry for tree in trees for entry in _entries(tree, mistakes)]
    mistakes.check()
    return tuple(found)


def _entries(tree: Node, mistakes: Mistakes) -> list[Accepted]:
    assert isinstance(tree.value, dict)  # noqa: S101 - read() lets nothing else through
    for key, node in tree.value.items():
        if key != "known":
            mistakes.add(node.key, f"unknown key {key!r}; known failures stand in a list under `known:`")
    listed = tree.value.get("known")
    if listed is None:
        return []
    if not isinstance(listed.value, list):
        if listed.value is not None:  # `known:` alone is an empty list
            mistakes.add(listed.mark, "known: must be a list")
        return []
    return [entry for node in listed.value if (entry := _entry(node, mistakes)) is not None]


def _entry(node: Node, mistakes: Mistakes) -> Accepted | None:
    if not isinstance(node.value, dict):
        mistakes.add(node.mark, f"an entry is a map with the keys {', '.join(_NEEDED)}")
        return None
    before = len(mistakes.found)
    for key, below in node.value.items():
        if key not in _KEYS:
            mistakes.add(below.key, f"unknown key {key!r}{suggest(key, _KEYS)}")
    texts = {key: _text(node, key, mistakes) for key in _NEEDED}
    checks = _checks(node.child("checks"), mistakes)
    expires = _day(texts["expires"], node.at(("expires",)).mark, mistakes)
    if len(mistakes.found) > before or expires is None:
        return None
    place = node.mark.place(mistakes.path)
    return Accepted(texts["cell"], texts["link"], expires, texts["because"], place, checks=checks)


def _text(node: Node, key: str, mistakes: Mistakes) -> str:
    child = node.child(key)
    if child is None:
        mistakes.add(node.mark, f"needs {key}")
        return ""
    if not isinstance(child.value, str) or not child.value.strip():
        mistakes.add(child.mark, f"{key}: must be a text")
        return ""
    return " ".join(child.value.split())


def _checks(node: Node | None, mistakes: Mistakes) -> tuple[str, ...]:
    if node is None:
        return ()
    nodes = node.value if isinstance(node.value, list) else [node]
    for each in nodes:
        if not isinstance(each.value, str) or not each.value.strip():
            mistakes.add(each.mark, "checks: must be names of checks, or patterns of them")
    if not nodes:
        mistakes.add(node.mark, "checks: must name some; leave it out to accept whatever fails")
    return tuple(" ".join(each.value.split()) for each in nodes if isinstance(each.value, str))


def _day(text: str, mark: Mark, mistakes: Mistakes) -> date | None:
    if not text:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        mistakes.add(mark, f"expires: {text!r} is not a day; write it like 2027-01-31")
        return None
