"""Whether a move has left anything behind, on either host."""

from __future__ import annotations

from collections.abc import Mapping

from lab.hosts.traces import Traces, leftovers
from lab.verdict import Check

__all__ = ["leak_check"]


def leak_check(hosts: Mapping[str, tuple[Traces, Traces]], *, guest: str, home: str) -> Check:
    """Both hosts are as before, but for the guest itself, which is at ``home`` now.

    ``hosts`` is host -> what was there before and after.
    """
    left = [
        f"{host}: {trace}"
        for host, (before, after) in hosts.items()
        for trace in leftovers(before, after, guest=guest, home=host == home)
    ]
    more = f" and {len(left) - 5} more" if len(left) > 5 else ""
    return Check.that(
        "no-leak",
        not left,
        expected="as before, but for the guest",
        observed="; ".join(left[:5]) + more if left else "nothing else came or went",
    )
