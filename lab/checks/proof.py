"""What came of a fault: whether the invariant that it breaks has caught it, by that name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from lab.checks.faults import FAULTS, Fault
from lab.checks.invariants import COLD, INVARIANTS, LIVE, STEERABLE, Invariant, invariants_of
from lab.checks.journey import Journey
from lab.errors import LabError, UnknownNameError
from lab.scenario.cell import Limits
from lab.verdict import Check, Outcome

__all__ = ["CONTROL", "Proof", "chosen", "in_order", "prove", "red_checks", "unproven", "way_of"]

CONTROL = "none"
"""The name of the fault that is none: whoever is red without one proves nothing with one."""


@dataclass(frozen=True, slots=True)
class Proof:
    """One fault and what came of it.

    ``caught``: one of the invariant's own checks has failed. ``red`` are all the checks that were not green, its own
    first; ``seen`` is what its own one observed. ``trouble`` is why it came to nothing: then it is neither caught nor
    missed. The control has the fault :data:`CONTROL`, and is well when nothing is red.
    """

    invariant: str
    fault: str
    does: str
    caught: bool = False
    red: tuple[str, ...] = ()
    seen: str = ""
    seconds: float = 0.0
    trouble: str = ""

    @property
    def control(self) -> bool:
        """Whether nothing was broken on purpose."""
        return self.fault == CONTROL

    @property
    def outcome(self) -> Outcome:
        """Pass where it is as it must be, error where nobody knows."""
        if self.trouble:
            return Outcome.ERROR
        return Outcome.PASS if (not self.red if self.control else self.caught) else Outcome.FAIL

    @property
    def word(self) -> str:
        """What it is called: caught, missed, unproven; green or red for the control."""
        if self.trouble:
            return "unproven"
        if self.control:
            return "red" if self.red else "green"
        return "caught" if self.caught else "missed"

    @property
    def also(self) -> tuple[str, ...]:
        """The red checks that are not the invariant's own."""
        own = next((one.checks for one in INVARIANTS if one.name == self.invariant), ())
        return tuple(name for name in self.red if name not in own)

    def to_json(self) -> dict[str, Any]:
        """One entry of ``proofs.json``."""
        return {
            "invariant": self.invariant,
            "fault": self.fault,
            "does": self.does,
            "word": self.word,
            "caught": self.caught,
            "red": list(self.red),
            "seen": self.seen,
            "seconds": round(self.seconds, 3),
            "trouble": self.trouble,
        }


def chosen(names: Sequence[str]) -> tuple[Fault, ...]:
    """The faults of those names, or of the invariants of those names; all for none, in the order of the invariants.

    Raises:
        UnknownNameError: neither a fault nor an invariant is called that.
    """
    known = {fault.name for fault in FAULTS} | {one.name for one in INVARIANTS}
    for name in names:
        if name not in known:
            raise UnknownNameError("invariant or fault", name, known)
    order = [one.name for one in INVARIANTS]
    faults = sorted(FAULTS, key=lambda fault: order.index(fault.invariant))
    return tuple(fault for fault in faults if not names or {fault.name, fault.invariant} & set(names))


def in_order(proofs: Iterable[Proof]) -> tuple[Proof, ...]:
    """In the order of the invariants, the control last."""
    order = [fault.name for fault in chosen(())]
    return tuple(sorted(proofs, key=lambda proof: len(order) if proof.control else order.index(proof.fault)))


def way_of(fault: Fault | None) -> str:
    """As what kind of move the journey around a fault is judged: live, unless its invariant is one of cold moves."""
    applies = _broken_by(fault).applies if fault is not None else frozenset({LIVE})
    return LIVE if LIVE in applies else COLD


def red_checks(seen: Journey, limits: Limits, *, steered: bool) -> tuple[Check, ...]:
    """Every check that is not green, of those that can be put: a guest that was not steered says nothing of it."""
    asked = (one for one in invariants_of(seen.how) if steered or one.name != STEERABLE)
    return tuple(check for one in asked for check in one.judge(seen, limits) if check.outcome is not Outcome.PASS)


def prove(fault: Fault | None, seen: Journey, limits: Limits, seconds: float) -> Proof:
    """What a journey says of the fault that was done meanwhile; of none, it is the control."""
    if fault is None:
        red = red_checks(seen, limits, steered=seen.steering is not None)
        return Proof("", CONTROL, "nothing", red=_names(red), seen=_words(red), seconds=seconds)
    invariant = _broken_by(fault)
    if way_of(fault) == COLD:
        # Nothing of this was cold: what else holds for cold moves is not asked of it.
        red = tuple(check for check in invariant.judge(seen, limits) if check.outcome is not Outcome.PASS)
    else:
        red = red_checks(seen, limits, steered=seen.steering is not None)
    own = tuple(check for check in red if check.name in invariant.checks)
    others = tuple(check for check in red if check not in own)
    caught = any(check.outcome is Outcome.FAIL for check in own)
    # The lab's own error is no catch, and no miss either.
    trouble = _words(own) if own and not caught else ""
    return Proof(
        fault.invariant,
        fault.name,
        fault.does,
        caught=caught,
        red=_names((*own, *others)),
        seen=_words(own or red),
        seconds=seconds,
        trouble=trouble,
    )


def unproven(fault: Fault | None, trouble: LabError, seconds: float) -> Proof:
    """That it came to nothing."""
    if fault is None:
        return Proof("", CONTROL, "nothing", seconds=seconds, trouble=trouble.message)
    return Proof(fault.invariant, fault.name, fault.does, seconds=seconds, trouble=trouble.message)


def _broken_by(fault: Fault) -> Invariant:
    return next(one for one in INVARIANTS if one.name == fault.invariant)


def _names(checks: Sequence[Check]) -> tuple[str, ...]:
    return tuple(check.name for check in checks)


def _words(checks: Sequence[Check]) -> str:
    return "; ".join(f"{check.name}: {check.observed}" for check in checks)
