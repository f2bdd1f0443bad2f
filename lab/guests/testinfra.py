"""testinfra on the lab's own shell: its API for tests, the lab's connection and deadlines underneath.

Its own SSH back ends have no time limit per command, and would make a second connection to each guest.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from testinfra.backend.base import BaseBackend, CommandResult
from testinfra.host import Host

from lab.deadline import Deadline
from lab.shell import Shell

__all__ = ["SECONDS", "testinfra_host"]

SECONDS = 60.0
"""What one command of a test may take."""


class _ShellBackend(BaseBackend):  # type: ignore[misc]  # testinfra ships no types
    """Runs testinfra's commands by a :class:`lab.shell.Shell` asked for anew each time: a guest may have moved."""

    NAME = "lab"

    def __init__(self, name: str, shell: Callable[[], Shell]) -> None:
        super().__init__(name)
        self._shell = shell

    def run(self, command: str, *args: str, **kwargs: Any) -> CommandResult:  # noqa: ANN401, ARG002 - as the base declares it
        """Run a command line as testinfra means it: by a shell, with ``args`` quoted into it."""
        line = self.get_command(command, *args)
        done = self._shell().run("sh", "-c", line, deadline=Deadline(SECONDS))
        return self.result(done.status, self.encode(line), done.stdout, done.stderr)

    def get_encoding(self) -> str:
        """Guests of the lab speak UTF-8; to ask each of them would cost a Python start under emulation."""
        return "utf-8"


def testinfra_host(name: str, shell: Callable[[], Shell]) -> Host:
    """A testinfra host. Commands raise :class:`lab.errors.DeadlineError` after ``SECONDS``."""
    return Host(_ShellBackend(name, shell))
