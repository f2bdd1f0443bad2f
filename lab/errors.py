"""The one error family: each error also is-a builtin, says where, what, and what to do next.

An ``AssertionError`` is a verdict about the product under test. A :class:`LabError` is trouble of the lab
or of its input, and never a verdict. ``exit_code`` is what the command line returns for it.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "CacheError",
    "DeadlineError",
    "GuestError",
    "HostError",
    "ImageError",
    "LabError",
    "MissingToolError",
    "ScenarioError",
    "UnknownNameError",
    "UnsupportedError",
    "UsageError",
    "nearest",
]

EXIT_PRODUCT = 1
EXIT_USAGE = 2
EXIT_LAB = 3


class LabError(Exception):
    """Root of the family. ``message`` is where + what; ``hint`` is one sentence on what to do, or empty."""

    exit_code: ClassVar[int] = EXIT_LAB

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  hint: {self.hint}" if self.hint else self.message


class UsageError(LabError, ValueError):
    """The user asked for something that cannot be meant."""

    exit_code = EXIT_USAGE


class ScenarioError(UsageError):
    """One or more mistakes in scenario files; each line of the message is ``file:line:column: what``."""


class UnknownNameError(UsageError, LookupError):
    """A name that is in no registry."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        names = sorted(known)
        close = nearest(name, names)
        super().__init__(
            f"no {kind} {name!r}; known: {', '.join(names) or 'none'}",
            hint=f"did you mean {close!r}?" if close else "",
        )


class DeadlineError(LabError, TimeoutError):
    """Something did not finish in the time it was given."""


class MissingToolError(LabError, FileNotFoundError):
    """A program or package of the machine is not there."""


class CacheError(LabError, OSError):
    """The cache folder cannot be read or written (permissions, disk full)."""


class ImageError(LabError, ValueError):
    """A disk image or volume cannot be used: missing, truncated, not what it says."""


class HostError(LabError, ConnectionError):
    """A Xen host cannot be brought up or does not answer."""


class GuestError(LabError, ConnectionError):
    """A guest cannot be brought up or does not answer, for a reason that is the lab's."""


class UnsupportedError(LabError, NotImplementedError):
    """The thing cannot be done here, and the refusal was seen. ``reason`` is machine-readable."""

    def __init__(self, message: str, *, reason: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.reason = reason


def nearest(name: str, known: Iterable[str]) -> str:
    """The known name most like ``name``, or an empty string."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return close[0] if close else ""
