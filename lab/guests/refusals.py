"""Refusals that are known: what a host says when it cannot do a thing by design, told from a failure.

A refusal counts only where its text was seen in the logs and its cause holds on that host.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from lab.deadline import Deadline
from lab.errors import LabError
from lab.hosts.host import Host
from lab.matrix.model import HostFacts

__all__ = ["REFUSALS", "Refusal", "known_refusal", "libxl_words"]


@dataclass(frozen=True, slots=True)
class Refusal:
    """``reason`` is machine-readable, ``because`` for people.

    ``holds`` says whether a host is such a one, to which a guest comes from another, or from none.
    """

    reason: str
    seen: re.Pattern[str]
    holds: Callable[[HostFacts, HostFacts | None], bool]
    because: str


def _lacks_shadow(facts: HostFacts, _origin: HostFacts | None) -> bool:
    return "shadow" not in facts.capabilities.split()


def _is_older(facts: HostFacts, origin: HostFacts | None) -> bool:
    return origin is not None and _release(facts) < _release(origin)


def _release(facts: HostFacts) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", facts.xen)[:2]))


def _any(_facts: HostFacts, _origin: HostFacts | None) -> bool:
    return True


REFUSALS = (
    Refusal(
        "no-log-dirty-mode",
        # From tools/libs/guest/xg_sr_save.c, of the call that asks for XEN_DOMCTL_SHADOW_OP_ENABLE_LOGDIRTY.
        re.compile(r"xc: Failed to enable logdirty: .*Invalid argument.*"),
        _lacks_shadow,
        "its hypervisor is built without shadow paging (virt_caps of `xl info`), by which Xen follows the writes of a "
        "PV guest that moves while it runs",
    ),
    Refusal(
        "no-shadow-paging",
        # Seen on 4.17 of a guest that is asked for without hap; and whatever names shadow paging itself.
        re.compile(
            r"(libxl: .*(domain creation fail: Operation not supported|\b(hap|shadow)\b).*|xc: .*\bshadow\b.*)",
            re.IGNORECASE,
        ),
        _lacks_shadow,
        "this guest is asked for with shadow paging, and the hypervisor is built without it (virt_caps of `xl info`)",
    ),
    Refusal(
        "newer-hvm-context",
        # Where Xen's own log says "HVM restore mismatch: expected zeroextended type 5 length 24, saw ... length 32".
        re.compile(r"xc: Unable to restore HVM context .*Invalid argument.*"),
        _is_older,
        "a newer Xen saves more of an HVM or PVH guest's CPU than this older one takes, and only the way to newer "
        "releases is promised",
    ),
    Refusal(
        "segment-too-low",
        re.compile(r"xc: .*segment boundary too low.*"),
        _any,
        "Xen's domain builder does not take this kernel's ELF",
    ),
)


def libxl_words(host: Host, deadline: Deadline) -> tuple[str, ...]:
    """The last errors in libxl's logs on a host, the latest last; none if it cannot be asked."""
    # Errors of libxl and of its helpers carry their own prefix; what libvirt itself logs comes with its exception.
    script = "grep -hE 'xc: |libxl: ' /var/log/libvirt/libxl/*.log 2>/dev/null | sort | tail -n 12"
    try:
        said = host.shell.run("sh", "-c", script, deadline=deadline.at_most(20)).text
    except LabError:
        return ()
    # The time stamp is libvirt's.
    return tuple(re.sub(r"^[0-9 :.+-]+: ", "", line) for line in said.splitlines())


def known_refusal(
    words: tuple[str, ...], facts: HostFacts, origin: HostFacts | None = None
) -> tuple[Refusal, str] | None:
    """The refusal that is in ``words`` of a host, and the line that says so. ``origin``: where the guest came from."""
    for refusal in REFUSALS:
        if refusal.holds(facts, origin):
            for line in words:
                if refusal.seen.search(line):
                    return refusal, line
    return None
