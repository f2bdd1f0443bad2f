"""What past runs say, and what they do not; and the score of preflight's own answers."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lab.preflight.answer import Decision
from lab.preflight.move import Move
from lab.preflight.past import Past, past_of
from lab.preflight.score import Scored, score_of, scored
from lab.verdict import Check, Outcome
from tests.unit.preflight.questions import Change, answer, cell, decision, matrix, past, question, reasons

GO, WARN, UNTESTED, NO_GO = Decision.GO, Decision.WARN, Decision.UNTESTED, Decision.NO_GO


@pytest.mark.parametrize(
    "other",
    [
        {"source": "4.17"},
        {"target": "4.20"},
        {"how": "save-restore"},
        {"type": "pvh"},
        {"kernel": "bookworm-i386-686-pae"},
        {"arrives": "bookworm-amd64-cloud-pvh"},
        {"source": "4.14-dom0-i386"},
        {"fault": "drop packets"},
        {"negative": "target lacks the bridge"},
    ],
)
def test_another_move_says_nothing(other: Change) -> None:
    assert decision(question(past=past(cell(**other))), "past") is UNTESTED


def test_a_move_where_nothing_was_broken_on_purpose_counts() -> None:
    assert decision(question(past=past(cell(fault="none"))), "past") is GO


def test_another_libvirt_says_nothing() -> None:
    assert decision(question(past=past(cell(), libvirt="9.0.0")), "past") is UNTESTED
    assert decision(question(past=past(cell(), libvirt="")), "past") is GO  # a run that does not say


@pytest.mark.parametrize("outcome", [Outcome.ERROR, Outcome.SKIPPED])
def test_what_was_not_judged_says_nothing(outcome: Outcome) -> None:
    assert decision(question(past=past(cell(outcome))), "past") is UNTESTED


def test_a_failure_beside_a_pass_is_a_no() -> None:
    asked = question(past=past(cell(), cell(Outcome.FAIL, "clock: fail", name="again")))
    assert [str(one) for one in reasons(asked, "past")] == [
        "past: such a move was seen: fail: clock: fail (run 20261122-1, again)",
        "past: such a move was seen to work (run 20261122-1, live)",
    ]
    assert answer(asked).decision is NO_GO


def test_the_very_same_kernel_and_userland_count_most() -> None:
    bad = cell(Outcome.FAIL, "kernel-log: fail", name="other", kernel_version="6.12.1-cloud-amd64")
    assert decision(question(past=past(bad, cell())), "past") is GO
    assert decision(question(past=past(bad)), "past") is NO_GO
    wide = cell(Outcome.FAIL, "kernel-log: fail", name="wide", userland="amd64")
    assert decision(question(past=past(wide, cell())), "past") is GO
    assert decision(question(past=past(wide, cell()), guest={"inside": None}), "past") is NO_GO


def test_several_runs_count_together() -> None:
    both = past(cell()) + past(cell(name="twice"))
    (reason,) = reasons(question(past=both), "past")
    assert str(reason) == "past: such a move was seen to work 2 times (run 20261122-1, twice)"
    (reason,) = reasons(question(past=past() + past()), "past")
    assert str(reason) == "past: no run has seen such a move (runs: 20261122-1, 20261122-1)"
    (reason,) = reasons(question(past=Past()), "past")
    assert str(reason) == "past: no run has seen such a move (runs: none was given)"


def test_hosts_of_an_inventory_are_known_by_their_names() -> None:
    run = matrix(cell(source="alpha", target="beta"))
    hosts = tuple(
        replace(host, name=name, kind="inventory") for host, name in zip(run.run.hosts, ("alpha", "beta"), strict=True)
    )
    found = past_of(replace(run, run=replace(run.run, hosts=hosts)))
    assert decision(question(past=found), "past") is GO
    assert decision(question(past=past(cell(source="alpha", target="beta"))), "past") is UNTESTED


def test_a_cold_move_that_changes_the_kernel_is_told_from_one_that_does_not() -> None:
    meant = Move("cold", kernel="6.1.0-56-cloud-amd64", type="pv")
    leaving: Change = {"guest": {"type": "pvh"}, "inside": {"machine": "i686"}}
    left: Change = {"how": "cold", "type": "pvh", "kernel": "bookworm-i386-686-pae"}
    changed = past(cell(**left, arrives="bookworm-amd64-cloud-pv"))
    assert decision(question(move=meant, **leaving, past=changed), "past") is GO
    assert decision(question(move=Move("cold"), past=changed), "past") is UNTESTED
    unchanged = past(cell(how="cold"))
    assert decision(question(move=meant, **leaving, past=unchanged), "past") is UNTESTED
    assert decision(question(move=Move("cold"), past=unchanged), "past") is GO
    assert decision(question(move=Move("cold"), past=past(cell(how="cold-shared"))), "past") is UNTESTED


def test_there_and_back_proves_both_ways_or_neither() -> None:
    back: Change = {"source": {"xen": "4.15.0", "libvirt": "7.10.0"}, "target": {"xen": "4.14.6", "libvirt": "7.0.0"}}
    legs = (Check("back:same-boot", Outcome.PASS),)
    for both in (cell(trip="there-and-back"), replace(cell(), checks=legs)):
        assert decision(question(past=past(both)), "past") is GO
        assert decision(question(**back, past=past(both)), "past") is GO
        assert decision(question(**back, past=past(both)), "xen-version") is WARN
        failed = replace(both, outcome=Outcome.FAIL)
        assert decision(question(past=past(failed)), "past") is UNTESTED
        assert decision(question(past=past(failed, cell())), "past") is GO
    assert decision(question(**back, past=past(cell())), "past") is UNTESTED
    home = past(cell(trip="there-and-back", type="pvh", how="cold", arrives="bookworm-amd64-cloud-pv"))
    returning = question(**back, move=Move("cold", type="pvh"), past=home)
    assert decision(returning, "past") is GO


def test_the_confusion_table() -> None:
    run = matrix(
        cell(name="a", preflight="go"),
        cell(name="b", preflight="go"),
        cell(Outcome.FAIL, name="c", preflight="go"),
        cell(Outcome.UNSUPPORTED, name="d", preflight="no-go", preflight_rules="log-dirty"),
        cell(name="e", preflight="no-go", preflight_rules="cpu"),
        cell(name="f", preflight="untested", preflight_rules="past"),
        cell(Outcome.ERROR, name="g", preflight="go"),
        cell(name="h"),
        replace(cell(name="i", preflight="go"), kind="boot"),
    )
    cells, unasked = scored(run)
    found = score_of(cells, unasked=unasked)
    assert found.to_json() == {
        "schema": "lab.preflight-score/1",
        "table": {
            "go": {"pass": 2, "fail": 1, "unsupported": 0},
            "no-go": {"pass": 1, "fail": 0, "unsupported": 1},
            "untested": {"pass": 1, "fail": 0, "unsupported": 0},
        },
        "false_go": ["m.lab.yaml::c"],
        "false_no_go": [{"cell": "m.lab.yaml::e", "rules": "cpu"}],
        "unasked": 1,
        "unjudged": 1,
    }


@pytest.mark.parametrize("outcome", [Outcome.FAIL, Outcome.UNSUPPORTED])
def test_a_go_that_was_none_is_named(outcome: Outcome) -> None:
    false = Scored("m::x", GO, outcome)
    assert score_of((false, Scored("m::y", GO, Outcome.PASS))).false_go == (false,)
    assert score_of((Scored("m::x", NO_GO, outcome), Scored("m::y", UNTESTED, outcome))).false_go == ()
