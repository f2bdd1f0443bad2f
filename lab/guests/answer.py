"""Reading the JSON document of a program that runs elsewhere: every field is there and of its type, or it is said."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from lab.errors import GuestError
from lab.process import Completed, last_line

__all__ = ["Fields", "as_question", "read_answer"]

T = TypeVar("T")

_HINT = "it went down while it was asked, or another version of it runs there; stop it and start anew"


def as_question(request: Mapping[str, object]) -> bytes:
    """A request, as such a program reads it."""
    return json.dumps(request).encode("ascii")


def read_answer(said: Completed, *, who: str, schema: str) -> Fields:
    """What a program has answered.

    Raises:
        GuestError: no answer, half an answer, an answer of something else, or trouble that the program itself reports.
    """
    words = said.text
    try:
        document = json.loads(words)
    except ValueError as broken:
        reason = last_line(said.stderr) or f"{len(words)} characters that are no JSON: {broken}"
        raise GuestError(f"{who}: no answer (status {said.status}): {reason}", hint=_HINT) from broken
    if not isinstance(document, dict) or document.get("schema") != schema:
        raise GuestError(f"{who}: its answer is no {schema}: {words[:80]}", hint=_HINT)
    if "trouble" in document:
        raise GuestError(f"{who}: {document['trouble']}")
    return Fields(document, who)


@dataclass(frozen=True, slots=True)
class Fields:
    """A JSON object at ``place`` of an answer. Each method raises GuestError where a field is not what it must be."""

    fields: Mapping[str, Any]
    place: str

    def real(self, name: str) -> float:
        """A number."""
        found = self._field(name)
        return float(self._must(name, found, not isinstance(found, bool) and isinstance(found, int | float), "number"))

    def whole(self, name: str) -> int:
        """A whole number."""
        found = self._field(name)
        return int(self._must(name, found, not isinstance(found, bool) and isinstance(found, int), "whole number"))

    def text(self, name: str) -> str:
        """A text."""
        found = self._field(name)
        return str(self._must(name, found, isinstance(found, str), "text"))

    def flag(self, name: str) -> bool:
        """True or false."""
        found = self._field(name)
        return bool(self._must(name, found, isinstance(found, bool), "true or false"))

    def object(self, name: str) -> Fields:
        """An object."""
        found = self._field(name)
        return Fields(self._must(name, found, isinstance(found, dict), "object"), f"{self.place}: {name}")

    def objects(self, name: str) -> tuple[Fields, ...]:
        """A list of objects."""
        found = self._field(name)
        self._must(name, found, isinstance(found, list) and all(isinstance(one, dict) for one in found), "list")
        return tuple(Fields(one, f"{self.place}: {name}[{number}]") for number, one in enumerate(found))

    def wholes(self, name: str) -> tuple[int, ...]:
        """A list of whole numbers."""
        found = self._field(name)
        right = isinstance(found, list) and all(isinstance(one, int) for one in found)
        return tuple(self._must(name, found, right, "list of whole numbers"))

    def maybe(self, name: str, read: Callable[[str], T]) -> T | None:
        """What ``read`` makes of the field, or nothing where it is null."""
        return None if self._field(name) is None else read(name)

    def _field(self, name: str) -> Any:  # noqa: ANN401 - what a JSON document holds
        if name not in self.fields:
            raise GuestError(f"{self.place}: without {name!r}", hint=_HINT)
        return self.fields[name]

    def _must(self, name: str, found: Any, right: bool, what: str) -> Any:  # noqa: ANN401, FBT001 - a value of JSON; its truth
        if not right:
            raise GuestError(f"{self.place}: {name} is {found!r:.60}, which is no {what}", hint=_HINT)
        return found
