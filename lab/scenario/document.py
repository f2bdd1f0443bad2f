"""YAML text -> trees of plain values that remember where each of them stands. The only module that imports ruamel.yaml.

ruamel's composed nodes are used rather than the dictionaries it constructs from them: they carry a mark for every key
(repeated ones too) and the text as written for every scalar (``6.10``), and composing runs no constructor, so no tag of
a file can make anything but text, numbers, true/false, lists and maps.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.nodes import MappingNode, ScalarNode, SequenceNode
from ruamel.yaml.nodes import Node as YamlNode
from ruamel.yaml.reader import ReaderError

from lab.scenario.mistake import Mark, Mistakes

__all__ = ["Loc", "Node", "Plain", "read"]

Loc = tuple[str | int, ...]
"""The way from a document's root to a value: keys and list indices."""

Plain = str | float | bool | list["Plain"] | dict[str, "Plain"] | None

MAX_NODES = 50_000
"""Far more than a scenario needs; stops aliases of aliases that unfold to billions of values."""

_TAG = "tag:yaml.org,2002:"
_BOOLS = {"true": True, "yes": True, "on": True, "y": True}  # the last three only under %YAML 1.1


@dataclass(slots=True)
class Node:
    """A value, the place where it stands, the place of its key (its own in a list), and a scalar's text as written.

    Mutable, because a tree with mistakes is mended to look for more of them.
    """

    value: str | float | bool | list[Node] | dict[str, Node] | None
    mark: Mark
    key: Mark
    text: str = ""

    @property
    def plain(self) -> Plain:
        """The value without its marks."""
        if isinstance(self.value, dict):
            return {key: node.plain for key, node in self.value.items()}
        if isinstance(self.value, list):
            return [node.plain for node in self.value]
        return self.value

    def at(self, loc: Loc) -> Node:
        """The node at ``loc``, or the nearest above it that exists. What is no list is its own only item."""
        node = self
        for step in loc:
            if isinstance(step, int) and not isinstance(node.value, list):
                continue
            below = node.child(step)
            if below is None:
                return node
            node = below
        return node

    def gaps(self) -> list[Loc]:
        """The ways to all keys without a value."""
        if isinstance(self.value, dict):
            steps: list[tuple[str | int, Node]] = list(self.value.items())
        else:
            steps = list(enumerate(self.value)) if isinstance(self.value, list) else []
        here: list[Loc] = [(step,) for step, below in steps if below.value is None and isinstance(step, str)]
        return here + [(step, *loc) for step, below in steps for loc in below.gaps()]

    def child(self, step: str | int) -> Node | None:
        """The node one step down, if there is one."""
        if isinstance(self.value, dict) and isinstance(step, str):
            return self.value.get(step)
        if isinstance(self.value, list) and isinstance(step, int) and step < len(self.value):
            return self.value[step]
        return None


_FORM = "a scenario is a map that begins with `scenario: what it is about`"


def read(text: str, mistakes: Mistakes, *, form: str = _FORM) -> list[Node]:
    """One tree for each document of ``text``, each of them a map. What is not goes to ``mistakes``; it never raises.

    ``form`` is what a document should be, in words.
    """
    trees = []
    for root in _compose(text, mistakes):
        tree = _Unfolding(mistakes).node(root, _mark(root), ())
        if isinstance(tree.value, dict):
            trees.append(tree)
        else:
            said = "an empty document" if tree.value is None else "no map"
            mistakes.add(tree.mark, f"{said}; {form}")
    if not trees and not mistakes:
        mistakes.add(Mark(1, 1), f"an empty file; {form}")
    return trees


