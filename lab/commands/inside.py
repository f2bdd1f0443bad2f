"""What looking inside hosts and guests has in common: finding one, becoming ssh, showing a console."""

from __future__ import annotations

import os
import re
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO, NoReturn

from lab.cache import Cache
from lab.errors import HostError, MissingToolError
from lab.report.sign import plain
from lab.settings import Settings
from lab.wait import pause

__all__ = ["become", "cache", "clock", "remote_words", "show", "table", "xen_name"]

_POLL_SECONDS = 0.2
_CHUNK = 1 << 16


def cache() -> Cache:
    """The cache whose runs are meant."""
    return Cache(Settings.from_environment().cache)


def xen_name(name: str) -> str:
    """The host that a user means: ``4.20`` is short for ``xen-4.20``."""
    return f"xen-{name}" if re.fullmatch(r"\d+\.\d+", name) else name


def become(ssh: Sequence[str], command: Sequence[str] = ()) -> NoReturn:
    """Replace this process by ssh, so that its exit code and its terminal are the user's.

    A command of one word is a line for the shell over there; of several, each arrives as it was given.

    Raises:
        MissingToolError: there is no ssh.
    """
    *program, alias = ssh
    # Without a command ssh asks for a terminal by itself; `xl top` needs one as well.
    terminal = ("-t",) if command and sys.stdin.isatty() and sys.stdout.isatty() else ()
    words = (*program, *terminal, alias, *(("--", remote_words(command)) if command else ()))
    sys.stdout.flush()
    try:
        os.execvp(words[0], words)  # noqa: S606 - no shell is the point
    except FileNotFoundError as missing:
        raise MissingToolError(
            f"{words[0]}: no such program", hint="run `lab doctor`; it names the package and the command"
        ) from missing


def remote_words(command: Sequence[str]) -> str:
    """The line that ssh hands to the shell over there."""
    return command[0] if len(command) == 1 else shlex.join(command)


def show(log: Path, *, follow: bool, alive: Callable[[], bool]) -> None:
    """Print a console's log; with ``follow`` also what is added, until Ctrl-C or the end of its machine.

    On a terminal, escape sequences are spelled out: what a machine says must not act here.

    Raises:
        HostError: there is no log.
    """
    try:
        with log.open("rb") as file:
            _copy(file)
            while follow and alive():
                pause(_POLL_SECONDS)
                _copy(file)
    except FileNotFoundError as missing:
        raise HostError(f"{log}: there is no log of the console") from missing
    except BrokenPipeError:
        # `| head` has seen enough. What Python would still flush at its end would meet the same.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        if not follow:
            raise


def _copy(file: BinaryIO) -> None:
    harmless = sys.stdout.isatty()
    while chunk := file.read(_CHUNK):
        if harmless:
            sys.stdout.write(plain(chunk.decode("utf-8", "backslashreplace").replace("\r", ""), keep="\n\t"))
        else:
            sys.stdout.buffer.write(chunk)
    sys.stdout.flush()


def clock(since: float) -> str:
    """A moment in local time, for people."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(since))


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns of text, aligned; the last one is as long as it is."""
    lines = [head, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head) - 1)]
    return "".join(
        "  ".join((*(f"{cell:{width}}" for cell, width in zip(line, widths, strict=False)), line[-1])) + "\n"
        for line in lines
    )
