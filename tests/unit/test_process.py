"""Programs of this machine: how they end, and that they end in time, all of them."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lab.deadline import Deadline
from lab.errors import DeadlineError, MissingToolError
from lab.process import CommandError, Completed, kill_children, last_line, run, spawn

NESTED = 'sleep 60 & echo $! > "$0"; echo started; wait'
"""A program with a child of its own, whose number it writes down."""


def soon() -> Deadline:
    return Deadline(20)


def wait_for(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def gone(pid: int) -> bool:
    """Whether a process has ended, also if nobody has asked for its status yet (proc(5), state Z)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in {"Z", "X"}
    except FileNotFoundError:
        return True


def number(path: Path) -> int:
    wait_for(lambda: path.exists() and path.read_text().strip())
    return int(path.read_text())


def test_a_program_that_ends_well() -> None:
    done = run("sh", "-c", "echo out; echo err >&2", deadline=soon())
    assert done
    assert (done.status, done.stdout, done.stderr, done.text) == (0, b"out\n", b"err\n", "out")
    assert done.check() is done
    assert 0 < done.seconds < 20


def test_words_reach_the_program_as_they_are() -> None:
    words = ("two words", "it's", "$HOME", "*", "", "-n")
    done = run("printf", "%s\\n", *words, deadline=soon())
    assert done.text.split("\n") == [*words]
    assert done.command == "printf '%s\\n' 'two words' 'it'\"'\"'s' '$HOME' '*' '' -n"


def test_paths_may_be_paths(tmp_path: Path) -> None:
    assert run("cat", tmp_path / "none", deadline=soon()).argv == ("cat", str(tmp_path / "none"))


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo a; echo b >&2; echo 'c: no such disk' >&2; echo >&2; exit 3", "c: no such disk"),
        ("echo 'only this'; exit 3", "only this"),
        ("exit 3", "it said nothing"),
    ],
)
def test_a_program_that_fails_is_told_by_its_last_words(script: str, said: str) -> None:
    done = run("sh", "-c", script, deadline=soon())
    assert not done
    with pytest.raises(CommandError, match=f"^{re.escape(f'sh: status 3: {said}')}$") as caught:
        done.check()
    assert caught.value.completed is done


def test_a_hint_comes_along() -> None:
    with pytest.raises(CommandError) as caught:
        run("false", deadline=soon()).check(hint="try true")
    assert str(caught.value) == "false: status 1: it said nothing\n  hint: try true"


def test_a_program_that_is_killed_has_the_signal_for_a_status() -> None:
    assert run("sh", "-c", "kill -9 $$", deadline=soon()).status == -signal.SIGKILL


def test_bytes_go_in_and_bytes_come_out() -> None:
    every = bytes(range(256)) * 1000
    assert run("cat", stdin=every, deadline=soon()).stdout == every


def test_a_program_that_reads_gets_an_end_of_input() -> None:
    assert run("cat", deadline=soon()).stdout == b""


def test_text_escapes_what_it_cannot_decode() -> None:
    assert Completed(("x",), 0, b"a\xff\n\n", b"").text == "a\\xff"


@pytest.mark.parametrize(("output", "line"), [(b"a\n b \n\n", "b"), (b"", ""), (b"\xff\n", "\\xff")])
def test_the_last_line_says_something(output: bytes, line: str) -> None:
    assert last_line(output) == line


def test_the_environment_is_added_to_and_the_folder_is_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_TEST", "ours")
    script = 'echo "$LAB_TEST $MORE $(pwd)"'
    done = run("sh", "-c", script, env={"MORE": "more"}, cwd=tmp_path, deadline=soon())
    assert done.text == f"ours more {tmp_path}"


def test_a_program_that_is_not_there_is_named_with_what_helps() -> None:
    with pytest.raises(MissingToolError) as caught:
        run("no-such-program", "--version", deadline=soon())
    assert str(caught.value) == (
        "no-such-program: no such program\n"
        "  hint: run `lab doctor`; it names the package and the command that installs it"
    )
    assert isinstance(caught.value, FileNotFoundError)


def test_the_deadline_ends_a_program_with_all_its_children(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    command = re.escape(f"sh -c '{NESTED}' {note}")
    with pytest.raises(DeadlineError, match=f"^{command}: not done within 0.8 s$"):
        run("sh", "-c", NESTED, note, deadline=Deadline(0.8))
    wait_for(lambda: gone(number(note)))


def test_the_deadline_also_ends_a_child_that_outlives_the_program(tmp_path: Path) -> None:
    # It holds the output open, so the program is not done for whoever reads it.
    note = tmp_path / "pid"
    with pytest.raises(DeadlineError):
        run("sh", "-c", 'sleep 60 & echo $! > "$0"', note, deadline=Deadline(0.8))
    wait_for(lambda: gone(number(note)))


def test_a_long_command_is_cut_in_the_message() -> None:
    with pytest.raises(DeadlineError) as caught:
        run("sleep", "60", *["x" * 50] * 10, deadline=Deadline(0))
    assert len(caught.value.message) < 240


def test_kill_children_ends_what_other_threads_wait_for(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    statuses: list[int] = []
    waiting = threading.Thread(
        target=lambda: statuses.append(run("sh", "-c", NESTED, note, deadline=soon()).status), daemon=True
    )
    waiting.start()
    child = number(note)
    kill_children()
    waiting.join(20)
    assert statuses == [-signal.SIGKILL]
    wait_for(lambda: gone(child))


def test_kill_children_lets_those_rest_that_have_ended() -> None:
    with spawn("true") as process:
        process.communicate()
    kill_children()
    assert process.returncode == 0


def test_ctrl_c_ends_the_program_that_was_waited_for(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    script = f"""
from lab.deadline import Deadline
from lab.process import run
try:
    run("sh", "-c", {NESTED!r}, {str(note)!r}, deadline=Deadline(60))
except KeyboardInterrupt:
    print("interrupted")
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as lab:
        child = number(note)
        lab.send_signal(signal.SIGINT)
        said, _ = lab.communicate(timeout=20)
    assert (said, lab.returncode) == ("interrupted\n", 0)
    wait_for(lambda: gone(child))


def test_ctrl_c_at_a_terminal_does_not_reach_the_program() -> None:
    # The terminal signals its foreground process group; the program is in a session of its own.
    with spawn("sh", "-c", "cut -d' ' -f5,6 /proc/self/stat; echo $$") as process:
        said = process.communicate()[0].split()
    assert said[1] == said[2] == str(process.pid).encode()
