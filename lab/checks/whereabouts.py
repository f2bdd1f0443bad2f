"""Where a guest is after its move, and whether it is still the guest that it was."""

from __future__ import annotations

from dataclasses import dataclass

from lab.hypervisor import DomainIdentity, DomainState
from lab.verdict import Check

__all__ = ["Sides", "identity_check", "whereabouts_checks"]


@dataclass(frozen=True, slots=True)
class Sides:
    """The state of the domain on both hosts, and its identity before and after."""

    source: DomainState
    target: DomainState
    before: DomainIdentity
    after: DomainIdentity


def whereabouts_checks(source: DomainState, target: DomainState) -> tuple[Check, ...]:
    """The guest runs on the target and is unknown to the source: never on both, never on neither."""
    runs = target in {DomainState.RUNNING, DomainState.BLOCKED}
    return (
        Check.that("running-on-target", runs, expected="running", observed=target.value),
        Check.equal("gone-from-source", DomainState.ABSENT.value, source.value),
    )


def identity_check(sides: Sides, allowed: frozenset[str] = frozenset()) -> Check:
    """Nothing about the domain has changed but the ``allowed`` fields, which a cold move may mean to change."""
    differences = [
        difference
        for difference in sides.before.differences(sides.after)
        if difference.partition(":")[0] not in allowed
    ]
    expected = f"as before but for {', '.join(sorted(allowed))}" if allowed else "as before"
    return Check.that("identity", not differences, expected=expected, observed="; ".join(differences) or "as before")
