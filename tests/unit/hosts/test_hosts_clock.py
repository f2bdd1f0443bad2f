"""The clock of a machine that was frozen."""

from __future__ import annotations

import itertools
import time
from pathlib import Path

import pytest

from lab.deadline import Deadline
from lab.errors import HostError
from lab.hosts.embedded.clock import set_clock
from lab.shell import SshNetwork, SshShell
from lab.testing.shell import FakeShell
from tests.unit.programs import Programs

DATE = r"""
was=$(cat "$HERE/behind" 2>/dev/null || echo 0)
now=$(( $(/bin/date +%s%N) - was ))
case $1 in
+%s%N) echo $now ;;
+%s.%N) echo ${now%?????????}.${now#??????????} ;;
-u) wanted=$(echo "${3#@}" | tr -d .)
    echo "$3" >> "$HERE/set"
    [ -e "$HERE/stuck" ] || echo $(( $(/bin/date +%s%N) - wanted )) > "$HERE/behind" ;;
esac
"""
"""A date(1) whose clock is as many nanoseconds behind as the note ``behind`` says."""


def soon() -> Deadline:
    return Deadline(20)


@pytest.fixture
def shell(programs: Programs, tmp_path: Path) -> SshShell:
    programs.add("ssh", 'shift 4; exec sh -c "$*"')
    programs.add("date", DATE)
    network = SshNetwork(tmp_path, tmp_path / "user", "lab ssh-ed25519 AAAAC3Nza\n")
    network.add("xen-4.17", address="127.0.0.1", port=40022)
    return SshShell(network, "xen-4.17")


@pytest.mark.parametrize("behind", [0.0, 3600.25, 973_788_554.191, -2.5])
def test_a_clock_is_set_by_ours(shell: SshShell, programs: Programs, behind: float) -> None:
    (programs.folder / "behind").write_text(str(int(behind * 1e9)))
    set_clock("xen-4.17", shell, deadline=soon())
    assert abs(int((programs.folder / "behind").read_text())) < 0.5e9
    assert all(abs(float(each.removeprefix("@")) - time.time()) < 20 for each in programs.note("set"))


def test_a_clock_that_takes_no_other_time_is_seen(shell: SshShell, programs: Programs) -> None:
    (programs.folder / "behind").write_text(str(int(60e9)))
    (programs.folder / "stuck").touch()
    with pytest.raises(HostError, match=r"^xen-4\.17: its clock can only be set to within 60\.\d s"):
        set_clock("xen-4.17", shell, deadline=soon())


def _slow(seconds: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    """Each question takes as long as the next of ``seconds``, the last of them from then on; our clock is at 0."""
    durations = itertools.chain(seconds, itertools.repeat(seconds[-1]))
    times = itertools.chain.from_iterable((-each / 2, each / 2) for each in durations)
    monkeypatch.setattr("lab.clock.time.time", lambda: next(times))


def test_a_clock_is_set_again_until_it_is_seen_to_be_right(monkeypatch: pytest.MonkeyPatch) -> None:
    shell = FakeShell({"told now": "0.0", "told set *": "0.0"})
    # Seen on a busy machine: a guest that booted on a host whose clock was set over a slow answer was 3 s late.
    _slow([0.05, *[3.0] * 4, 0.05], monkeypatch)
    set_clock("xen-4.17", shell, deadline=soon())
    assert [asked.argv[1] for asked in shell.asked] == ["now", "set", *["now"] * 4, "set", "now"]


def test_on_a_busy_machine_a_clock_may_be_a_little_less_sure(monkeypatch: pytest.MonkeyPatch) -> None:
    _slow([1.6], monkeypatch)
    set_clock("xen-4.17", FakeShell({"told now": "0.0", "told set *": "0.0"}), deadline=soon())


def test_a_host_that_answers_too_slowly_has_no_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    _slow([2.0], monkeypatch)
    with pytest.raises(HostError) as slow:
        set_clock("xen-4.17", FakeShell({"told now": "0.0", "told set *": "0.0"}), deadline=soon())
    assert str(slow.value) == (
        "xen-4.17: its clock can only be set to within 1.0 s, so slowly does it answer"
        "\n  hint: the machine is too busy; let it do fewer things at once"
    )
