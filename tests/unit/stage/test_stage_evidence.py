"""Evidence is kept of the living and of the dead."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from lab.deadline import Deadline
from lab.errors import HostError
from lab.stage.evidence import keep_host, keep_observation
from lab.testing.host import fake_host
from lab.testing.hypervisor import FakeHypervisor
from lab.testing.shell import FakeShell
from tests.unit.guests.observations import HEALTHY


def soon() -> Deadline:
    return Deadline(10)


CUT = "---- lab: the next log ----\n"


@pytest.mark.parametrize(
    ("said", "xen", "libxl"),
    [
        (f"(XEN) hello\n{CUT}libxl: well\nlibxl: done\n", "(XEN) hello\n", "libxl: well\nlibxl: done"),
        (f"(XEN) hello\n{CUT}", "(XEN) hello\n", ""),
        (f"{CUT}libxl: well\n", "", "libxl: well"),
    ],
    ids=["both", "no log of libxl's", "no xl"],
)
def test_a_hosts_console_and_logs_are_kept(tmp_path: Path, said: str, xen: str, libxl: str) -> None:
    console = tmp_path / "console.log"
    console.write_bytes(b"x" * 500_000 + b"(XEN) the end\n")
    script = FakeShell({"sh -c xl dmesg; echo '---- lab: the next log ----'; tail *": said})
    host = dataclasses.replace(fake_host("xen-4.17", tmp_path, FakeHypervisor(), script=script), console=console)
    folder = tmp_path / "evidence"
    folder.mkdir()
    keep_host(host, folder, deadline=soon())
    assert len(script.asked) == 1
    assert (folder / "xen-4.17-xl-dmesg.log").read_text() == xen
    assert (folder / "xen-4.17-libxl.log").read_text() == libxl
    kept = (folder / "xen-4.17-console.log").read_bytes()
    assert len(kept) == 400_000
    assert kept.endswith(b"(XEN) the end\n")


def test_of_a_dead_host_is_kept_that_it_could_not_be_asked(tmp_path: Path) -> None:
    script = FakeShell({"*": HostError("xen-4.17: connection lost")})
    host = fake_host("xen-4.17", tmp_path, FakeHypervisor(), script=script)
    keep_host(host, tmp_path, deadline=soon())
    for name in ("xl-dmesg", "libxl"):
        text = (tmp_path / f"xen-4.17-{name}.log").read_text()
        assert text == "could not be asked: xen-4.17: connection lost\n"
    assert not (tmp_path / "xen-4.17-console.log").exists()


def test_a_look_inside_a_guest_is_kept_as_lines(tmp_path: Path) -> None:
    keep_observation(HEALTHY, tmp_path / "before.txt")
    lines = (tmp_path / "before.txt").read_text().splitlines()
    assert f"boot_id: {HEALTHY.boot_id}" in lines
    assert lines[-3:] == ["kernel_log:", *HEALTHY.kernel_log]
