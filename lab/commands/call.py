"""How the command was called, as verbs find it in their context."""

from __future__ import annotations

from dataclasses import dataclass, field

import typer

__all__ = ["Call", "call_of"]


@dataclass(frozen=True, slots=True)
class Call:
    """A call of the command: ``words`` as they were typed, ``extra`` the ones after ``--``."""

    words: tuple[str, ...] = ()
    extra: tuple[str, ...] = field(default=())


def call_of(context: typer.Context) -> Call:
    """The call that led to a verb; an empty one where something else calls it, as tests do."""
    return context.obj if isinstance(context.obj, Call) else Call()
