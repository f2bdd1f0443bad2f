"""The table of obstacles, its scripts in a shell whose Xen is played, and what is asked of an encounter."""

from __future__ import annotations

import re

import pytest

from lab.checks import obstacles
from lab.checks.obstacles import OBSTACLES
from lab.checks.setback import CHECKS, Encounter, Onward, Setback, setback_checks
from lab.deadline import Deadline
from lab.errors import GuestError
from lab.guests.life import Life
from lab.hypervisor import DomainState, Sighting, Whereabouts
from lab.process import Completed
from lab.stage import obstructing
from lab.verdict import Check, Outcome
from tests.unit.guests.witnesses import HereShell
from tests.unit.programs import Programs

LIFE = Life("7d0c", frozenset({"401/2201"}))
WHERE = Whereabouts(
    "web32", Sighting("fake:///a", DomainState.RUNNING), Sighting("fake:///b", DomainState.ABSENT, "its machine is off")
)
DEAD = Setback(
    guest="web32",
    error="migrate: lost",
    causes=("b: QEMU ended",),
    named=re.compile("QEMU ended"),
    where=WHERE,
    home="a",
    before=LIFE,
    after=LIFE,
    traces={},
    seconds=3.0,
    limit=90.0,
    unasked={"a": "gone", "b": "dead"},
)


def sh(script: str, *words: str) -> Completed:
    return HereShell().run("sh", "-c", script, "sh", *words, deadline=Deadline(10))


def test_every_obstacle_says_what_it_does_and_how_it_goes() -> None:
    assert len({one.name for one in OBSTACLES}) == len(OBSTACLES)
    for one in OBSTACLES:
        assert all((one.does, one.cause, one.words, one.undone)), one.name
    wanted = {"no-bridge", "no-disk", "no-memory", "name-taken", "unreachable", "killed-libvirtd", "moved-twice"}
    assert {one.name for one in OBSTACLES} == wanted | {"power-cut"}


LOGGED = {
    "no-bridge": "libxl: x.c:1290:device_hotplug_child_death_cb: script: Could not find bridge device xenbr0",
    "no-disk": (
        "libxl: libxl_device.c:352:libxl__device_disk_set_backend: Disk vdev=xvda failed to stat: "
        "/dev/disk/by-id/scsi-0QEMU_QEMU_HARDDISK_web32-xvda: No such file or directory"
    ),
    "no-memory": "xc: Failed to populate physmap (16 = Device or resource busy): Internal error",
    "name-taken": "operation failed: domain 'web32' already exists with uuid 0b0f1e7e-0000-4111-8111-0123456789ab",
    "unreachable": "xen-4.14 does not reach xen-4.20 at 10.78.4.20",
    "killed-libvirtd": "xen-4.20: libvirtd has ended meanwhile: it was process 319, now it is 977",
    "moved-twice": "Requested operation is not valid: domain 'web32' is already being started",
    "power-cut": "xen-4.20: QEMU ended with status -9; its console: (XEN) well",
}
"""What is said of each, in the words of libxl and libvirt where it is theirs: formats of their libraries' texts."""


@pytest.mark.parametrize("one", OBSTACLES, ids=lambda one: one.name)
def test_its_words_are_found_in_what_is_logged_of_it_and_of_no_other(one: obstacles.Obstacle) -> None:
    names = {"guest": "web32", "disk": "web32-xvda", "bridge": "xenbr0", "source": "xen-4.14", "target": "xen-4.20"}
    safe = {name: re.escape(value) for name, value in names.items()}
    pattern = re.compile("|".join(words.format(**safe) for words in one.words))
    assert [name for name, line in LOGGED.items() if pattern.search(line)] == [one.name]


IP = """
echo "$*" >> "$HERE/asked"
case "$*" in *" addr show "*) echo '4: xenbr0    inet 10.77.4.20/16 brd 10.77.255.255 scope global xenbr0' ;; esac
"""


def test_a_bridge_is_hidden_and_comes_back_with_its_address(programs: Programs) -> None:
    programs.add("ip", IP)
    note = str(programs.folder / "address")
    assert sh(obstacles._HIDE.replace("/run/lab-bridge", note), "xenbr0")
    assert sh(obstacles._SHOW.replace("/run/lab-bridge", note), "xenbr0")
    assert programs.note("asked") == [
        "-o -4 addr show dev xenbr0",
        "link set xenbr0 down",
        "link set xenbr0 name lab-gone",
        "link set lab-gone down",
        "link set lab-gone name xenbr0",
        "link set xenbr0 up",
        "addr replace 10.77.4.20/16 dev xenbr0",
    ]


def test_midway_is_when_the_target_has_a_part_of_the_memory(programs: Programs) -> None:
    script = """
echo x >> "$HERE/asked"
[ $(wc -l < "$HERE/asked") -gt 1 ] || { echo "web32 is an invalid domain identifier" >&2; exit 1; }
echo 'Name        ID   Mem VCPUs      State   Time(s)'
echo "web32        3 $(( $(wc -l < "$HERE/asked") * 4 ))     1     --p---       0.0"
"""
    programs.add("xl", script)
    assert not sh(obstructing._MIDWAY, "web32", "20")
    assert len(programs.note("asked")) == 4
    assert sh(obstructing._MIDWAY, "web32", "20")
    assert len(programs.note("asked")) == 5


def test_checks_have_the_names_of_the_table() -> None:
    assert tuple(check.name for check in setback_checks(DEAD, Onward("x", 1.0))) == tuple(name for name, _ in CHECKS)


def test_dead_hosts_are_not_asked_for_leaks_and_cost_nothing() -> None:
    checks = setback_checks(DEAD, Onward("another guest", 20.04))
    by_name = {check.name: check for check in checks}
    observed = "nothing; a was not asked: gone; b was not asked: dead"
    assert by_name["no-leak"] == Check("no-leak", Outcome.SKIPPED, "nothing", observed)
    assert by_name["next-move-works"].observed == "another guest: in 20.0 s"
    assert Encounter("power-cut", "it is cut", checks).outcome is Outcome.PASS
    assert Encounter("power-cut", "it is cut").outcome is Outcome.ERROR


def test_what_was_seen_is_kept() -> None:
    kept = DEAD.to_json()
    assert kept["where"] == "web32 is running on fake:///a, absent on fake:///b (its machine is off)"
    assert kept["named"] == "QEMU ended"
    assert (kept["left"], kept["unasked"]) == ([], {"a": "gone", "b": "dead"})


def test_an_encounter_that_came_to_nothing_says_why() -> None:
    unmet = Encounter.unmet("no-bridge", "it is renamed", GuestError("no guest", hint="none"), 2.0)
    assert unmet.to_json() == {
        "obstacle": "no-bridge",
        "does": "it is renamed",
        "outcome": "error",
        "checks": [],
        "seconds": 2.0,
        "trouble": "no guest",
    }
