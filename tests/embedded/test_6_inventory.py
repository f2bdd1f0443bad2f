"""Hosts of a user's own, for real: two embedded hosts that the lab is told of by a hosts file, and nothing else.

A modules cell, a cold and a live move of a 32-bit guest from 4.14 to 4.20; a run that is killed, and what it leaves.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.deadline import Deadline
from lab.hosts.inventory.ssh import OneShot
from lab.scenario.inventory import load_inventory
from lab.wait import wait_until
from tests.embedded.conftest import ROOT
from tests.embedded.stand_ins import stand_ins

LAB = (sys.executable, "-m", "lab")
SCENARIO = """\
scenario: modules on a host of one's own
hosts: {lab: {inventory: own-4.20, xen: "4.20"}}
guests:
  web32: {release: bookworm, userland: i386, kernel: {release: bookworm}, type: pv, memory: 128M}
modules: {load: [loop, fuse]}
limits: {cell: 30m}
---
scenario: a 32-bit guest onto a newer host of one's own
hosts: {source: {inventory: own-4.14, xen: "4.14"}, target: {inventory: own-4.20, xen: "4.20"}}
guests:
  web32: {release: bookworm, userland: i386, kernel: {release: bookworm}, type: pv, memory: 128M}
migrate: {how: [cold, live]}
modules: {load: [loop, fuse], load_after: [isofs]}
limits: {network_gap: 5m, guest_pause: 5m, fsync: 2m, clock: 1m, cell: 40m}
"""

# What is on a host that a run may have put there; its own address and its lease's file stay.
TRACES = (
    "ls /run/lab | grep -v '^lease$'; ls -d /sys/block/nbd*/pid 2>/dev/null; grep ' /run/lab/' /proc/mounts;"
    " virsh -q -c xen:///system list --all --name | grep -v '^$' | grep -v Domain-0;"
    " ip -o -4 addr show dev xenbr0 | grep -c inet"
)


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with stand_ins(tmp_path_factory.mktemp("own"), ("4.14", "4.20")) as file:
        yield file


@pytest.fixture(scope="module")
def scenario(hosts: Path) -> Path:
    file = hosts.with_name("own.lab.yaml")
    file.write_text(SCENARIO)
    return file


def traces(hosts: Path) -> dict[str, list[str]]:
    return {
        name: OneShot(host).run("sh", "-c", TRACES, deadline=Deadline(300)).text.splitlines()
        for name, host in load_inventory(hosts).hosts.items()
    }


CLEAN = {"own-4.14": ["1"], "own-4.20": ["1"]}


def lab(*words: object, seconds: float = 5400.0) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        (*LAB, *map(str, words)), cwd=ROOT, capture_output=True, text=True, check=False, timeout=seconds
    )


def test_the_doctor_finds_nothing_wrong_with_them(hosts: Path) -> None:
    done = lab("doctor", "--json", "--hosts", hosts)
    found = [one for one in json.loads(done.stdout)["diagnoses"] if one["name"].startswith("own-")]
    assert [(one["name"], one["state"]) for one in found] == [("own-4.14", "ok"), ("own-4.20", "ok")]


MINE = """\
<domain type='xen'>
  <name>mine</name><memory unit='MiB'>64</memory><vcpu>1</vcpu>
  <os><type>linux</type><kernel>/boot/not-there</kernel></os>
  <devices><interface type='bridge'><source bridge='br-storage'/></interface></devices>
</domain>
"""


def test_preflight_asks_them_by_their_names_and_changes_nothing(hosts: Path) -> None:
    words = ("preflight", "--hosts", hosts, "--from", "own-4.14", "--to", "own-4.20", "--how", "cold")
    nothing = lab(*words, "all")
    assert (nothing.returncode, nothing.stdout) == (2, "")
    assert "own-4.14 has no guest that is defined" in nothing.stderr
    old = OneShot(load_inventory(hosts).hosts["own-4.14"])
    old.run("virsh", "define", "/dev/stdin", stdin=MINE.encode(), deadline=Deadline(300)).check()
    try:
        done = lab(*words, "--json", "all")
        assert done.returncode == 1, done.stderr
        (answer,) = json.loads(done.stdout)["answers"]
        against = {reason["rule"] for reason in answer["reasons"] if reason["decision"] == "no-go"}
        assert (answer["guest"], against) == ("mine", {"boot-files", "bridge"})
    finally:
        old.run("virsh", "undefine", "mine", deadline=Deadline(300)).check()
    assert traces(hosts) == CLEAN


def test_modules_load_and_a_guest_moves_cold_and_live(hosts: Path, scenario: Path, tmp_path: Path) -> None:
    done = lab("run", "--hosts", hosts, "--reports", tmp_path, scenario)
    assert done.returncode == 0, done.stdout + done.stderr
    matrix: dict[str, Any] = json.loads((tmp_path / "latest" / "matrix.json").read_text())
    assert [(cell["kind"], cell["outcome"]) for cell in matrix["cells"]] == [
        ("modules", "pass"),
        ("migration", "pass"),
        ("migration", "pass"),
    ]
    assert {(host["name"], host["kind"]) for host in matrix["run"]["hosts"]} == {
        ("own-4.14", "inventory"),
        ("own-4.20", "inventory"),
    }
    assert matrix["run"]["accelerator"] == "tcg"
    live = next(cell for cell in matrix["cells"] if cell["axes"].get("how") == "live")
    held = {check["name"] for check in live["checks"] if check["outcome"] == "pass"}
    assert {"same-boot", "same-process", "no-leak", "disk-in-flight", "modules-kept"} & held
    record = "".join(file.read_text() for file in (tmp_path / "latest").glob("*.jsonl"))
    assert "keys/ed25519" not in record  # paths of keys are nobody's business
    assert traces(hosts) == CLEAN


def test_what_a_killed_run_left_is_removed_and_a_living_ones_is_not(
    hosts: Path, scenario: Path, tmp_path: Path
) -> None:
    words = (*LAB, "run", "--hosts", str(hosts), "--reports", str(tmp_path), "-k", "modules", str(scenario))
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as run:
        wait_until(
            "a guest on a host",
            lambda: any("web32" in line for line in traces(hosts)["own-4.20"]),
            deadline=Deadline(1800),
            interval=5,
        )
        assert "own-" not in lab("clean", "--hosts", hosts, "--dry-run").stdout.replace(str(hosts), "")
        run.send_signal(signal.SIGKILL)
    done = lab("clean", "--hosts", hosts)
    assert done.returncode == 0, done.stderr
    assert "removed on own-4.20 run " in done.stdout
    assert traces(hosts) == CLEAN


def test_a_host_that_is_not_there_is_an_error_and_others_go_on(hosts: Path, tmp_path: Path) -> None:
    text = hosts.read_text() + "  own-9.99: {ssh: root@127.0.0.1, port: 9}\n"
    more = hosts.with_name("more.yaml")
    more.write_text(text)
    file = tmp_path / "two.lab.yaml"
    boots = SCENARIO.partition("---\n")[0]
    file.write_text(boots.replace('inventory: own-4.20, xen: "4.20"', "inventory: [own-9.99, own-4.20]"))
    done = lab("run", "--hosts", more, "--reports", tmp_path, file)
    assert done.returncode == 3, done.stdout + done.stderr
    cells = json.loads((tmp_path / "latest" / "matrix.json").read_text())["cells"]
    assert [cell["outcome"] for cell in cells] == ["error", "pass"]
    assert cells[0]["reason"].startswith("own-9.99: ssh does not get there: ")
    assert "Traceback" not in done.stdout + done.stderr
