"""Moves that meet obstacles, without hosts: each is survived, and each check goes red by its name when it must."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from lab.checks.obstacles import OBSTACLES, Obstacle, chosen_obstacles
from lab.checks.setback import CHECKS, Encounter
from lab.errors import GuestError, UnknownNameError
from lab.hypervisor import DomainState, binding
from lab.stage.obstructing import Encounters, Passage
from lab.testing.hypervisor_world import FakeRefusal
from lab.testing.shell import Answer
from lab.verdict import Outcome
from tests.unit.stage.roads import BOOT, NAME, SENDING, FakeRoads, Road, road, soon

BY_NAME = {obstacle.name: obstacle for obstacle in OBSTACLES}
Change = Callable[[Road], None]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes its time on real hosts takes none here."""
    monkeypatch.setattr("lab.hypervisor.calls.GRACE", 0.05)
    monkeypatch.setattr("lab.stage.obstructing.pause", lambda _seconds: None)
    monkeypatch.setattr("lab.stage.obstructing._CALM_SECONDS", 0.0)


def met(folder: Path, obstacle: str, *changes: Change) -> tuple[Encounter, FakeRoads]:
    """What came of an obstacle on a road that is as it should be but for ``changes``, and on a good one after it."""

    def prepare(made: Road, number: int) -> None:
        if number == 1:
            made.ready_for(obstacle)
            for change in changes:
                change(made)

    roads = FakeRoads(folder, prepare)
    (encounter,) = Encounters(roads, lambda _obstacle: evidence_in(folder)).run((brief(obstacle),))
    return encounter, roads


def evidence_in(folder: Path) -> Path:
    evidence = folder / "evidence"
    evidence.mkdir(parents=True, exist_ok=True)
    return evidence


def brief(name: str) -> Obstacle:
    """A move that hangs is waited for no longer than it must."""
    return replace(BY_NAME[name], seconds=0.5 if name in {"unreachable", "power-cut"} else 10.0)


def observed(encounter: Encounter, name: str) -> str:
    return next(check.observed for check in encounter.checks if check.name == name)


def refuse(text: str = SENDING) -> None:
    raise FakeRefusal(binding.INTERNAL_ERROR, text)


@pytest.mark.parametrize("name", BY_NAME)
def test_every_obstacle_is_survived(tmp_path: Path, name: str) -> None:
    encounter, roads = met(tmp_path, name)
    assert (encounter.trouble, encounter.reason) == ("", "")
    assert {check.name: check.outcome for check in encounter.checks} == dict.fromkeys(dict(CHECKS), Outcome.PASS)
    assert (tmp_path / "evidence" / "setback.json").exists()
    fresh = ["2 up", "2 down"] if BY_NAME[name].fatal else []
    assert roads.log == ["1 up", "1 down", *fresh]


@pytest.mark.parametrize(
    ("name", "named", "onward"),
    [
        ("no-bridge", "bridge xenbr0 does not exist", "the same guest: in "),
        ("no-disk", "xvda: No such file or directory", "the same guest: in "),
        ("no-memory", "not enough free memory", "the same guest: in "),
        ("name-taken", f"domain '{NAME}' already exists with uuid", "the same guest: in "),
        ("unreachable", "xen-4.14 does not reach xen-4.20 at 10.78.4.20", "the same guest: in "),
        (
            "killed-libvirtd",
            "xen-4.20: libvirtd has ended meanwhile: it was process 319, now it is 0",
            "the same guest: in ",
        ),
        ("moved-twice", "cannot acquire state change lock", "the first of the two: in "),
        ("power-cut", "xen-4.20: QEMU ended with status -9", "another guest on fresh hosts: in "),
    ],
)
def test_the_cause_is_named_and_somebody_moves_on(tmp_path: Path, name: str, named: str, onward: str) -> None:
    encounter, _roads = met(tmp_path, name)
    assert named in observed(encounter, "cause-named")
    assert observed(encounter, "next-move-works").startswith(onward)


def test_a_cause_that_only_the_other_hosts_log_has_counts(tmp_path: Path) -> None:
    def by_log(made: Road) -> None:
        made.dom0s[1].hides = False
        made.meanwhile(refuse)

    encounter, _roads = met(tmp_path, "no-bridge", by_log)
    assert encounter.outcome is Outcome.PASS
    words = "xen-4.20: libxl: x.c:1: script: Could not find bridge device xenbr0"
    assert observed(encounter, "cause-named") == words


