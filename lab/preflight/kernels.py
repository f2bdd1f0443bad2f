"""Guest kernels that are known to break when they are moved. Pure; a fact each, with its source."""

from __future__ import annotations

import re
from dataclasses import dataclass

from lab.preflight.answer import Decision
from lab.preflight.survey import version_of

__all__ = ["KNOWN_BAD", "KnownBad", "kernel_bits", "real_version"]


@dataclass(frozen=True, slots=True)
class KnownBad:
    """Kernels from version ``first`` up to, and not with, ``fixed``. ``branches`` are those whose later releases may
    have the fix.
    """

    first: tuple[int, int]
    fixed: tuple[int, int]
    branches: frozenset[tuple[int, int]]
    what: str
    source: str

    def judge(self, version: tuple[int, ...], *, vendor: bool) -> Decision:
        """GO for a kernel that is not among them, UNTESTED for one that may have been mended."""
        branch = (version[0], version[1])
        if not self.first <= branch < self.fixed:
            return Decision.GO
        return Decision.UNTESTED if vendor or branch in self.branches else Decision.NO_GO


KNOWN_BAD: tuple[KnownBad, ...] = (
    KnownBad(
        first=(4, 11),
        fixed=(5, 0),
        # Maintained when the fix came, in January 2019; the others of that time never got it.
        branches=frozenset({(4, 14), (4, 19), (4, 20)}),
        what="its clock breaks when Xen moves it",
        source='Linux f94c8d116997 (4.11) broke it, "xen: Fix x86 sched_clock() interface for xen" (5.0) mends it',
    ),
)


def real_version(release: str, version: str) -> tuple[tuple[int, ...], bool]:
    """The upstream version of a kernel as uname -r and -v tell it, and whether only its vendor knows what is in it.

    Debian says in -v what it is made from; in -r it keeps the third number at 0, as others do for kernels that have
    little in common with the release of that name.

    >>> real_version("4.18.0-3-amd64", "#1 SMP Debian 4.18.20-2 (2018-11-23)")
    ((4, 18, 20), False)
    >>> real_version("4.18.0-553.el8_10.x86_64", "#1 SMP Fri May 10 15:19:13 UTC 2024")
    ((4, 18, 0), True)
    """
    made = re.search(r"\bDebian (\d+\.\d+(\.\d+)?)", version)
    if made:
        return version_of(made[1], made[1].count(".") + 1), False
    found = version_of(release, 3) or version_of(release)
    return found, re.fullmatch(r"\d+\.\d+(\.\d+)?\+?", release) is None


def kernel_bits(release: str) -> int:
    """32 for a release that Debian builds for i386 (686, 686-pae, 586), else 64.

    >>> kernel_bits("6.1.0-56-686-pae"), kernel_bits("6.1.0-56-cloud-amd64")
    (32, 64)
    """
    return 32 if re.search(r"-[3456]86(-|$)", release) else 64
