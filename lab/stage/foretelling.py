"""What preflight says of a move before it is made, so that it can be held against what comes of it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path

from lab.deadline import Deadline
from lab.events import step
from lab.guests.guest import wants_shadow
from lab.guests.moving import Arrival
from lab.hosts.host import Host
from lab.matrix.model import HostFacts, Matrix, MatrixCell, RunFacts
from lab.preflight import Answer, Move, Past, past_of, preflight_of
from lab.scenario.cell import Cell, GuestRequest, MigrationRequest
from lab.stage.prepared import PreparedMove
from lab.verdict import Verdict

__all__ = ["Foreteller"]

_BROUGHT = frozenset({"/dev/disk/by-id", "/run/lab"})
"""Where the disks and kernels are that the lab itself plugs into a target."""


@dataclass
class Foreteller:
    """Asks preflight, with what this session has seen so far for its past: the first move of a kind is untested."""

    past: Past = field(default_factory=Past)

    def ask(self, request: MigrationRequest, prepared: PreparedMove, evidence: Path, deadline: Deadline) -> Answer:
        """What preflight says; all its reasons are kept as evidence.

        Raises:
            HostError, GuestError, DeadlineError: somebody cannot be asked.
        """
        # The lab's own 32-bit kernels are made so (lab.guests.image).
        move = Move(request.how, modules=frozenset(request.modules.load_after), brings=_BROUGHT, based_at_zero=True)
        there, back = (_on(move, prepared.guest.request, host) for host in (prepared.target, prepared.source))
        if prepared.arrival is not None:
            there = _as(there, prepared.arrival, prepared.guest.request.type, prepared.target)
        if prepared.departure is not None and prepared.arrival is not None:
            back = _as(back, prepared.departure, prepared.arrival.request.type, prepared.source)
        with step("ask preflight", guest=prepared.guest.name):
            answer = preflight_of(
                prepared.source,
                prepared.target,
                prepared.guest,
                there,
                self.past,
                back=back if request.back else None,
                deadline=deadline,
            )
        (evidence / "preflight.json").write_text(json.dumps(answer.to_json(), indent=1) + "\n")
        return answer

    def learn(self, cell: Cell, verdict: Verdict, hosts: tuple[HostFacts, ...]) -> None:
        """Take in what came of a move."""
        axes = {**cell.axes, **verdict.facts}
        seen = MatrixCell(
            cell.id, cell.scenario, cell.kind, axes, verdict.outcome, reason=verdict.reason, checks=verdict.checks
        )
        self.past += past_of(Matrix(RunFacts("this one", "", 0.0, "", "", "", hosts), (seen,)))


def _on(move: Move, guest: GuestRequest, host: Host) -> Move:
    """The same move; a guest that is started anew gets the paging that it needs on ``host``."""
    return replace(move, shadow=wants_shadow(guest, host)) if move.cold else move


def _as(move: Move, arrival: Arrival, was: str, host: Host) -> Move:
    """The same move, at the end of which the guest is another, on ``host``."""
    kind = arrival.request.type
    release, shadow = arrival.image.boot.kernel.release, wants_shadow(arrival.request, host)
    return replace(move, kernel=release, type=kind if kind != was else "", shadow=shadow)
