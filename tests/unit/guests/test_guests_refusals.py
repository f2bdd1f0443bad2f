"""Refusals that are known, by the very lines that hosts have logged."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lab.guests.refusals import known_refusal
from lab.matrix.model import HostFacts

WITHOUT_SHADOW = HostFacts(
    "xen-4.17", "embedded", "4.17.7", "9.0.0", "6.1.0-56-amd64", "pv hvm hap gnttab-v1 gnttab-v2"
)
WITH_SHADOW = replace(WITHOUT_SHADOW, capabilities="pv hvm hap shadow")

LOGDIRTY = "xc: Failed to enable logdirty: 95,22,0 (22 = Invalid argument): Internal error"
CREATION = "libxl: libxl_create.c:711:libxl__domain_make: domain creation fail: Operation not supported"


@pytest.mark.parametrize(("line", "reason"), [(LOGDIRTY, "no-log-dirty-mode"), (CREATION, "no-shadow-paging")])
def test_a_host_without_shadow_paging_refuses_by_design_and_no_other_does(line: str, reason: str) -> None:
    found = known_refusal(("libxl: something else", line), WITHOUT_SHADOW)
    assert found is not None
    assert (found[0].reason, found[1]) == (reason, line)
    assert known_refusal((line,), WITH_SHADOW) is None


def test_whatever_else_a_host_logs_is_no_refusal() -> None:
    words = ("libxl: libxl_create.c:711:libxl__domain_make: domain creation fail: Cannot allocate memory",)
    assert known_refusal(words, WITHOUT_SHADOW) is None


CONTEXT = "xc: Unable to restore HVM context (22 = Invalid argument): Internal error"


@pytest.mark.parametrize(
    ("here", "there", "reason"),
    [
        ("4.14.6", "4.20.5-pre", "newer-hvm-context"),
        ("4.9.0", "4.14.6", "newer-hvm-context"),
        ("4.20.5-pre", "4.14.6", ""),
        ("4.14.6", "4.14.4", ""),
    ],
)
def test_an_older_host_need_not_take_what_a_newer_one_saved(here: str, there: str, reason: str) -> None:
    target, source = (replace(WITHOUT_SHADOW, xen=version) for version in (here, there))
    found = known_refusal((CONTEXT,), target, source)
    assert (found[0].reason if found else "") == reason
    assert known_refusal((CONTEXT,), target) is None
