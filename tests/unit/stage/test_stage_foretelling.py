"""What a stage asks preflight before a move, and what it learns from it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lab.guests.moving import Arrival
from lab.matrix.model import HostFacts
from lab.preflight import Answer, Decision, Move, Past, Reason
from lab.scenario.cell import Cell, HostRequest, MigrationRequest, ModulesRequest
from lab.stage.foretelling import Foreteller
from lab.stage.prepared import PreparedMove
from lab.verdict import Outcome, Verdict
from tests.unit.stage.travellers import GUEST, Pair, pair, soon

__all__ = ["pair"]

REQUEST = MigrationRequest(
    HostRequest("source", "4.14"), HostRequest("target", "4.20"), GUEST, "cold", ModulesRequest((), ("isofs",))
)
AXES = {"source": "4.14", "target": "4.20", "how": "cold", "kernel": "trixie", "type": "pv", "userland": "i386"}
HOSTS = tuple(HostFacts(f"xen-{v}", "embedded", v, "11.3.0", "6.12.0", "") for v in ("4.14", "4.20"))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What preflight was asked; it knows nothing of any of it."""
    calls: list[dict[str, Any]] = []

    def preflight_of(*words: Any, back: Move | None, **_more: Any) -> Answer:
        calls.append({"there": words[3], "past": words[4], "back": back})
        reason = Reason(Decision.UNTESTED, "past", "no run has seen such a move", "runs: none")
        return Answer("web32", "xen-4.14", "xen-4.20", "cold", (reason,))

    monkeypatch.setattr("lab.stage.foretelling.preflight_of", preflight_of)
    return calls


def test_what_it_says_is_kept_with_its_reasons(pair: Pair, asked: list[dict[str, Any]], tmp_path: Path) -> None:
    prepared = PreparedMove(pair.guest, pair.hosts[0], pair.hosts[1])
    answer = Foreteller().ask(REQUEST, prepared, tmp_path, soon())
    assert answer.facts == {"preflight": "untested", "preflight_rules": "past"}
    assert json.loads((tmp_path / "preflight.json").read_text())["reasons"][0]["rule"] == "past"
    brings = frozenset({"/dev/disk/by-id", "/run/lab"})
    move = Move("cold", modules=frozenset({"isofs"}), brings=brings, shadow=False, based_at_zero=True)
    assert asked == [{"there": move, "past": Past(), "back": None}]


def test_a_guest_that_becomes_another_is_asked_for_as_that(
    pair: Pair, asked: list[dict[str, Any]], tmp_path: Path
) -> None:
    arrival = Arrival(replace(GUEST, type="pvh"), pair.guest.image)
    departure = Arrival(GUEST, pair.guest.image)
    prepared = PreparedMove(pair.guest, pair.hosts[0], pair.hosts[1], arrival=arrival, departure=departure)
    Foreteller().ask(replace(REQUEST, back=True), prepared, tmp_path, soon())
    (call,) = asked
    release = pair.guest.image.boot.kernel.release
    assert (call["there"].type, call["there"].kernel) == ("pvh", release)
    assert (call["back"].type, call["back"].kernel) == ("pv", release)


def test_a_guest_that_gets_another_kernel_is_asked_for_with_the_paging_of_that(
    pair: Pair, asked: list[dict[str, Any]], tmp_path: Path
) -> None:
    # Emulated hosts give a 32-bit kernel shadow paging, which a target may lack; what it becomes there wants none.
    old = replace(GUEST, type="pvh", kernel=replace(GUEST.kernel, arch="i386"))
    new = replace(old, kernel=replace(old.kernel, arch="amd64"))
    source, target = (replace(host, accelerator="tcg") for host in pair.hosts)
    arrival, departure = Arrival(new, pair.guest.image), Arrival(old, pair.guest.image)
    prepared = PreparedMove(pair.guest, source, target, arrival=arrival, departure=departure)
    Foreteller().ask(replace(REQUEST, back=True), prepared, tmp_path, soon())
    (call,) = asked
    assert (call["there"].shadow, call["back"].shadow) == (False, True)


@pytest.mark.parametrize(("how", "there", "back"), [("cold", False, True), ("live", None, None)])
def test_a_guest_that_is_started_anew_is_asked_for_with_the_paging_of_that_host(  # noqa: PLR0913, PLR0917 - fixtures
    pair: Pair,
    asked: list[dict[str, Any]],
    tmp_path: Path,
    how: str,
    there: bool | None,  # noqa: FBT001 - a column of the table
    back: bool | None,  # noqa: FBT001 - likewise
) -> None:
    source, target = (replace(host, accelerator="tcg") for host in pair.hosts)
    pair.guest.request = replace(GUEST, type="pvh")
    prepared = PreparedMove(pair.guest, replace(source, hap_fails=True), target)
    Foreteller().ask(replace(REQUEST, how=how, back=True), prepared, tmp_path, soon())
    (call,) = asked
    assert (call["there"].shadow, call["back"].shadow) == (there, back)


def test_what_came_of_a_move_is_what_the_next_is_judged_by(
    pair: Pair, asked: list[dict[str, Any]], tmp_path: Path
) -> None:
    foreteller = Foreteller()
    cell = Cell("m.lab.yaml", "one", "moves", "migration", AXES, REQUEST)
    foreteller.learn(cell, Verdict(Outcome.PASS), HOSTS)
    foreteller.learn(cell, Verdict(Outcome.ERROR, "the lab's own trouble"), HOSTS)
    foreteller.ask(REQUEST, PreparedMove(pair.guest, pair.hosts[0], pair.hosts[1]), tmp_path, soon())
    (seen,) = asked[0]["past"].seen
    assert (seen.outcome, seen.move.xen, seen.move.how) == (Outcome.PASS, ((4, 14), (4, 20)), "cold")
