"""What healthy guests say of themselves."""

from __future__ import annotations

from lab.guests.observation import Observation

LOG = ("[    0.000000] Linux version 6.12.57-cloud-amd64", "[    4.200000] EXT4-fs (xvda): mounted filesystem")

HEALTHY = Observation(
    boot_id="7d0c5a0e-0f9b-4d9c-8a53-0f6d1f1b7a11",
    uptime=61.25,
    release="6.12.57-cloud-amd64",
    machine="x86_64",
    bits=32,
    modules=frozenset({"loop", "fuse", "ext4"}),
    sentinel="431/2210",
    clocksource="xen",
    clock_offset=-0.02,
    clock_error=0.15,
    keepsake="9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    kernel_log=LOG,
)
"""A 32-bit userland on a 64-bit kernel, as it is before anything happens to it."""
