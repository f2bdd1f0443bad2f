"""Each check of kernels and modules: green where all is right, and with its fault red, it and no other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from lab.checks.modules import kept_checks, kernel_checks, listed_check, loading_checks
from lab.guests.observation import Observation
from lab.kernels.loading import Loading
from lab.scenario.cell import GuestRequest, KernelRequest
from lab.verdict import Check, Outcome
from tests.unit.guests.observations import HEALTHY

REQUEST = GuestRequest("web32", "bookworm", "i386", KernelRequest("bookworm", "amd64"))
LOADED = (Loading("loop", "live"), Loading("dm-mod", "live"), Loading("xen-blkfront", "builtin"))
SEEN = replace(HEALTHY, modules=frozenset({"loop", "dm_mod", "ext4"}))


def red(checks: Iterable[Check]) -> dict[str, str]:
    return {check.name: check.observed for check in checks if check.outcome is not Outcome.PASS}


def judge(loadings: Iterable[Loading] = LOADED, seen: Observation = SEEN) -> dict[str, str]:
    """All that is asked of a guest with modules."""
    loadings = tuple(loadings)
    kernel = kernel_checks(REQUEST, HEALTHY.release, seen)
    return red((*kernel, *loading_checks(loadings), listed_check(loadings, seen)))


def test_a_guest_as_it_should_be_breaks_nothing() -> None:
    checks = (*kernel_checks(REQUEST, HEALTHY.release, SEEN), *loading_checks(LOADED), listed_check(LOADED, SEEN))
    assert [check.name for check in checks] == [
        "kernel-release",
        "kernel-architecture",
        "userland-bits",
        "module-loads:loop",
        "module-loads:dm-mod",
        "module-loads:xen-blkfront",
        "modules-listed",
    ]
    assert red(checks) == {}


@pytest.mark.parametrize(
    ("fault", "name", "observed"),
    [
        ({"release": "6.1.0-41-cloud-amd64"}, "kernel-release", "6.1.0-41-cloud-amd64"),
        ({"machine": "i686"}, "kernel-architecture", "i686"),
        ({"bits": 64}, "userland-bits", "64"),
        ({"modules": SEEN.modules - {"dm_mod"}}, "modules-listed", "missing: dm_mod"),
        ({"modules": frozenset[str]()}, "modules-listed", "missing: dm_mod loop"),
    ],
)
def test_a_fault_turns_its_own_check_red_and_no_other(fault: Mapping[str, Any], name: str, observed: str) -> None:
    assert judge(seen=replace(SEEN, **fault)) == {name: observed}


@pytest.mark.parametrize(
    "state",
    [
        "modprobe: status 1: modprobe: FATAL: Module dm-mod not found in directory /lib/modules/6.12.57-cloud-amd64",
        "modprobe: status 1: modprobe: ERROR: could not insert 'dm_mod': Exec format error",
        "modprobe: status 0, but /proc/modules has no dm_mod",
    ],
)
def test_a_module_that_does_not_load_is_named_and_only_once(state: str) -> None:
    loadings = (LOADED[0], Loading("dm-mod", state), LOADED[2])
    assert judge(loadings, replace(SEEN, modules=frozenset({"loop"}))) == {"module-loads:dm-mod": state}


def test_what_is_built_in_is_not_missed_in_the_list() -> None:
    assert judge([Loading("loop", "builtin")], replace(SEEN, modules=frozenset())) == {}
    check = listed_check([Loading("loop", "builtin")], SEEN)
    assert (check.expected, check.observed) == ("none", "all listed")


def test_loading_after_a_move_has_names_of_its_own() -> None:
    checks = loading_checks([Loading("fuse", "live")], prefix="module-loads-after")
    assert checks == (Check("module-loads-after:fuse", Outcome.PASS, "live or builtin", "live"),)


@pytest.mark.parametrize(
    ("userland", "arch", "machine", "bits"),
    [("i386", "amd64", "x86_64", 32), ("amd64", "amd64", "x86_64", 64), ("i386", "i386", "i686", 32)],
)
def test_userland_and_kernel_are_asked_for_each_on_its_own(userland: str, arch: str, machine: str, bits: int) -> None:
    request = replace(REQUEST, userland=userland, kernel=KernelRequest("bookworm", arch))
    seen = replace(HEALTHY, machine=machine, bits=bits)
    assert red(kernel_checks(request, HEALTHY.release, seen)) == {}
    assert set(red(kernel_checks(request, HEALTHY.release, replace(seen, bits=96 - bits)))) == {"userland-bits"}


@pytest.mark.parametrize(
    ("after", "outcome", "observed"),
    [
        ({"loop", "fuse", "ext4"}, Outcome.PASS, "3 modules"),
        ({"loop", "fuse", "ext4", "isofs"}, Outcome.PASS, "4 modules"),
        ({"loop"}, Outcome.FAIL, "lost: ext4 fuse"),
        (set(), Outcome.FAIL, "lost: ext4 fuse loop"),
    ],
)
def test_what_was_loaded_is_still_loaded(after: set[str], outcome: Outcome, observed: str) -> None:
    check = kept_checks(HEALTHY, replace(HEALTHY, modules=frozenset(after)))
    assert check == Check("modules-kept", outcome, "3 modules as before", observed)
