"""One look inside a guest: what it says is understood, and the questions mean what they should."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from pathlib import Path

import pytest

from lab.deadline import Deadline
from lab.errors import GuestError
from lab.guests.observation import Observation, observe, start_sentinel, write_keepsake
from lab.process import CommandError, Completed, run, spawn
from lab.shell import Talk, tell
from lab.testing.shell import Answer, FakeShell
from tests.unit.guests.observations import HEALTHY

SAID = f"""\
boot_id={HEALTHY.boot_id}
uptime=61.25
release=6.12.57-cloud-amd64
machine=x86_64
bits=32
modules=ext4 fuse loop
sentinel=431/2210
clocksource=xen
keepsake={HEALTHY.keepsake}
kernel_log=
[    0.000000] Linux version 6.12.57-cloud-amd64
[    4.200000] EXT4-fs (xvda): mounted filesystem
"""


def soon() -> Deadline:
    return Deadline(20)


def look(said: str) -> Observation:
    return observe(FakeShell({"told now": f"{time.time():.9f}", "sh -c *": said}), deadline=soon())


def test_all_that_a_guest_says_is_understood() -> None:
    seen = look(SAID)
    assert abs(seen.clock_offset) < 1
    assert replace(seen, clock_offset=HEALTHY.clock_offset, clock_error=HEALTHY.clock_error) == HEALTHY


@pytest.mark.parametrize(
    ("line", "name", "value"),
    [
        ("modules=", "modules", frozenset[str]()),
        ("sentinel=431/", "sentinel", "431/"),
        ("sentinel=/", "sentinel", "/"),
        ("keepsake=", "keepsake", ""),
        ("clocksource=", "clocksource", ""),
        ("release=6.1=x", "release", "6.1=x"),
    ],
)
def test_what_is_not_there_is_empty_and_not_an_accident(line: str, name: str, value: object) -> None:
    field = line.partition("=")[0]
    said = "\n".join(line if each.startswith(f"{field}=") else each for each in SAID.splitlines())
    assert getattr(look(said), name) == value


def test_a_log_that_looks_like_an_answer_is_still_the_log() -> None:
    seen = look(SAID + "bits=64\nkernel_log=\nboot_id=other\n")
    assert seen.bits == 32
    assert seen.kernel_log[-3:] == ("bits=64", "kernel_log=", "boot_id=other")


def test_a_guest_with_an_empty_log_has_none() -> None:
    assert look(SAID.partition("kernel_log=\n")[0] + "kernel_log=\n").kernel_log == ()


def test_a_guest_that_cannot_answer_is_an_error() -> None:
    shell = FakeShell({"told now": "1.5", "sh -c *": Answer(1, stderr="dmesg: read kernel buffer failed\n")})
    with pytest.raises(CommandError, match=r"^sh: status 1: dmesg: read kernel buffer failed$"):
        observe(shell, deadline=soon())


@pytest.mark.parametrize(
    ("said", "missing"),
    [
        ("", "boot_id, uptime, release, machine, bits, modules, sentinel, clocksource, keepsake, kernel_log"),
        (SAID.partition("sentinel=")[0], "sentinel, clocksource, keepsake, kernel_log"),
        (SAID.partition("kernel_log=")[0], "kernel_log"),
        (SAID.replace("bits=32\n", ""), "bits"),
        (SAID.replace("bits=32", "bits="), "bits"),
        (SAID.replace("uptime=61.25", "uptime=61."), "uptime"),
    ],
)
def test_half_an_answer_is_an_error_that_says_what_is_missing(said: str, missing: str) -> None:
    with pytest.raises(GuestError) as caught:
        look(said)
    assert str(caught.value) == (
        f"half an answer of {len(said)} characters, without {missing}\n"
        "  hint: the guest went down while it was asked, or its tools are broken; its console is with the evidence"
    )


@dataclass(frozen=True)
class LocalShell:
    """A shell on this machine in a guest's place: files lie in ``folder``, and nothing is done to the machine."""

    folder: Path

    def run(self, *argv: str, deadline: Deadline, stdin: bytes = b"") -> Completed:
        changes = {
            "/run/lab-sentinel": f"{self.folder}/sentinel",
            "/var/tmp/lab-keepsake": f"{self.folder}/keepsake",  # noqa: S108 - the guest's path
            "/run/lab-keepsake": f"{self.folder}/copy",
            "sync": "echo >/dev/null",
            "dmesg": "echo '[ 1.0] a log'",
        }
        words = list(argv)
        for old, new in changes.items():
            words = [word.replace(old, new) for word in words]
        return run(*words, deadline=deadline, stdin=stdin)

    @contextmanager
    def talk(self, *argv: str, deadline: Deadline) -> Iterator[Talk]:
        deadline.check(argv[0])
        process = spawn(*argv)
        try:
            yield partial(tell, process, argv[0])
        finally:
            process.kill()
            process.communicate()


