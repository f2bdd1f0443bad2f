"""Two hosts that are not there and a guest on the first, who say of themselves what a good move makes them say."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lab.deadline import Deadline
from lab.debian.kernel import Kernel
from lab.guests.guest import Address, Guest, start_guest
from lab.guests.image import BootFiles, GuestImage
from lab.hosts.host import Host
from lab.process import Completed
from lab.scenario.cell import GuestRequest, KernelRequest
from lab.testing.host import FakeDisks, FakeNetwork, fake_host
from lab.testing.hypervisor import FakeHypervisor
from lab.testing.shell import FakeShell
from tests.unit.guests import answers
from tests.unit.guests.observations import HEALTHY

__all__ = ["GUEST", "NAME", "Pair", "agent_says", "meter_says", "pair", "said", "soon", "traces_say"]

NAME = "web32-f00d-10"
GUEST = GuestRequest("web32", "bookworm", "i386", KernelRequest("trixie"))
_NOW = 1_795_000_000.0
_UUID = "0b0f1e7e-0000-4111-8111-0123456789ab"

_ASKED = (
    ("*xenstore-ls*", "traces"),
    ("sh -c program=* sh /run/lab-netmeter.py start *", "start the meter"),
    ("ask /run/lab-netmeter/socket *report*", "ask the meter"),
    ("ask /run/lab-netmeter/socket *stop*", "stop the meter"),
    ("ask 10.77.128.10:7070 *", "ask the agent"),
    ("sh -c program=* sh /run/lab-agent.py start *", "start the agent"),
    ("ask /run/lab-agent/socket *stop*", "stop the agent"),
    ("sh -c *echo boot_id=*", "look inside"),
    ("sh -c *modprobe *", "load modules"),
    ("true", "answer"),
)
"""Patterns of the commands that are told apart, and what they do."""
_PATTERNS = {does: pattern for pattern, does in _ASKED}


def soon() -> Deadline:
    return Deadline(20)


def said(**changes: Any) -> str:
    """What the guest says of itself, in the words of its script."""
    seen = replace(HEALTHY, **changes)
    lines = {
        "boot_id": seen.boot_id,
        "uptime": seen.uptime,
        "release": seen.release,
        "machine": seen.machine,
        "bits": seen.bits,
        "modules": " ".join(sorted(seen.modules)),
        "sentinel": seen.sentinel,
        "clocksource": seen.clocksource,
        "keepsake": seen.keepsake,
    }
    return "\n".join([*(f"{name}={value}" for name, value in lines.items()), "kernel_log=", *seen.kernel_log]) + "\n"


def agent_says(boot: float, number: int, **parts: Mapping[str, Any]) -> str:
    """A report of an agent that is well at ``boot`` and has done ``number`` writes; ``parts`` differ by some fields."""
    good: dict[str, Any] = json.loads(json.dumps(answers.AGENT))
    good["now"] = {"boot": boot, "mono": boot, "real": _NOW + boot}
    good["heartbeat"]["last"] = boot
    good["memory"]["verified"] |= {"wrong": 0, "first": None}
    good["disk"] |= {"number": number, "numbers": [number - 1, number], "errors": []}
    good["disk"]["fsync_after"] |= {"count": 10}
    good["disk"]["verified"] |= {"wrong": 0, "first": None}
    for name, changes in parts.items():
        good[name] |= changes
    return json.dumps(good)


def meter_says(now: float, **parts: Mapping[str, Any]) -> str:
    """A report of a meter that has heard from the guest all the time."""
    good: dict[str, Any] = json.loads(json.dumps(answers.METER))
    good |= {"now": now, "since": now - 30}
    good["tcp"] |= {"ended": None}
    for name, changes in parts.items():
        good[name] |= changes
    return json.dumps(good)


def traces_say(number: int = 0, *, name: str = NAME, more: str = "") -> str:
    """What is on a host whose only guest has that number; 0 for none."""
    tenant = f"tenant {number} {name} 256 1 -b---- 3.2 {_UUID} -\nxenstore /libxl/{number}\ninterface vif{number}.0\n"
    return f"{tenant if number else ''}{more}xenstore /local/domain/0\nxl dmesg\n(XEN) Xen version 4.17\n"


@dataclass
class Noted(FakeShell):
    """A shell that notes who does what, in a log that several share."""

    who: str = ""
    log: list[str] = field(default_factory=list)

    def run(self, *argv: str, deadline: Deadline, stdin: bytes = b"") -> Completed:
        whole = FakeShell(dict(_ASKED))
        does = whole.run(*argv, deadline=deadline)
        if does:
            self.log.append(f"{self.who}: {does.text}")
        return super().run(*argv, deadline=deadline, stdin=stdin)


@dataclass
class Pair:
    """Two hosts and a guest on the first. ``before`` and ``after`` are its shells here and there."""

    hypervisors: list[FakeHypervisor]
    hosts: list[Host]
    dom0s: list[Noted]
    shells: list[Noted]
    guest: Guest
    log: list[str]

    @property
    def source(self) -> FakeHypervisor:
        return self.hypervisors[0]

    @property
    def target(self) -> FakeHypervisor:
        return self.hypervisors[1]

    def disks(self, host: int) -> FakeDisks:
        disks = self.hosts[host].disks
        assert isinstance(disks, FakeDisks)
        return disks

    def on_host(self, host: int, does: str, *replies: Any) -> None:
        """What one of the hosts answers to that question, from now on."""
        self.dom0s[host].answers = {**self.dom0s[host].answers, _PATTERNS[does]: replies}

    def in_guest(self, host: int, *looks: Mapping[str, Any]) -> None:
        """What the guest says of itself on that host, by what is not as ever; the last repeats."""
        told = [said(**changes) for changes in looks]
        self.shells[host].answers = {**self.shells[host].answers, _PATTERNS["look inside"]: told}

    def off_and_on(self) -> None:
        """On the target it is another boot, with another agent."""
        self.in_guest(1, {"boot_id": "2222", "uptime": 9.0, "kernel_log": ("[    0.000000] Linux",)})
        self.on_host(1, "ask the agent", agent_says(12.0, 20))


def _dom0(log: list[str], name: str, *traces: str) -> Noted:
    return Noted(
        {
            _PATTERNS["traces"]: traces,
            _PATTERNS["start the meter"]: meter_says(500.0),
            _PATTERNS["ask the meter"]: (meter_says(530.0), meter_says(560.0)),
            _PATTERNS["stop the meter"]: json.dumps({"schema": "lab.netmeter/1"}),
            _PATTERNS["ask the agent"]: (agent_says(61.0, 130), agent_says(91.0, 170)),
            "sh -c xl dmesg; *": "(XEN) well\n---- lab: the next log ----\nlibxl: well\n",
            "sh -c cat *": "boots\n",
            "timeout 5 *": "",
            "blockdev *": "",
            "mkdir *": "",
            "mount *": "",
        },
        who=name,
        log=log,
    )


def _guest_shell(log: list[str], uptime: float) -> Noted:
    return Noted(
        {
            _PATTERNS["start the agent"]: agent_says(10.0, 5),
            _PATTERNS["stop the agent"]: json.dumps({"schema": "lab.agent/1"}),
            "told now": f"{_NOW:.9f}",
            "sh -c *modprobe * sh loop fuse": "live\nlive\n",
            "sh -c *modprobe * sh isofs": "live\n",
            _PATTERNS["look inside"]: said(uptime=uptime),
            "true": "",
        },
        who="guest",
        log=log,
    )


@pytest.fixture
def pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pair]:
    """A guest that waits on xen-4.14 to go to xen-4.20, live and without trouble."""
    log: list[str] = []
    monkeypatch.setattr("lab.clock.time", SimpleNamespace(time=lambda: _NOW))
    monkeypatch.setattr("lab.stage.travel.pause", lambda _seconds: log.append("lab: wait"))
    there, gone = traces_say(3), traces_say()
    hypervisors = [FakeHypervisor(uri=f"fake:///xen-{version}") for version in ("4.14", "4.20")]
    # What one saves to a disk that both see, the other can read.
    hypervisors[1].saved = hypervisors[0].saved
    dom0s = [_dom0(log, "xen-4.14", there, gone, gone, there), _dom0(log, "xen-4.20", gone, there, there, gone)]
    shells = [_guest_shell(log, 61.25), _guest_shell(log, 95.5)]
    hosts = []
    for hypervisor, dom0, shell in zip(hypervisors, dom0s, shells, strict=True):
        (tmp_path / dom0.who).mkdir()
        hosts.append(fake_host(dom0.who, tmp_path / dom0.who, hypervisor, script=dom0))
        assert isinstance(hosts[-1].network, FakeNetwork)
        hosts[-1].network.scripts[NAME] = shell
    disk = tmp_path / "image.raw"
    disk.touch()
    kernel = Kernel(tmp_path, HEALTHY.release, "6.12.57-1", "amd64")
    image = GuestImage(disk, BootFiles("b00t", kernel, tmp_path), "/sbin/init")
    with start_guest(NAME, hosts[0], GUEST, image, Address(10), tmp_path, deadline=soon()) as guest:
        log.clear()
        yield Pair(hypervisors, hosts, dom0s, shells, guest, log)
