"""``--keep``: after a failure the stage stays until somebody has looked; nobody at a terminal must not hang it."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from lab.cache import Cache
from lab.deadline import Deadline
from lab.scenario.cell import ModulesRequest
from lab.stage.xen import XenStage
from tests.unit.plugin.project import LAB, Project

_FAILS = """{"boot-4.20-web-pv": failing("same-boot", "7d0c", "91aa")}"""
_MARK = "something failed, and the stage is kept"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_without_a_terminal_it_waits_for_a_signal_and_ends_as_ever(project: Project, number: signal.Signals) -> None:
    project.script(_FAILS)
    words = (LAB, "run", "--keep")
    with subprocess.Popen(
        words, cwd=project.path, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as session:
        assert session.stderr is not None
        before: list[str] = []
        while _MARK not in (line := session.stderr.readline()):
            assert line, before
            before.append(line)
        assert sum(line.startswith("[") for line in before) == 6  # every verdict has been told
        session.send_signal(number)
        said, _ = session.communicate(timeout=60)
    assert session.returncode == 1
    assert "6 cells: 5 pass, 1 fail" in said
    assert len(project.matrix().cells) == 6


def test_where_nothing_failed_nothing_is_kept(project: Project, lab: Callable[..., pytest.RunResult]) -> None:
    result = lab("run", "--keep", "-k", "boot")
    assert result.ret == 0
    assert _MARK not in result.stderr.str()
    assert len(project.matrix().cells) == 4


@pytest.mark.usefixtures("project")
def test_keep_is_for_one_stage(lab: Callable[..., pytest.RunResult]) -> None:
    result = lab("run", "--keep", "-n", "2")
    assert result.ret == 2
    assert result.errlines == ["error: --keep is for one stage, and -n makes several", "  hint: leave out -n"]


@pytest.mark.parametrize("key", [b"\n", b"\x03"])
def test_enter_and_ctrl_c_at_a_terminal_end_it(project: Project, key: bytes) -> None:
    project.script(_FAILS)
    child, terminal = pty.fork()
    if child == 0:  # pragma: no cover - the child becomes the command
        os.chdir(project.path)
        os.execv(LAB, (LAB, "run", "--keep", "-k", "boot"))  # noqa: S606 - no shell is the point
    said = b""
    while _MARK.encode() not in said:
        said += os.read(terminal, 1 << 16)
    while b"Enter or Ctrl-C takes it down" not in said:
        said += os.read(terminal, 1 << 16)
    os.write(terminal, key)
    with ExitStack() as undo:
        undo.callback(os.close, terminal)
        rest = b""
        try:
            while chunk := os.read(terminal, 1 << 16):
                rest += chunk
        except OSError:
            pass  # the other end is closed (EIO)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1
    assert b"4 cells: 3 pass, 1 fail" in rest


class _Stage(XenStage):
    """The real one, on which guests are names and their ends are noted."""

    ended: list[str]

    @contextmanager
    def _guest(self, host: Any, *_rest: Any, **_more: Any) -> Iterator[Any]:
        try:
            yield host
        finally:
            self.ended.append(host)


@pytest.mark.parametrize(
    ("keep", "failing", "at_once"),
    [(True, {"b", "c"}, ["a", "c"]), (False, {"b", "c"}, ["a", "b", "c"]), (True, set(), ["a", "b", "c"])],
)
def test_the_guest_of_the_first_failed_cell_stays_as_long_as_the_stage(
    tmp_path: Path,
    keep: bool,  # noqa: FBT001 - a parameter of the test
    failing: set[str],
    at_once: list[str],
) -> None:
    nothing: Any = None
    with ExitStack() as stack:
        stage = _Stage(Cache(tmp_path), nothing, nothing, nothing, stack, keep=keep)
        stage.ended = []
        for name in "abc":
            host: Any = name
            stage._failed = False
            with stage._cell_guest(host, nothing, Deadline(1), ModulesRequest()):
                stage._failed = name in failing
        assert stage.ended == at_once
    assert sorted(stage.ended) == ["a", "b", "c"]


def test_a_guest_on_which_the_stage_itself_stumbles_stays_too(tmp_path: Path) -> None:
    nothing: Any = None
    with ExitStack() as stack:
        stage = _Stage(Cache(tmp_path), nothing, nothing, nothing, stack, keep=True)
        stage.ended = []
        with pytest.raises(OSError, match="sentinel"), stage._cell_guest(nothing, nothing, Deadline(1), nothing):
            raise OSError("sentinel")
        assert stage.ended == []
    assert stage.ended == [None]
