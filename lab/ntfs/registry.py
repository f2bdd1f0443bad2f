"""One-of-N by name: drivers, recipes, readers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, Protocol, TypeVar

from lab.errors import UnknownNameError

__all__ = ["Named", "Registry"]


class Named(Protocol):
    """Anything that carries its own name."""

    @property
    def name(self) -> str:
        """The name it is found by."""


T = TypeVar("T", bound=Named)


class Registry(Generic[T]):
    """Names to things. Listed in the order of the names; a second holder of a name is refused."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._held: dict[str, T] = {}

    def add(self, thing: T) -> T:
        """Register ``thing`` under its own name and return it.

        Raises:
            ValueError: the name is taken.
        """
        if thing.name in self._held:
            raise ValueError(f"{self.kind} {thing.name!r} is registered twice; held by {self._held[thing.name]!r}")
        self._held[thing.name] = thing
        return thing

    def __getitem__(self, name: str) -> T:
        """The thing of that name.

        Raises:
            UnknownNameError: there is none; the nearest name is its hint.
        """
        try:
            return self._held[name]
        except KeyError:
            raise UnknownNameError(self.kind, name, self._held) from None

    def __contains__(self, name: str) -> bool:
        return name in self._held

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._held))

    def __len__(self) -> int:
        return len(self._held)

    def values(self) -> tuple[T, ...]:
        """All of them, in the order of their names."""
        return tuple(self._held[name] for name in self)
