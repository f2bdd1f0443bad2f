"""Part by part, whether a driver did what it said it did: by its own account, after a remount. Pure."""

from __future__ import annotations

import errno
import hashlib
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lab.ntfs import filetime
from lab.ntfs.difference import Difference
from lab.ntfs.manifest import Entry, Kind, Manifest
from lab.ntfs.naming import shown
from lab.ntfs.observation import ReadError
from lab.ntfs.operations.expectation import Expectation, Refusal
from lab.ntfs.operations.node import Node
from lab.verdict import Check, Finding, Outcome

__all__ = ["Fault", "Moment", "is_known_limit", "part_checks", "step_faults"]

_SLACK = 2 * 10_000_000
"""A kernel's clock of file times is some milliseconds behind; a clock that is set meanwhile jumps further."""


@dataclass(frozen=True, slots=True)
class Moment:
    """The time, by the guest's own clock (FILETIME), in which all steps were done."""

    began: int
    ended: int

    def holds(self, moment: int) -> bool:
        """Whether a time lies in it."""
        return self.began - _SLACK <= moment <= self.ended + _SLACK


@dataclass(frozen=True, slots=True)
class Fault:
    """Something about ``part`` is not as it should be. ``finding`` is what it makes of the driver."""

    part: str
    outcome: Outcome
    finding: Finding
    what: str


def part_checks(expected: Expectation, faults: Sequence[Fault]) -> tuple[Check, ...]:
    """A check a part: ``step:append/compressed``."""
    parts = dict.fromkeys((*(step.part for step in expected.done), *(fault.part for fault in faults)))
    return tuple(_check(part, [fault for fault in faults if fault.part == part], expected) for part in parts)


def _check(part: str, faults: Sequence[Fault], expected: Expectation) -> Check:
    name, wanted = f"step:{part}", "done, and found so after a remount"
    if not faults:
        done = sum(step.part == part for step in expected.done)
        return Check(name, Outcome.PASS, wanted, f"{done} done")
    worst = next((fault for fault in faults if fault.outcome is Outcome.FAIL), faults[0])
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    return Check(name, worst.outcome, wanted, worst.what + more)


def step_faults(  # noqa: PLR0913, PLR0917 - what was expected, and all that was seen of it
    expected: Expectation,
    observed: Manifest,
    entries: Iterable[Mapping[str, Any]],
    found: Sequence[Difference],
    errors: Sequence[ReadError],
    moment: Moment,
    *,
    full: bool,
) -> Iterator[Fault]:
    """``found`` is where the driver's own account parts from ``expected``, ``entries`` the probe's words for them.

    ``full``: in the end there was next to no room left.
    """
    for refusal in expected.refusals:
        if not refusal.follows:
            yield _of_refusal(refusal, full=full)
    for step, why in expected.lies:
        yield Fault(step.part, Outcome.FAIL, Finding.WRONG_DATA, f"{step}: says done, but: {why}")
    for one in found:
        if part := expected.part_of(one.path):
            yield Fault(part, Outcome.FAIL, Finding.WRONG_DATA, f"says done, but {one}")
    for error in errors:
        if (part := expected.part_of(error.path)) and not is_known_limit(error):
            finding = Finding.DEGRADED if error.not_supported else Finding.DAMAGED
            outcome = Outcome.UNSUPPORTED if error.not_supported else Outcome.FAIL
            yield Fault(part, outcome, finding, f"cannot be read back: {error}")
    for entry in entries:
        node = expected.touched.get(entry["path"])
        seen = observed.by_path.get(entry["path"])
        if node is not None and seen is not None:
            yield from _of_times(node, seen, moment)
            yield from _of_special(node, entry)
            yield from _of_owner(node, entry)
            yield from _of_attached(node, entry)


def is_known_limit(error: ReadError) -> bool:
    """Whether a stream is too long to be shown as an attribute, which the operation read says of the driver."""
    return error.not_supported and error.operation.startswith("xattr ")


