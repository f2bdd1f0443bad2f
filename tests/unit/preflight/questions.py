"""A move with which nothing is wrong, for tests to spoil."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from lab.matrix.model import HostFacts, Matrix, MatrixCell, RunFacts
from lab.preflight.answer import Answer, Decision, Reason
from lab.preflight.cpu import features
from lab.preflight.guest import Disk, GuestSurvey, Inside
from lab.preflight.move import Move
from lab.preflight.past import Past, past_of
from lab.preflight.question import Question
from lab.preflight.rules import RULES, judge
from lab.preflight.survey import HostSurvey, Place
from lab.verdict import Outcome

HW_CAPS = "178bf3ff:b698320b:2e500800:0069bfff:00000000:00000008:00000000:00000500"
DISK, KERNEL = "/dev/disk/by-id/web", "/boot/vmlinux"
CAPS = frozenset({"xen-3.0-x86_64", "hvm-3.0-x86_32", "hvm-3.0-x86_32p", "hvm-3.0-x86_64"})
PLACES = {DISK: Place("block", 1 << 30, "0QEMU_web"), KERNEL: Place("file", 1 << 20, "", "ext2/ext3", 64)}

OLD = HostSurvey(
    name="old",
    xen="4.14.6",
    libvirt="7.0.0",
    kernel="5.10.0-46-amd64",
    xen_caps=CAPS,
    abis="xen-x86_64",
    virt_caps=frozenset({"pv", "hvm", "hap", "shadow"}),
    features=features(HW_CAPS),
    free_mib=700,
    dom0_mib=1024,
    dom0_fixed=True,
    max_vcpus=2,
    bridges=frozenset({"xenbr0"}),
    places=PLACES,
)
NEW = replace(OLD, name="new", xen="4.15.2", libvirt="7.10.0")
INSIDE = Inside(
    release="6.1.0-56-cloud-amd64",
    version="#1 SMP PREEMPT_DYNAMIC Debian 6.1.192-2 (2026-11-16)",
    machine="x86_64",
    bits=32,
    flags=frozenset({"fpu", "pni", "lm"}),
    loaded=frozenset({"loop"}),
    trees=frozenset({"6.1.0-56-cloud-amd64"}),
    has=frozenset({"loop", "dm_mod"}),
)
WEB = GuestSurvey(
    name="web",
    uuid="44d44a71-fa05-417e-a4ad-626ce5999b26",
    type="pv",
    arch="x86_64",
    memory_kib=128 << 10,
    vcpus=1,
    disks=(Disk("xvda", DISK, "block"),),
    bridges=("xenbr0",),
    boots=(("kernel", KERNEL),),
    inside=INSIDE,
)


Change = dict[str, Any]
"""Fields of one part of a question; or parts of it, as :func:`question` takes them."""


def question(  # noqa: PLR0913 - the parts of a question
    *,
    source: dict[str, Any] | None = None,
    target: dict[str, Any] | None = None,
    guest: dict[str, Any] | None = None,
    inside: dict[str, Any] | None = None,
    move: Move | None = None,
    past: Past | None = None,
) -> Question:
    """The move of WEB from OLD to NEW, with these fields changed."""
    who = replace(WEB, **(guest or {}))
    if inside is not None:
        who = replace(who, inside=replace(INSIDE, **inside))
    return Question(replace(OLD, **(source or {})), replace(NEW, **(target or {})), who, move or Move(), past or Past())


def reasons(asked: Question, rule: str) -> tuple[Reason, ...]:
    """What one rule says."""
    return tuple(RULES[rule](asked))


def decision(asked: Question, rule: str) -> Decision | None:
    """The worst that one rule says, or nothing."""
    order = list(Decision)
    return max((reason.decision for reason in reasons(asked, rule)), key=order.index, default=None)


def answer(asked: Question) -> Answer:
    return judge(asked)


def cell(outcome: Outcome = Outcome.PASS, reason: str = "", name: str = "live", **axes: str) -> MatrixCell:
    """A migration cell; the axes of a move of WEB from OLD to NEW where none are given."""
    usual = {
        "source": "4.14",
        "target": "4.15",
        "how": "live",
        "guest": "web",
        "type": "pv",
        "userland": "i386",
        "kernel": "bookworm-amd64-cloud",
        "kernel_version": "6.1.0-56-cloud-amd64",
    }
    return MatrixCell(f"m.lab.yaml::{name}", "moves", "migration", usual | axes, outcome, reason=reason)


def matrix(*cells: MatrixCell, libvirt: str = "7.10.1") -> Matrix:
    """A run of such cells."""
    hosts = (
        HostFacts("xen-4.14", "embedded", "4.14.6", "7.0.0", "5.10", ""),
        HostFacts("xen-4.15", "embedded", "4.15.1", libvirt, "5.10", ""),
    )
    run = RunFacts("20261122-1", "2026-11-22T18:00:00+00:00", 1.0, "lab run", "abc", "tcg", hosts)
    return Matrix(run, cells)


def past(*cells: MatrixCell, libvirt: str = "7.10.1") -> Past:
    """What such a run has seen."""
    return past_of(matrix(*cells, libvirt=libvirt))