def test_half_a_guest_is_destroyed_and_told_of(tmp_path: Path) -> None:
    encounter, roads = met(tmp_path, "killed-libvirtd")
    words = f"nothing; xen-4.20: domain 9, half made of {NAME}, was destroyed"
    assert observed(encounter, "no-leak") == words
    assert (roads.roads[0].dom0s[1].half, roads.roads[0].dom0s[1].daemon) == ("", 977)


def test_who_still_sends_to_a_dead_host_is_ended_and_told_of(tmp_path: Path) -> None:
    encounter, _roads = met(tmp_path, "power-cut")
    assert observed(encounter, "no-leak") == (
        "nothing; xen-4.20 was not asked: xen-4.20: QEMU ended with status -9; its console: (XEN) well; "
        "xen-4.14: libxl's helper 812 was ended"
    )
    where = f"{NAME} is running on fake:///xen-4.14, absent on fake:///xen-4.20 (its machine is off)"
    assert observed(encounter, "lives-once") == where


def test_a_daemon_that_holds_a_job_for_nobody_is_restarted_and_told_of(tmp_path: Path) -> None:
    encounter, roads = met(tmp_path, "name-taken", lambda made: setattr(made.dom0s[0], "job", "Unbounded"))
    assert encounter.outcome is Outcome.PASS
    words = f"nothing; xen-4.14: libvirtd was restarted, it held a job of {NAME} that nobody would end"
    assert observed(encounter, "no-leak") == words
    assert roads.roads[0].dom0s[0].daemon == 977


def test_a_cable_is_put_back_before_the_next_move(tmp_path: Path) -> None:
    _encounter, roads = met(tmp_path, "unreachable")
    assert roads.roads[0].rig.log == ["moves down", "moves up"]


def _is_none(made: Road) -> None:
    """The bridge is not missed."""
    made.dom0s[1].hides = False


def _says_nothing(made: Road) -> None:
    """No error says why, and no log."""
    made.dom0s[1].hides = False
    made.dom0s[1].log.clear()
    made.meanwhile(refuse)


def _on_both(made: Road) -> None:
    """The guest runs on the target, too."""

    def come() -> None:
        (record,) = made.worlds[0].records.values()
        made.worlds[1].records[record.identity.uuid] = replace(record, state=DomainState.RUNNING)

    made.meanwhile(come)


def _dies(made: Road) -> None:
    """The guest dies of the move."""
    made.meanwhile(made.worlds[0].records.clear)


def _lives(*lives: str | Answer) -> Change:
    """What the guest says of its life before the move, after it, and so on."""

    def tell(made: Road) -> None:
        made.guest.answers = {**made.guest.answers, "sh -c *boot_id*": lives}

    return tell


def _leaks(made: Road) -> None:
    """The move that failed leaves a loop device on the target."""
    made.meanwhile(lambda: setattr(made.dom0s[1], "more", "loop loop0 /run/leak"))


def _never_again(made: Road) -> None:
    """The next move does not work either."""
    made.meanwhile(lambda: None, refuse)


_SAME = f"{BOOT}\n401/2201\n402/2203\n"


@pytest.mark.parametrize(
    ("change", "red", "words"),
    [
        (_is_none, ("refused-or-failed",), "success"),
        (_says_nothing, ("cause-named",), SENDING),
        (_on_both, ("lives-once", "no-leak"), "running on fake:///xen-4.14, running on fake:///xen-4.20"),
        (_dies, ("lives-once",), "absent on fake:///xen-4.20; it lives nowhere"),
        (_lives(_SAME, "another\n401/2201\n402/2203\n", _SAME), ("lives-once",), f"boot_id was {BOOT}, is another"),
        (_lives(_SAME, f"{BOOT}\n402/2203\n", _SAME), ("lives-once",), "processes of the agent are gone: 401/2201"),
        (
            _lives(_SAME, Answer(1), Answer(1), _SAME),
            ("lives-once",),
            "it does not answer: it does not tell its boot id",
        ),
        (_lives(_SAME, _SAME, f"{BOOT}\n"), ("next-move-works",), f"the same guest: no agent runs in the boot {BOOT}"),
        (_leaks, ("no-leak",), "xen-4.20: + loop loop0 /run/leak"),
        (_never_again, ("next-move-works",), SENDING),
    ],
)
def test_each_check_goes_red_by_its_name(tmp_path: Path, change: Change, red: Sequence[str], words: str) -> None:
    encounter, roads = met(tmp_path, "no-bridge", change)
    assert encounter.trouble == ""
    assert set(red) <= {check.name for check in encounter.broken} <= {*red, "cause-named", "next-move-works"}
    assert words in observed(encounter, red[0])
    assert encounter.outcome is Outcome.FAIL
    assert f"{red[0]}: " in encounter.reason
    assert "salvage" in roads.log