@pytest.fixture
def here(tmp_path: Path) -> Iterator[LocalShell]:
    yield LocalShell(tmp_path)
    sentinel = tmp_path / "sentinel"
    if sentinel.exists():
        subprocess.run(("kill", sentinel.read_text().strip()), check=False, stderr=subprocess.DEVNULL, timeout=20)


def test_the_questions_are_ones_that_linux_answers(here: LocalShell) -> None:
    seen = observe(here, deadline=soon())
    assert seen.boot_id == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert (seen.release, seen.machine, seen.bits) == (os.uname().release, os.uname().machine, 64)
    assert 0 < seen.uptime <= float(Path("/proc/uptime").read_text().split()[0])
    modules = Path("/proc/modules")
    loaded = modules.read_text().splitlines() if modules.exists() else []  # a kernel may have none
    assert seen.modules == {line.split()[0] for line in loaded}
    assert seen.kernel_log == ("[ 1.0] a log",)
    assert abs(seen.clock_offset) <= seen.clock_error + 0.001


def started(pid: int) -> str:
    """proc(5), field 22 of stat; the second one is the name, and may hold anything."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]


def test_a_sentinel_is_one_process_by_number_and_start(here: LocalShell, tmp_path: Path) -> None:
    assert observe(here, deadline=soon()).sentinel == "/"  # none yet
    start_sentinel(here, deadline=soon())
    pid = int((tmp_path / "sentinel").read_text())
    first = observe(here, deadline=soon()).sentinel
    assert first == f"{pid}/{started(pid)}" == observe(here, deadline=soon()).sentinel

    subprocess.run(("kill", "-9", str(pid)), check=True, timeout=20)
    # Dead, whether its parent has asked for its status by now or not.
    assert observe(here, deadline=soon()).sentinel == f"{pid}/"

    start_sentinel(here, deadline=soon())
    assert observe(here, deadline=soon()).sentinel != first


def test_a_sentinel_outlives_the_shell_that_started_it(here: LocalShell, tmp_path: Path) -> None:
    start = time.monotonic()
    start_sentinel(here, deadline=soon())
    assert time.monotonic() - start < 5  # nothing of it holds the connection
    pid = int((tmp_path / "sentinel").read_text())
    assert os.getsid(pid) != os.getsid(0)


def test_a_keepsake_is_random_and_told_by_its_sum(here: LocalShell, tmp_path: Path) -> None:
    write_keepsake(here, mib=1, deadline=soon())
    content = (tmp_path / "keepsake").read_bytes()
    assert len(content) == 1 << 20
    seen = observe(here, deadline=soon())
    assert seen.keepsake == sha256(content).hexdigest()
    (tmp_path / "keepsake").write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert observe(here, deadline=soon()).keepsake != seen.keepsake
    assert not (tmp_path / "copy").exists()


def test_of_a_disk_that_hangs_nothing_is_asked(here: LocalShell) -> None:
    write_keepsake(here, mib=1, deadline=soon())
    seen = observe(here, disk=False, deadline=soon())
    assert (seen.keepsake, seen.kernel_log) == ("", ("[ 1.0] a log",))
    shell = FakeShell({"told now": "1700000000.0", "sh -c *": SAID})
    for disk in (True, False):
        observe(shell, disk=disk, deadline=soon())
    asked = [words for words in shell.commands if words.startswith("sh ")]
    assert ["iflag=direct" in words for words in asked] == [True, False]
    assert ["\nsync\n" in words for words in asked] == [True, False]


def test_a_guest_without_a_keepsake_has_none(here: LocalShell) -> None:
    assert observe(here, deadline=soon()).keepsake == ""
