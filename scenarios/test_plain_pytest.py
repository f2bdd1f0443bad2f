"""The stage in plain pytest, for whoever would rather write a test than a scenario."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from lab.staging import Guest

WEB32 = {"release": "bookworm", "userland": "i386", "kernel": {"release": "bookworm"}, "type": "pv"}

pytestmark = pytest.mark.xen


@pytest.mark.lab_guest(host="4.20", **WEB32)
def test_a_32_bit_guest_runs_on_a_64_bit_kernel(guest_host: Any) -> None:  # noqa: ANN401 - testinfra's host
    assert guest_host.check_output("uname -m") == "x86_64"
    assert guest_host.check_output("getconf LONG_BIT") == "32"


def test_a_live_migration_is_no_reboot(lab_guest: Callable[..., Guest], migrate: Callable[..., None]) -> None:
    guest = lab_guest(host="4.14", **WEB32)
    before = guest.testinfra.check_output("cat /proc/sys/kernel/random/boot_id")
    migrate(guest, to="4.20", how="live")
    assert guest.testinfra.check_output("cat /proc/sys/kernel/random/boot_id") == before
