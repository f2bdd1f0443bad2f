"""The matrix as a frozen value, and its one serial form, ``matrix.json`` (schema ``lab.matrix/1``)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from lab.verdict import Check, Outcome

__all__ = ["FROM", "NO_VERDICT", "SCHEMA", "HostFacts", "Matrix", "MatrixCell", "RunFacts"]

SCHEMA = "lab.matrix/1"
NO_VERDICT = "no verdict: "
"""How the reason begins of a cell that was planned and never judged."""
FROM = "from"
"""Among a cell's axes: the run in which it was judged, where that is another than the matrix'.

It stands there, as other facts that are no axis of the scenario do, because a field of its own would be one too many
for every reader of the schema that there is.
"""


@dataclass(frozen=True, slots=True)
class HostFacts:
    """A Xen host as the run saw it. ``kind`` is ``embedded`` or ``inventory``."""

    name: str
    kind: str
    xen: str
    libvirt: str
    kernel: str
    capabilities: str


@dataclass(frozen=True, slots=True)
class RunFacts:
    """One run. ``started`` is ISO 8601 in UTC, ``seconds`` its wall time, ``accelerator`` tcg, kvm or hardware."""

    id: str
    started: str
    seconds: float
    command: str
    revision: str
    accelerator: str
    hosts: tuple[HostFacts, ...] = ()


@dataclass(frozen=True, slots=True)
class MatrixCell:
    """One square: what was tried (``axes``) and what came of it.

    ``outcome`` is that of the first attempt that was not an ``error``, if there was one; a cell that needed a retry to
    get there is :attr:`flaky` and shown as such.
    ``expected`` says whether the outcome is what the scenario (or known.yaml) names.
    """

    id: str
    scenario: str
    kind: str
    axes: Mapping[str, str]
    outcome: Outcome
    finding: str = ""
    reason: str = ""
    expected: bool = True
    seconds: float = 0.0
    attempts: int = 1
    checks: tuple[Check, ...] = ()
    evidence: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The id without its file, as people say it."""
        return self.id.rpartition("::")[2]

    @property
    def origin(self) -> str:
        """The run in which the cell was judged; empty where that is the matrix' own."""
        return self.axes.get(FROM, "")

    @property
    def flaky(self) -> bool:
        """Whether the lab had to try again before it got a verdict."""
        return self.attempts > 1 and self.outcome is not Outcome.ERROR

    @property
    def judged(self) -> bool:
        """Whether a verdict was reached, good or bad."""
        return not self.reason.startswith(NO_VERDICT)

    def to_json(self) -> dict[str, Any]:
        """One entry of ``cells``."""
        return {
            "id": self.id,
            "scenario": self.scenario,
            "kind": self.kind,
            "axes": dict(self.axes),
            "outcome": self.outcome.value,
            "finding": self.finding,
            "reason": self.reason,
            "expected": self.expected,
            "seconds": round(self.seconds, 3),
            "attempts": self.attempts,
            "checks": [
                {
                    "name": check.name,
                    "outcome": check.outcome.value,
                    "expected": check.expected,
                    "observed": check.observed,
                }
                for check in self.checks
            ],
            "evidence": list(self.evidence),
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> MatrixCell:
        """The cell of one entry of ``cells``.

        Raises:
            KeyError, TypeError, ValueError: it lacks a field, has one too many, or names no known outcome.
        """
        fields = dict(document)
        checks = tuple(
            Check(check["name"], Outcome(check["outcome"]), check["expected"], check["observed"])
            for check in fields.pop("checks", ())
        )
        outcome = Outcome(fields.pop("outcome"))
        evidence = tuple(fields.pop("evidence", ()))
        return cls(outcome=outcome, checks=checks, evidence=evidence, **fields)


@dataclass(frozen=True, slots=True)
class Matrix:
    """A run and its cells, in the order in which the scenario files name them."""

    run: RunFacts
    cells: tuple[MatrixCell, ...] = field(default=())

    def to_json(self) -> dict[str, Any]:
        """The document described by ``lab/matrix/matrix.schema.json``."""
        run = asdict(self.run)
        run["seconds"] = round(self.run.seconds, 3)
        run["hosts"] = list(run["hosts"])
        return {"schema": SCHEMA, "run": run, "cells": [cell.to_json() for cell in self.cells]}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Matrix:
        """The matrix of a parsed ``matrix.json``.

        Raises:
            ValueError: the document has another schema, or lacks a field.
        """
        if document.get("schema") != SCHEMA:
            raise ValueError(f"schema {document.get('schema')!r} is not {SCHEMA!r}")
        try:
            run = dict(document["run"])
            hosts = tuple(HostFacts(**host) for host in run.pop("hosts", ()))
            return cls(RunFacts(**run, hosts=hosts), tuple(MatrixCell.from_json(cell) for cell in document["cells"]))
        except (KeyError, TypeError, ValueError) as broken:
            raise ValueError(f"not a {SCHEMA} document: {broken}") from broken
