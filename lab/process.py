"""One way to run a program of this machine, one result type."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import time
import weakref
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from lab.deadline import Deadline
from lab.errors import DeadlineError, LabError, MissingToolError

__all__ = ["CommandError", "Completed", "kill_children", "last_line", "run", "spawn"]


class CommandError(LabError, OSError):
    """A program ended with a status other than 0; the rest of its words are on ``completed``."""

    def __init__(self, completed: Completed, *, hint: str = "") -> None:
        self.completed = completed
        said = last_line(completed.stderr) or last_line(completed.stdout) or "it said nothing"
        super().__init__(f"{completed.argv[0]}: status {completed.status}: {said}", hint=hint)


@dataclass(frozen=True, slots=True)
class Completed:
    """A program that ended. Truthy when its status is 0. Output is bytes; ``text`` decodes it at the edge."""

    argv: tuple[str, ...]
    status: int
    stdout: bytes = field(repr=False)
    stderr: bytes = field(repr=False)
    seconds: float = 0.0

    def __bool__(self) -> bool:
        return self.status == 0

    @property
    def text(self) -> str:
        """Standard output as text, without the last newline; undecodable bytes are escaped, not lost."""
        return self.stdout.decode("utf-8", "backslashreplace").rstrip("\n")

    @property
    def command(self) -> str:
        """The command as a line to paste into a shell."""
        return shlex.join(self.argv)

    def check(self, *, hint: str = "") -> Completed:
        """Itself.

        Raises:
            CommandError: the status is not 0.
        """
        if self.status != 0:
            raise CommandError(self, hint=hint)
        return self


def last_line(output: bytes) -> str:
    """The last line of ``output`` that says something."""
    lines = [line.strip() for line in output.decode("utf-8", "backslashreplace").splitlines()]
    return next((line for line in reversed(lines) if line), "")


def run(
    *argv: str | os.PathLike[str],
    deadline: Deadline,
    stdin: bytes = b"",
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Completed:
    """Run a program to its end; its whole process group is killed when time runs out or the lab is interrupted.

    Raises:
        MissingToolError: the program is not installed.
        DeadlineError: it did not end in time.
    """
    words = tuple(os.fspath(word) for word in argv)
    start = time.monotonic()
    with spawn(*words, env=env, cwd=cwd) as process:
        try:
            stdout, stderr = process.communicate(stdin, timeout=deadline.check(words[0]))
        except subprocess.TimeoutExpired as late:
            _kill_group(process)
            raise DeadlineError(f"{shlex.join(words)[:200]}: not done within {deadline.seconds:g} s") from late
        except BaseException:
            _kill_group(process)
            raise
    return Completed(words, process.returncode, stdout, stderr, time.monotonic() - start)


def spawn(  # noqa: PLR0913 - the part of Popen that the lab uses
    *argv: str,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: int = subprocess.PIPE,
    stdout: int = subprocess.PIPE,
    stderr: int = subprocess.PIPE,
    pass_fds: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """Start a program in a session of its own, so that Ctrl-C reaches the lab alone and the lab undoes in order.

    Raises:
        MissingToolError: the program is not installed.
    """
    try:
        process = subprocess.Popen(
            argv,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            env=None if env is None else {**os.environ, **env},
            cwd=cwd,
            start_new_session=True,
            pass_fds=pass_fds,
        )
    except FileNotFoundError as missing:
        raise MissingToolError(
            f"{argv[0]}: no such program",
            hint="run `lab doctor`; it names the package and the command that installs it",
        ) from missing
    _children.add(process)
    return process


_children: weakref.WeakSet[subprocess.Popen[bytes]] = weakref.WeakSet()


def kill_children() -> None:
    """Kill every program that was started here and still runs: what Ctrl-C does for threads that wait for one."""
    for process in list(_children):
        if process.poll() is None:
            _kill_group(process)


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
