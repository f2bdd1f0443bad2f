"""A shell on a machine that is not there: it answers what it was told to answer, and remembers what it was asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from lab.deadline import Deadline
from lab.errors import HostError, LabError
from lab.process import Completed, last_line
from lab.shell import Talk

__all__ = ["Answer", "Asked", "FakeShell"]


@dataclass(frozen=True, slots=True)
class Answer:
    """How a program ends."""

    status: int = 0
    stdout: str = ""
    stderr: str = ""


@dataclass(frozen=True, slots=True)
class Asked:
    """One command that was run."""

    argv: tuple[str, ...]
    stdin: bytes = field(default=b"", repr=False)

    @property
    def command(self) -> str:
        """Its words, joined by blanks."""
        return " ".join(self.argv)


Reply = str | Answer | LabError


@dataclass(slots=True)
class FakeShell:
    """A :class:`lab.shell.Shell` by script.

    ``answers`` maps a command, or a pattern of commands as for file names, to what comes of it: its output, an
    :class:`Answer`, an error to raise, or a sequence of these, one a call, of which the last repeats. What nobody
    answers for ends with status 127, as in a shell. ``asked`` is every command so far, in order.
    """

    answers: Mapping[str, Reply | Sequence[Reply]] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    _turns: dict[str, int] = field(default_factory=dict)

    def run(self, *argv: str, deadline: Deadline, stdin: bytes = b"") -> Completed:
        """What ``answers`` has for ``argv``; a deadline that has passed is one here too."""
        deadline.check(argv[0])
        asked = Asked(argv, stdin)
        self.asked.append(asked)
        reply = self._reply(asked.command)
        if isinstance(reply, LabError):
            raise reply
        if reply is None:
            reply = Answer(127, stderr=f"sh: {argv[0]}: not found")
        elif isinstance(reply, str):
            reply = Answer(stdout=reply)
        return Completed(argv, reply.status, reply.stdout.encode(), reply.stderr.encode())

    def ask(
        self,
        where: str,
        question: bytes,
        *,
        deadline: Deadline,
        watch: Callable[[], None] = lambda: None,  # noqa: ARG002 - as in AskingShell
    ) -> Completed:
        """As if a program ``ask`` were run with these words."""
        done = self.run("ask", where, question.decode(), deadline=deadline)
        return done if done.status != 127 else Completed(done.argv, 1, b"", f"nobody answers at {where}".encode())

    @contextmanager
    def talk(self, *argv: str, deadline: Deadline) -> Iterator[Talk]:
        """As if a program ``told`` were run for each line, with the line's words."""
        deadline.check(argv[0])

        def told(line: str, *, deadline: Deadline) -> str:
            done = self.run("told", *line.split(), deadline=deadline)
            if not done:
                raise HostError(f"{argv[0]} ended instead of answering: {last_line(done.stderr)}")
            return done.text

        yield told

    @property
    def commands(self) -> list[str]:
        """What was asked, as lines."""
        return [asked.command for asked in self.asked]

    def _reply(self, command: str) -> Reply | None:
        pattern = command if command in self.answers else self._pattern(command)
        if pattern is None:
            return None
        replies = self.answers[pattern]
        if isinstance(replies, str | Answer | LabError):
            return replies
        turn = self._turns[pattern] = self._turns.get(pattern, 0) + 1
        return replies[min(turn, len(replies)) - 1]

    def _pattern(self, command: str) -> str | None:
        return next((pattern for pattern in self.answers if fnmatchcase(command, pattern)), None)
