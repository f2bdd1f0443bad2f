"""testinfra on the lab's shell."""

from __future__ import annotations

import pytest

from lab.errors import HostError
from lab.guests import testinfra
from lab.testing.shell import Answer, FakeShell


def test_commands_go_through_the_labs_shell_by_a_shell_over_there() -> None:
    shell = FakeShell({"sh -c uname -r": "6.12.57\n", "sh -c cat 'a b'": Answer(1, stderr="no such file\n")})
    host = testinfra.testinfra_host("web32", lambda: shell)
    assert host.check_output("uname -r") == "6.12.57"
    done = host.run("cat %s", "a b")
    assert (done.rc, done.stderr) == (1, "no such file\n")
    assert shell.commands == ["sh -c uname -r", "sh -c cat 'a b'"]


def test_the_shell_is_asked_for_anew_each_time_since_guests_move() -> None:
    shells = [FakeShell({"sh -c hostname": name}) for name in ("before", "after")]
    host = testinfra.testinfra_host("web32", lambda: shells.pop(0))
    assert [host.check_output("hostname"), host.check_output("hostname")] == ["before", "after"]


def test_a_lost_connection_is_the_labs_trouble_and_no_failed_assertion() -> None:
    host = testinfra.testinfra_host("web32", lambda: FakeShell({"*": HostError("web32: connection lost")}))
    with pytest.raises(HostError, match=r"^web32: connection lost$"):
        host.run("true")
