"""Answers of programs that run elsewhere: whatever comes, it is a report or an error that says what is wrong."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest

from lab.deadline import Deadline
from lab.errors import GuestError, LabError
from lab.guests.agent import AgentConfig, agent_report, start_agent
from lab.guests.answer import read_answer
from lab.guests.meter import meter_report
from lab.guests.witness import agent_report_of
from lab.process import Completed
from lab.testing.shell import Answer, FakeShell
from tests.unit.guests.answers import AGENT, METER

SAID = "lab.agent/1"


def said(text: str, *, status: int = 0, stderr: bytes = b"") -> Completed:
    return Completed(("python3",), status, text.encode(), stderr)


@pytest.mark.parametrize(
    ("completed", "message"),
    [
        (said("", status=255, stderr=b"Connection closed\n"), "agent: no answer (status 255): Connection closed"),
        (
            said('{"a": ['),
            "agent: no answer (status 0): 7 characters that are no JSON: Expecting value: line 1 column 8 (char 7)",
        ),
        (said("[]"), "agent: its answer is no lab.agent/1: []"),
        (said('{"schema": "lab.agent/2"}'), 'agent: its answer is no lab.agent/1: {"schema": "lab.agent/2"}'),
        (said(json.dumps({"schema": SAID, "trouble": "it runs already"}), status=1), "agent: it runs already"),
    ],
)
def test_what_is_no_answer(completed: Completed, message: str) -> None:
    with pytest.raises(GuestError) as raised:
        read_answer(completed, who="agent", schema=SAID)
    assert raised.value.message == message


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bits": "32"}, "agent: bits is '32', which is no whole number"),
        ({"bits": True}, "agent: bits is True, which is no whole number"),
        ({"now": None}, "agent: now is None, which is no object"),
        ({"now": {"boot": 1, "mono": "x", "real": 2}}, "agent: now: mono is 'x', which is no number"),
        ({"processes": {"echo": {"pid": 1, "start": 2}}}, "agent: processes: echo: without 'alive'"),
    ],
)
def test_an_odd_field_is_named(change: dict[str, Any], message: str) -> None:
    text = json.dumps({**AGENT, **change})
    with pytest.raises(GuestError) as raised:
        agent_report_of(read_answer(said(text), who="agent", schema=SAID))
    assert raised.value.message == message


def mutilated(document: Any) -> Iterator[Any]:
    """Every document with one of its parts gone, or something else."""
    for path in paths(document):
        oddities: tuple[Any, ...] = (None, "odd", -1, [], {}, [1], "gone")
        for odd in oddities:
            copied = copy.deepcopy(document)
            holder = copied
            for step in path[:-1]:
                holder = holder[step]
            if odd == "gone":
                del holder[path[-1]]
            else:
                holder[path[-1]] = odd
            yield copied


def paths(document: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    steps = (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    )
    for step, below in steps:
        yield (*above, step)
        yield from paths(below, (*above, step))


@pytest.mark.parametrize("document", [AGENT, METER], ids=["agent", "meter"])
def test_whatever_is_odd_about_an_answer_it_is_a_lab_error_or_a_report(document: dict[str, Any]) -> None:
    ask = agent_report if document is AGENT else meter_report
    ask(FakeShell({"*": json.dumps(document)}), deadline=Deadline(60))
    refusals = []
    for odd in mutilated(document):
        try:
            ask(FakeShell({"*": json.dumps(odd)}), deadline=Deadline(60))
        except LabError as error:
            refusals.append(error.message)
    assert len(refusals) > 100
    assert all(refusal.startswith(("agent", "meter")) for refusal in refusals)


def test_a_guest_without_python() -> None:
    shell = FakeShell({"*": Answer(127, stderr="sh: python3: not found")})
    with pytest.raises(GuestError, match=r"^agent: no answer \(status 127\): sh: python3: not found\n"):
        start_agent(shell, AgentConfig(), deadline=Deadline(5))


def test_a_guest_without_an_agent() -> None:
    with pytest.raises(GuestError, match=r"^agent: no answer \(status 1\): nobody answers at /run/lab-agent/socket\n"):
        agent_report(FakeShell(), deadline=Deadline(5))