def _of_refusal(refusal: Refusal, *, full: bool) -> Fault:
    lacking = refusal.result.is_lack(refusal.step)
    # An alias is Windows' own; POSIX asks nobody to find a file by it.
    lacking = lacking or (refusal.step.do == "lookup" and refusal.result.number == errno.ENOENT)
    # ioctl(2): EINVAL is "op or argp is not valid", which is what FUSE programs say of any that they do not know.
    lacking = lacking or (refusal.step.do in {"label", "trim"} and refusal.result.number == errno.EINVAL)
    # A driver to which two cases are one name, as they are to Windows.
    lacking = lacking or (refusal.step.part.endswith("/two-cases") and refusal.result.number == errno.EEXIST)
    lacking = lacking or (full and refusal.result.number == errno.ENOSPC)
    return Fault(
        refusal.step.part, Outcome.UNSUPPORTED if lacking else Outcome.FAIL, Finding.DEGRADED, f"refused: {refusal}"
    )


def _lie(node: Node, entry: Mapping[str, Any], what: str) -> Fault:
    return Fault(node.part, Outcome.FAIL, Finding.WRONG_DATA, f"says done, but {shown(entry['path'])}: {what}")


def _of_times(node: Node, seen: Entry, moment: Moment) -> Iterator[Fault]:
    for which in sorted(node.moved):
        value = getattr(seen.times, which)
        if value is not None and not moment.holds(value):
            span = f"{filetime.show(moment.began)} to {filetime.show(moment.ended)}"
            what = f"{shown(seen.path)}: {which}: expected {span}, observed {filetime.show(value)}"
            yield Fault(node.part, Outcome.FAIL, Finding.WRONG_DATA, what)


def _of_special(node: Node, entry: Mapping[str, Any]) -> Iterator[Fault]:
    kind = node.entry.kind
    if kind is Kind.SYMLINK and not node.origin:
        if not stat.S_ISLNK(entry["mode"]):
            yield _lie(node, entry, f"kind: expected symlink, observed mode {entry['mode']:#o}")
        elif entry.get("target") != node.entry.target:
            yield _lie(node, entry, f"target: expected {node.entry.target!a}, observed {entry.get('target')!a}")
    if kind is Kind.OTHER and not node.origin and node.mode is not None:
        if stat.S_IFMT(entry["mode"]) != stat.S_IFMT(node.mode):
            yield _lie(node, entry, f"kind: expected mode {node.mode:#o}, observed {entry['mode']:#o}")
        elif node.device and entry.get("device", 0) != node.device:
            yield _lie(node, entry, f"device: expected {node.device:#x}, observed {entry.get('device', 0):#x}")


def _of_owner(node: Node, entry: Mapping[str, Any]) -> Iterator[Fault]:
    if node.mode is not None and node.entry.kind is not Kind.OTHER:
        wanted, had = stat.S_IMODE(node.mode), stat.S_IMODE(entry["mode"])
        if wanted != had:
            yield _lie(node, entry, f"mode: expected {wanted:#o}, observed {had:#o}")
    owner = tuple(entry.get("owner", (0, 0)))
    if node.owner is not None and owner != node.owner:
        wanted_owner, had_owner = ("{}:{}".format(*one) for one in (node.owner, owner))
        yield _lie(node, entry, f"owner: expected {wanted_owner}, observed {had_owner}")


def _of_attached(node: Node, entry: Mapping[str, Any]) -> Iterator[Fault]:
    """Where the driver shows them as streams, the difference of the manifests has told already."""
    held = entry.get("xattrs")
    if held is None:
        return
    for name, value in node.attached.items():
        seen = held.get(name, {}).get("sha256")
        wanted = None if value is None else hashlib.sha256(value).hexdigest()
        if seen != wanted:
            yield _lie(node, entry, f"attribute {name!a}: expected {wanted or 'nothing'}, observed {seen or 'nothing'}")
