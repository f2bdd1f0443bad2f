"""``--keep``: after a failure the stage stays until somebody has looked; nobody at a terminal must not hang it."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lab.cache import Cache
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


_PLAIN = """
from pathlib import Path

WEB = dict(release="bookworm", userland="i386", kernel={"release": "bookworm"}, type="pv")

def test_fine(lab_guest):
    lab_guest(host="4.14", **WEB)

def test_without_a_guest(lab_guest):
    assert not "the first that fails"

def test_first(lab_guest):
    lab_guest(host="4.17", **WEB)
    assert not "the first that fails with a guest"

def test_second(lab_guest):
    lab_guest(host="4.20", **WEB)
    assert not "another"
"""
_LOG = "def pytest_unconfigure():\n    Path('log.txt').write_text('\\n'.join(STAGE.log))"


def plain(project: Project, *words: str, until: str) -> list[str]:
    """What was asked of the stage by plain tests, when SIGTERM has ended the wait if there was one."""
    project.script("{}", more=_LOG)
    project.write("test_plain.py", _PLAIN)
    argv = (sys.executable, "-m", "pytest", "test_plain.py", *words)
    with subprocess.Popen(
        argv, cwd=project.path, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as session:
        assert session.stdout is not None
        while until not in (line := session.stdout.readline()):
            assert line
        if until == _MARK:
            session.send_signal(signal.SIGTERM)
        session.communicate(timeout=60)
    assert session.returncode == pytest.ExitCode.TESTS_FAILED
    return (project.path / "log.txt").read_text().splitlines()


def test_the_guests_of_the_first_plain_test_that_failed_stay_until_somebody_has_looked(project: Project) -> None:
    assert plain(project, "--lab-keep", until=_MARK) == [
        "open",
        *("guest guest on xen-4.14", "undo guest"),
        "guest guest on xen-4.17",
        *("guest guest on xen-4.20", "undo guest"),
        *("undo guest", "close"),
    ]


def test_without_keep_guests_of_plain_tests_go_with_their_tests(project: Project) -> None:
    log = plain(project, until="3 failed, 1 passed")
    assert log == [
        "open",
        *(w for v in ("4.14", "4.17", "4.20") for w in (f"guest guest on xen-{v}", "undo guest")),
        "close",
    ]


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
    idle: Any = SimpleNamespace(close=lambda: None)
    with ExitStack() as stack:
        stage = XenStage(Cache(tmp_path), nothing, nothing, nothing, stack, idle, keep=keep)
        ended: list[str] = []
        for name in "abc":
            stage._failed = False
            with stage._life() as life:
                life.callback(ended.append, name)
                stage._failed = name in failing
        assert ended == at_once
    assert sorted(ended) == ["a", "b", "c"]


def test_a_guest_on_which_the_stage_itself_stumbles_stays_too(tmp_path: Path) -> None:
    nothing: Any = None
    idle: Any = SimpleNamespace(close=lambda: None)
    with ExitStack() as stack:
        stage = XenStage(Cache(tmp_path), nothing, nothing, nothing, stack, idle, keep=True)
        ended: list[str] = []
        with suppress(OSError), stage._life() as life:
            life.callback(ended.append, "guest")
            raise OSError("sentinel")
        assert ended == []
    assert ended == ["guest"]