def test_a_move_that_takes_too_long_is_red(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lab.stage.obstructing._OVERRUN", -10.0)
    encounter, _roads = met(tmp_path, "no-bridge")
    assert [check.name for check in encounter.broken] == ["in-time"]


def test_a_move_that_hangs_ends_with_its_deadline(tmp_path: Path) -> None:
    encounter, _roads = met(tmp_path, "unreachable")
    error = observed(encounter, "refused-or-failed")
    assert "not done within 0.5 s; abort refused: this function is not supported" in error
    assert error.endswith(f"{NAME} is running on fake:///xen-4.14, absent on fake:///xen-4.20")


def test_a_call_that_never_comes_back_costs_nobody_anything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lab.stage.obstructing._LANDING_SECONDS", 0.1)
    encounter, _roads = met(tmp_path, "power-cut", lambda made: setattr(made.dom0s[0], "end", lambda: None))
    assert (encounter.trouble, encounter.reason) == ("", "")


def test_a_fresh_guest_that_does_not_arrive_is_red(tmp_path: Path) -> None:
    def prepare(made: Road, number: int) -> None:
        made.ready_for("power-cut") if number == 1 else made.meanwhile(refuse)

    roads = FakeRoads(tmp_path, prepare)
    (encounter,) = Encounters(roads, lambda _obstacle: evidence_in(tmp_path)).run((brief("power-cut"),))
    assert [check.name for check in encounter.broken] == ["next-move-works"]
    assert roads.log == ["1 up", "1 down", "2 up", "salvage", "2 down"]


def test_an_obstacle_that_comes_too_late_is_the_labs_trouble(tmp_path: Path) -> None:
    encounter, roads = met(tmp_path, "unreachable", Road.quick)
    assert encounter.outcome is Outcome.ERROR
    words = f"{NAME}: the move was over before unreachable could come; of the move: it arrived"
    assert (encounter.trouble, encounter.reason) == (words, words)
    assert roads.log == ["1 up", "salvage", "1 down"]


def test_a_guest_that_has_arrived_is_not_midway(tmp_path: Path) -> None:
    over = threading.Event()
    over.set()
    with road(tmp_path / "road") as made, ExitStack() as keep:
        made.dom0s[1].incoming = True
        passage = Passage(BY_NAME["power-cut"], made.crossing, keep)
        with pytest.raises(GuestError, match=f"^{NAME}: the move was over before power-cut could come$"):
            passage._obstruct(keep, over, soon())
        assert made.rig.log == []


@pytest.mark.parametrize("name", ["unreachable", "power-cut"])
def test_a_host_whose_plugs_nobody_can_pull(tmp_path: Path, name: str) -> None:
    def not_ours(made: Road) -> None:
        made.crossing.target = replace(made.crossing.target, rig=None)

    encounter, _roads = met(tmp_path, name, not_ours)
    assert encounter.outcome is Outcome.ERROR
    assert encounter.trouble.startswith("xen-4.20: nobody can pull its plugs; of the move: ")


def test_trouble_with_one_is_no_trouble_with_the_next(tmp_path: Path) -> None:
    def prepare(made: Road, number: int) -> None:
        made.ready_for("no-bridge")
        made.dom0s[1].dead = "xen-4.20: connection lost" if number == 1 else ""

    roads = FakeRoads(tmp_path, prepare)
    encounters = Encounters(roads, lambda _obstacle: evidence_in(tmp_path)).run((brief("no-bridge"),) * 2)
    assert [(one.outcome, one.trouble) for one in encounters] == [
        (Outcome.ERROR, "xen-4.20: connection lost"),
        (Outcome.PASS, ""),
    ]


def test_names_are_those_of_obstacles() -> None:
    assert [one.name for one in chosen_obstacles(("power-cut", "no-bridge"))] == ["no-bridge", "power-cut"]
    assert chosen_obstacles(()) == OBSTACLES
    with pytest.raises(UnknownNameError, match=r"^no obstacle 'power-cutt'; known: killed-libvirtd, moved-twice, "):
        chosen_obstacles(("power-cutt",))
