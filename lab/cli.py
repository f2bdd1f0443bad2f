"""The command ``lab``. Verbs are imported when they are asked for; exit codes and errors' words are made here alone."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from lab import __version__
from lab.commands.call import Call
from lab.errors import EXIT_LAB, LabError, ScenarioError

__all__ = ["main"]

_VERBS = {
    "doctor": ("doctor", "What this machine can do, and the command that mends what is missing."),
    "list": ("list", "The cells of scenario files, without running them."),
    "run": ("run", "Run scenarios; write the record, print the matrix."),
    "matrix": ("matrix", "The matrix of a run, in a layout of your choice."),
    "diff": ("diff", "Two runs side by side."),
    "agree": ("agree", "Do cells agree that differ in one axis only, such as the stage?"),
    "gate": ("gate", "Yes or no: is a run no worse than its baseline?"),
    "preflight": ("preflight", "Go or no-go: may guests be moved from one host to another?"),
    "prove": ("prove", "Faults on purpose: is each invariant of a move shown to go red?"),
    "ntfs": ("ntfs", "Your own NTFS images against every driver."),
    "host": ("host", "Xen hosts: bring up, look inside, take down."),
    "guest": ("guest", "Guests of live runs: look inside."),
    "clean": ("clean", "Remove what runs left behind, also after kill -9."),
}
"""Verb -> its module under lab.commands, and what it does."""

_INTERRUPTED = 130
"""What typer makes of a KeyboardInterrupt."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; exit code 0 as expected, 1 product failure, 2 usage or scenario error, 3 lab trouble.

    Nobody sees a traceback without ``--debug`` (or LAB_DEBUG): what the lab knows of has words, the rest is a bug.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    own, _, extra = _split(words)
    debug = "--debug" in own or bool(os.environ.get("LAB_DEBUG"))
    own = [word for word in own if word != "--debug"]
    try:
        return _call(own or ["--help"], Call(tuple(words), tuple(extra)))
    except KeyboardInterrupt:
        return _say("interrupted", EXIT_LAB)
    except LabError as trouble:
        if debug:
            raise
        # A line that begins with a place is one that editors and terminals turn into a link.
        placed = isinstance(trouble, ScenarioError)
        return _say(str(trouble) if placed else f"error: {trouble}", trouble.exit_code)
    except Exception as trouble:
        if debug:
            raise
        what = f"{type(trouble).__name__}: {trouble}" if str(trouble) else type(trouble).__name__
        return _say(f"error: {what}\n  this is a bug in the lab; `lab --debug` shows where", EXIT_LAB)


def _call(words: list[str], call: Call) -> int:
    try:
        answer = _app(next((word for word in words if not word.startswith("-")), ""))(
            args=words, prog_name="lab", standalone_mode=False, obj=call
        )
    except typer.TyperException as mistake:
        # The library's own usage errors: it knows how to show them, with the usage of the verb.
        show = getattr(mistake, "show", None)
        if show is None:
            return _say(f"error: {mistake}", mistake.exit_code)
        show()
        return int(mistake.exit_code)
    except typer.Abort:
        return _say("aborted", EXIT_LAB)
    if answer == _INTERRUPTED:
        return _say("interrupted", EXIT_LAB)
    return answer if isinstance(answer, int) else 0


def _app(verb: str) -> typer.Typer:
    """The application with that verb; with all of them by name only, where none is called."""
    app = typer.Typer(
        name="lab", help=_ABOUT, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False
    )
    app.callback(invoke_without_command=True)(_lab)
    if verb in _VERBS:
        importlib.import_module(f"lab.commands.{_VERBS[verb][0]}").register(app)
        return app
    for name, (_module, about) in _VERBS.items():
        app.command(name, help=about)(_nothing)
    return app


_ABOUT = """Crossroads: Xen guests, migrations, kernel modules and NTFS drivers, judged by what was seen.

Example: lab run scenarios/quick.lab.yaml"""


def _lab(
    *,
    version: Annotated[bool, typer.Option("--version", help="Say the version and end.", is_eager=True)] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
) -> None:
    del debug  # taken by main(), wherever it stands
    if version:
        typer.echo(f"crossroads-lab {__version__}")
        raise typer.Exit


def _nothing() -> None:
    """A verb's place in the list."""


def _split(words: list[str]) -> tuple[list[str], str, list[str]]:
    at = words.index("--") if "--" in words else len(words)
    return words[:at], "--", words[at + 1 :]


def _say(text: str, code: int) -> int:
    sys.stderr.write(f"{text}\n")
    return code
