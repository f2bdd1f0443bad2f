"""Complaints of the schema, in the words of somebody who writes scenario files."""

from __future__ import annotations

from lab.scenario.document import Node
from lab.scenario.mistake import Mark, suggest
from lab.scenario.model import Complaint, Model, keys_at

__all__ = ["NO_VALUE", "message", "place"]

NO_VALUE = "has no value"


def place(tree: Node, complaint: Complaint) -> Mark:
    """Where the complaint belongs: a key that is wrong or holds too little, else the value."""
    node = tree.at(complaint.loc)
    if complaint.kind in {"extra_forbidden", "missing", "too_short", "too_long"} or complaint.loc[-1:] == ("[key]",):
        return node.key
    return node.mark


def message(model: type[Model], tree: Node, complaint: Complaint) -> str:
    """``where.it.is: what is wrong; what to write instead``."""
    steps = [step for step in complaint.loc if isinstance(step, str) and step != "[key]"]  # indices show in the place
    if complaint.kind in {"extra_forbidden", "missing"}:
        return ": ".join(filter(None, (".".join(steps[:-1]), _key(model, complaint, steps[-1]))))
    return ": ".join(filter(None, (".".join(steps), _what(tree.at(complaint.loc), complaint))))


def _key(model: type[Model], complaint: Complaint, name: str) -> str:
    if complaint.kind == "missing":
        return f"key {name!r} is missing"
    known = keys_at(model, complaint.loc[:-1])
    return f"unknown key {name!r}{suggest(name, known) or '; known here: ' + ', '.join(known)}"


def _what(node: Node, complaint: Complaint) -> str:
    if complaint.value is None:
        return NO_VALUE
    said = _said(node, complaint)
    number = isinstance(node.value, int | float) and not isinstance(node.value, bool)
    words = {
        "string_type": _quote(node) if number else f"{said} where a text is expected",
        "literal_error": _not_one_of(node, complaint),
        "bool_type": f"{said} is neither true nor false",
        "model_type": _no_map(node, complaint, number=number),
        "dict_type": _no_map(node, complaint, number=number),
        "too_short": "needs at least one",
        "too_long": "needs exactly one",
        "no_count": f"{said} {complaint.words}",
    }
    return words.get(complaint.kind, complaint.words)


def _quote(node: Node) -> str:
    return f'{node.text} without quotes is a number{_lost(node)}; write "{node.text}"'


def _lost(node: Node) -> str:
    """What YAML makes of a number that looks like a version, if that is something else."""
    return f" ({node.value:g})" if isinstance(node.value, float) and f"{node.value:g}" != node.text else ""


def _no_map(node: Node, complaint: Complaint, *, number: bool) -> str:
    example = ", such as {release: bookworm}" if {"kernel", "kernels"} & set(complaint.loc) else ""
    if number:
        return f"{_quote(node)} if a text is meant, but here a map is expected{example}"
    return f"{_said(node, complaint)} where a map is expected{example}"


def _not_one_of(node: Node, complaint: Complaint) -> str:
    known = tuple(sorted(complaint.expected.replace(" or ", ", ").replace("'", "").split(", ")))
    hint = suggest(complaint.value, known) if isinstance(complaint.value, str) else ""
    return f"{_said(node, complaint)} is not one of {', '.join(known)}{hint}"


def _said(node: Node, complaint: Complaint) -> str:
    match complaint.value:
        case str() as text:
            return repr(text)
        case list() | tuple():
            return "a list"
        case dict():
            return "a map"
        case _:
            return node.text or repr(complaint.value)
