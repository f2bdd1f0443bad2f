"""Kernel modules: do they load, are they still there, are they the right kernel's."""

from __future__ import annotations

from collections.abc import Iterable

from lab.debian.module_tree import module_name
from lab.guests.observation import Observation
from lab.kernels.loading import Loading
from lab.scenario.cell import GuestRequest
from lab.verdict import Check

__all__ = ["kept_checks", "kernel_checks", "listed_check", "loading_checks"]

_BITS = {"i386": 32, "amd64": 64}
_MACHINE = {"i386": "i686", "amd64": "x86_64"}


def kernel_checks(request: GuestRequest, release: str, seen: Observation) -> tuple[Check, ...]:
    """The kernel that runs is the one asked for, and so is the userland on it."""
    return (
        Check.equal("kernel-release", release, seen.release),
        Check.equal("kernel-architecture", _MACHINE[request.kernel.arch], seen.machine),
        Check.equal("userland-bits", _BITS[request.userland], seen.bits),
    )


def loading_checks(loadings: Iterable[Loading], *, prefix: str = "module-loads") -> tuple[Check, ...]:
    """One check a module."""
    return tuple(
        Check.that(f"{prefix}:{loading.name}", loading.there, expected="live or builtin", observed=loading.state)
        for loading in loadings
    )


def listed_check(loadings: Iterable[Loading], seen: Observation) -> Check:
    """The guest's own list names every module that was loaded as a file."""
    wanted = {module_name(loading.name) for loading in loadings if loading.state == "live"}
    missing = sorted(wanted - seen.modules)
    return Check.that(
        "modules-listed",
        not missing,
        expected=" ".join(sorted(wanted)) or "none",
        observed=f"missing: {' '.join(missing)}" if missing else "all listed",
    )


def kept_checks(before: Observation, after: Observation) -> Check:
    """What was loaded before is loaded now."""
    lost = sorted(before.modules - after.modules)
    return Check.that(
        "modules-kept",
        not lost,
        expected=f"{len(before.modules)} modules as before",
        observed=f"lost: {' '.join(lost)}" if lost else f"{len(after.modules)} modules",
    )
