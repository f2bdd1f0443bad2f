from __future__ import annotations

import json
from collections.abc import Callable
from importlib.resources import files
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from lab.matrix.model import Matrix
from tests.unit.report.example import all_skipped, empty, example, many

SCHEMA = json.loads((files("lab.matrix") / "matrix.schema.json").read_text())
VALIDATOR = Draft202012Validator(SCHEMA)


def test_the_schema_is_a_schema() -> None:
    Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("make", [example, empty, all_skipped, lambda: many(50)])
def test_real_documents_are_valid_and_come_back(make: Callable[[], Matrix]) -> None:
    document = json.loads(json.dumps(make().to_json()))
    VALIDATOR.validate(document)
    assert Matrix.from_json(document) == make()


def _run(document: Any) -> Any:
    return document["run"]


def _cell(document: Any) -> Any:
    return document["cells"][0]


BROKEN: dict[str, Callable[[Any], object]] = {
    "another schema": lambda d: d.update(schema="lab.matrix/2"),
    "no run": lambda d: d.pop("run"),
    "an unknown key": lambda d: d.update(extra=1),
    "no revision": lambda d: _run(d).pop("revision"),
    "a local time": lambda d: _run(d).update(started="2026-11-22 14:30"),
    "an unknown accelerator": lambda d: _run(d).update(accelerator="magic"),
    "a host of no kind": lambda d: _run(d)["hosts"][0].update(kind="cloud"),
    "an unknown outcome": lambda d: _cell(d).update(outcome="passed"),
    "an unknown kind": lambda d: _cell(d).update(kind="other"),
    "an unknown finding": lambda d: _cell(d).update(finding="odd"),
    "an axis that is a number": lambda d: _cell(d)["axes"].update(source=4.14),
    "no attempt": lambda d: _cell(d).update(attempts=0),
    "negative seconds": lambda d: _cell(d).update(seconds=-1),
    "an absolute evidence path": lambda d: _cell(d).update(evidence=["/etc/passwd"]),
    "a failure without a reason": lambda d: _cell(d).update(outcome="fail", reason=""),
    "a check without a name": lambda d: _cell(d)["checks"][0].pop("name"),
    "an unknown key of a check": lambda d: _cell(d)["checks"][0].update(note="x"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_documents_are_rejected(name: str) -> None:
    document = json.loads(json.dumps(example().to_json()))
    assert VALIDATOR.is_valid(document)
    BROKEN[name](document)
    assert not VALIDATOR.is_valid(document)


def test_another_schema_is_named() -> None:
    with pytest.raises(ValueError, match=r"^schema 'lab\.matrix/9' is not 'lab\.matrix/1'$"):
        Matrix.from_json({"schema": "lab.matrix/9"})


def test_a_document_that_lacks_a_field_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^not a lab\.matrix/1 document: 'run'$"):
        Matrix.from_json({"schema": "lab.matrix/1"})


def test_an_unknown_outcome_is_refused() -> None:
    document = json.loads(json.dumps(example().to_json()))
    document["cells"][0]["outcome"] = "passed"
    with pytest.raises(ValueError, match=r"^not a lab\.matrix/1 document: 'passed' is not a valid Outcome$"):
        Matrix.from_json(document)
