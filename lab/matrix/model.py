"""The matrix as a frozen value, and its one serial form, ``matrix.json`` (schema ``lab.matrix/1``)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lab.verdict import Check, Outcome

__all__ = ["SCHEMA", "HostFacts", "Matrix", "MatrixCell", "RunFacts"]

SCHEMA = "lab.matrix/1"


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

    ``outcome`` is that of the first attempt that reached a verdict... a retried-to-green cell has ``attempts`` > 1.
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


@dataclass(frozen=True, slots=True)
class Matrix:
    """A run and its cells, in the order in which the scenario files name them."""

    run: RunFacts
    cells: tuple[MatrixCell, ...] = field(default=())

    def to_json(self) -> dict[str, Any]:
        """The document described by ``lab/matrix/matrix.schema.json``."""
        run = self.run
        return {
            "schema": SCHEMA,
            "run": {
                "id": run.id,
                "started": run.started,
                "seconds": round(run.seconds, 3),
                "command": run.command,
                "revision": run.revision,
                "accelerator": run.accelerator,
                "hosts": [
                    {
                        "name": host.name,
                        "kind": host.kind,
                        "xen": host.xen,
                        "libvirt": host.libvirt,
                        "kernel": host.kernel,
                        "capabilities": host.capabilities,
                    }
                    for host in run.hosts
                ],
            },
            "cells": [_cell_to_json(cell) for cell in self.cells],
        }

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
            return cls(RunFacts(**run, hosts=hosts), tuple(_cell_from_json(cell) for cell in document["cells"]))
        except (KeyError, TypeError) as broken:
            raise ValueError(f"not a {SCHEMA} document: {broken}") from broken


def _cell_to_json(cell: MatrixCell) -> dict[str, Any]:
    return {
        "id": cell.id,
        "scenario": cell.scenario,
        "kind": cell.kind,
        "axes": dict(cell.axes),
        "outcome": cell.outcome.value,
        "finding": cell.finding,
        "reason": cell.reason,
        "expected": cell.expected,
        "seconds": round(cell.seconds, 3),
        "attempts": cell.attempts,
        "checks": [
            {"name": check.name, "outcome": check.outcome.value, "expected": check.expected, "observed": check.observed}
            for check in cell.checks
        ],
        "evidence": list(cell.evidence),
    }


def _cell_from_json(document: Mapping[str, Any]) -> MatrixCell:
    fields = dict(document)
    checks = tuple(
        Check(check["name"], Outcome(check["outcome"]), check["expected"], check["observed"])
        for check in fields.pop("checks", ())
    )
    outcome = Outcome(fields.pop("outcome"))
    evidence = tuple(fields.pop("evidence", ()))
    return MatrixCell(outcome=outcome, checks=checks, evidence=evidence, **fields)