def _compose(text: str, mistakes: Mistakes) -> Iterator[YamlNode]:
    try:
        yield from YAML(typ="rt").compose_all(text)
    except MarkedYAMLError as broken:
        at = broken.problem_mark or broken.context_mark
        mark = Mark(at.line + 1, at.column + 1) if at else Mark(1, 1)
        mistakes.add(mark, f"not YAML: {' '.join(str(broken.problem or broken.context or 'unreadable').split())}")
    except ReaderError as broken:
        before = text[: broken.position] if isinstance(broken.position, int) else ""
        mark = Mark(before.count("\n") + 1, len(before) - before.rfind("\n"))
        mistakes.add(mark, "not YAML: a control character, which a scenario may not hold")
    except RecursionError:
        mistakes.add(Mark(1, 1), "nested too deeply")
    except Exception as broken:  # noqa: BLE001 - the scanner lets out whatever Python raises on malformed escapes
        mistakes.add(Mark(1, 1), f"not YAML: {' '.join(str(broken).split()) or type(broken).__name__}")


def _mark(node: YamlNode) -> Mark:
    return Mark(node.start_mark.line + 1, node.start_mark.column + 1)


@dataclass(slots=True)
class _Unfolding:
    """Turns one composed document into nodes; aliases are copied, up to ``MAX_NODES`` values."""

    mistakes: Mistakes
    count: int = 0

    def node(self, found: YamlNode, key: Mark, above: tuple[int, ...]) -> Node:
        self.count += 1
        mark = _mark(found)
        if id(found) in above:
            self.mistakes.add(mark, "an alias that contains itself")
            return Node(None, mark, key)
        if self.count > MAX_NODES:
            if self.count == MAX_NODES + 1:
                self.mistakes.add(key, f"more than {MAX_NODES} values once aliases are followed")
            return Node(None, mark, key)
        above = (*above, id(found))
        if isinstance(found, MappingNode):
            return Node(self._map(found, above), mark, key)
        if isinstance(found, ScalarNode):
            return self._scalar(found, mark, key)
        return Node([self.node(item, _mark(item), above) for item in found.value], mark, key)

    def _map(self, found: MappingNode, above: tuple[int, ...]) -> dict[str, Node]:
        own: dict[str, Node] = {}
        merged: dict[str, Node] = {}
        for key, value in found.value:
            mark = _mark(key)
            if key.tag == f"{_TAG}merge":
                merged = {**self._merge(value, mark, above), **merged}
            elif not isinstance(key, ScalarNode):
                self.mistakes.add(mark, "a key must be a text, not a list or a map")
            elif key.value in own:
                first = own[key.value].key
                self.mistakes.add(mark, f"key {key.value!r} stands twice in one map; the first is at {first}")
            else:
                if key.tag != f"{_TAG}str":
                    self.mistakes.add(mark, f"a key must be a text; write {_quoted(key.value)}")
                own[key.value] = self.node(value, mark, above)
        return {**merged, **own}

    def _merge(self, value: YamlNode, mark: Mark, above: tuple[int, ...]) -> dict[str, Node]:
        sources = value.value if isinstance(value, SequenceNode) else [value]
        merged: dict[str, Node] = {}
        for source in sources:
            tree = self.node(source, mark, above)
            if isinstance(tree.value, dict):
                merged = {**tree.value, **merged}
            else:
                self.mistakes.add(mark, "<< merges maps only")
        return merged

    def _scalar(self, found: ScalarNode, mark: Mark, key: Mark) -> Node:
        text = str(found.value)
        if found.style == ">":
            text = text.replace("\a", "")  # ruamel's round-trip scanner marks the folds with it; no file can hold one
        match str(found.tag).removeprefix(_TAG):
            case "str" | "timestamp" | "value":
                return Node(text, mark, key, text)
            case "null":
                # An empty value stands nowhere; its key does.
                return Node(None, mark if text else key, key, text)
            case "bool":
                return Node(_BOOLS.get(text.lower(), False), mark, key, text)
            case "int" | "float" as kind:
                return Node(_number(text, kind), mark, key, text)
            case _:
                self.mistakes.add(mark, f"tag {str(found.tag)!r} has no meaning in a scenario")
                return Node(text, mark, key, text)


def _number(text: str, kind: str) -> float:
    """A number. Only ``iterations`` takes one, written in plain decimals; elsewhere only its being one matters."""
    try:
        return int(text) if kind == "int" else float(text)
    except (ValueError, OverflowError):
        return float("nan")  # hexadecimal, octal, .inf, or thousands of digits


def _quoted(text: str) -> str:
    return f'"{text}"'
