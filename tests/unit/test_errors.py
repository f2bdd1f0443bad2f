"""The one error family."""

from __future__ import annotations

import builtins
import inspect
from collections.abc import Callable

import pytest

from lab import errors
from lab.errors import (
    EXIT_LAB,
    EXIT_USAGE,
    LabError,
    ScenarioError,
    UnknownNameError,
    UnsupportedError,
    UsageError,
    nearest,
)

FAMILY = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, LabError) and kind.__module__ == errors.__name__ and kind is not LabError
]


@pytest.mark.parametrize("kind", FAMILY)
def test_each_is_also_a_builtin_that_other_code_would_catch(kind: type[LabError]) -> None:
    builtin = [base for base in kind.__mro__ if base.__module__ == builtins.__name__]
    assert set(builtin) - {object, BaseException, Exception}


@pytest.mark.parametrize("kind", FAMILY)
def test_users_mistakes_and_the_labs_trouble_have_their_exit_codes(kind: type[LabError]) -> None:
    assert kind.exit_code == (EXIT_USAGE if issubclass(kind, UsageError) else EXIT_LAB)


def test_words_are_the_message_and_the_hint_if_there_is_one() -> None:
    assert str(LabError("disk: full")) == "disk: full"
    assert str(LabError("disk: full", hint="free some")) == "disk: full\n  hint: free some"


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (
            lambda: UnknownNameError("driver", "ntfs", ["ntfs-3g", "ntfs3"]),
            "no driver 'ntfs'; known: ntfs-3g, ntfs3\n  hint: did you mean 'ntfs3'?",
        ),
        (lambda: UnknownNameError("driver", "zfs", ["ntfs3"]), "no driver 'zfs'; known: ntfs3"),
        (lambda: UnknownNameError("host", "a", []), "no host 'a'; known: none"),
    ],
)
def test_an_unknown_name_lists_the_known_ones_and_the_nearest(make: Callable[[], LabError], words: str) -> None:
    assert str(make()) == words


def test_a_refusal_carries_its_reason_and_a_scenario_error_is_a_usage_error() -> None:
    refused = UnsupportedError("no save on Arm", reason="libxl-no-suspend", hint="use how: cold")
    assert (refused.reason, refused.hint, refused.message) == ("libxl-no-suspend", "use how: cold", "no save on Arm")
    assert issubclass(ScenarioError, UsageError)


def test_the_nearest_name_is_near() -> None:
    assert nearest("trixi", ["trixie", "bookworm"]) == "trixie"
    assert nearest("sid", ["trixie", "bookworm"]) == ""
