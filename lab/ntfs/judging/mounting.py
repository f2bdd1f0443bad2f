"""What is asked of every mount, whatever is then done: that nothing crashed, and how it was mounted. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lab.ntfs.judging.kernel_log import crash_in, hang_in, memory_spent_in, write_in
from lab.ntfs.judging.module import module_checks, wrong_module
from lab.ntfs.naming import shown
from lab.ntfs.observation import Mount, Observation
from lab.ntfs.volumes.recipe import State
from lab.verdict import FINDING_OUTCOMES, Check, Finding, Outcome, Verdict

__all__ = [
    "MAY_REFUSE",
    "crash_or_hang",
    "log_check",
    "mount_checks",
    "not_mounted",
    "sound",
    "trouble",
    "write_checks",
]

MAY_REFUSE: Mapping[State, frozenset[str]] = {
    State.CLEAN: frozenset(),
    State.UNKNOWN: frozenset(),
    State.DIRTY: frozenset({"rw"}),
    State.HIBERNATED: frozenset({"rw"}),
    State.UNCLEAN_LOG: frozenset({"rw"}),
    State.WRITE_PROTECTED: frozenset({"rw"}),
    State.DAMAGED: frozenset({"ro", "rw"}),
}
"""The ways of mounting that a driver is right to refuse, by the state of the volume."""


def crash_or_hang(seen: Observation, lines: Sequence[str]) -> Verdict | None:
    wrong = wrong_module(seen)
    if wrong is not None:  # whatever it did, it is another driver that did it
        return wrong
    crash, hang = crash_in(lines), hang_in(lines)
    full = memory_spent_in(lines)
    if full and not crash and not (seen.signal and seen.driver in full):  # whose memory it was, nobody can tell
        return trouble(seen, f"the guest ran out of memory: {full}; give it more, as in guest: {{memory: 1G}}")
    if crash or (seen.ended == "died" and seen.kind == "kernel"):
        reason = crash or f"the kernel killed the reader during {seen.last_step or 'its start'}"
        return _failed(seen, Finding.CRASH, reason, Check("kernel-log", Outcome.FAIL, "no oops", reason))
    if seen.signal:  # after which every name fails, loudly: that must not count as an error on a damaged file
        reason = f"{seen.driver} was ended by signal {seen.signal}"
        return _failed(seen, Finding.CRASH, reason, Check("program-lives", Outcome.FAIL, "until it is told", reason))
    return _late(seen, hang) if hang or seen.ended in ("deadline", "endless") else None


def _late(seen: Observation, hang: str) -> Verdict:
    """Time is over, or would be: the driver hangs, or it answered all along."""
    if seen.answering and not hang:
        step = f"its time ran out during {shown(seen.last_step)}, and the driver answered all along"
        return trouble(seen, f"{step}: the machine is slow, or there is more in the volume than readers could tell")
    reason = "; ".join(filter(None, (f"no answer from the driver during: {shown(seen.last_step)}", seen.endless, hang)))
    return _failed(seen, Finding.HANG, reason, Check("mounted", Outcome.FAIL, "an answer in time", reason))


def _failed(seen: Observation, finding: Finding, reason: str, check: Check) -> Verdict:
    return Verdict(FINDING_OUTCOMES[finding], f"{finding.value}: {reason}", (check,), finding, facts=seen.facts)


def trouble(seen: Observation, reason: str) -> Verdict:
    return Verdict(Outcome.ERROR, f"probe: {reason}", facts=seen.facts)


def log_check(lines: Sequence[str]) -> Check:
    warning = next((line for line in lines if "WARNING: " in line and " at " in line), "")
    return Check.that(
        "kernel-log", not warning, expected="no oops, no warning", observed=warning or f"{len(lines)} lines"
    )


def write_checks(seen: Observation, lines: Sequence[str]) -> list[Check]:
    """Where it was asked only to read: that it did not try to write either, which the device it had did not let it."""
    if "ro" not in seen.options_asked:
        return []
    tried = write_in(lines)
    return [Check.that("nothing-written", not tried, expected="no attempt to write", observed=tried or "none")]


def not_mounted(seen: Observation, mount: Mount, state: State, checks: list[Check]) -> Verdict:
    said = mount.text.strip().replace("\n", " / ")
    if mount.cause == "no-device":
        return trouble(seen, f"the device is not there: {said}")
    if mount.cause == "no-driver":
        said = "; ".join(filter(None, (said, seen.facts.get("loading"))))
        reason = f"driver-not-in-kernel: {seen.driver} is not in {seen.facts['kernel_version']} ({said})"
        if seen.kind == "fuse":
            reason = f"driver-not-installed: {seen.driver} ({said})"
        return Verdict(Outcome.UNSUPPORTED, reason, (), None, facts=seen.facts)
    asked = "rw" if "rw" in seen.options_asked else "ro"
    right = asked in MAY_REFUSE[state]
    outcome = Outcome.PASS if right else Outcome.UNSUPPORTED
    expected = f"refused or mounted, for the volume is {state.value}" if right else "mounted"
    checks = [Check("mounted", outcome, expected, f"refused: {said}"), *checks]
    return Verdict(
        outcome, f"refused ({asked}, {state.value} volume): {said}", tuple(checks), Finding.REFUSED, facts=seen.facts
    )


def mount_checks(seen: Observation, mount: Mount) -> list[Check]:
    expected = {"fuse", "fuseblk"} if seen.kind == "fuse" else {seen.type_asked}
    checks = [
        Check("mounted", Outcome.PASS, "mounted", f"{mount.type}, {','.join(mount.options)}"),
        Check.that(
            "type-in-force", mount.type in expected, expected=" or ".join(sorted(expected)), observed=mount.type
        ),
    ]
    checks += module_checks(seen)
    if "ro" in seen.options_asked:
        checks.append(
            Check.that("read-only-in-force", mount.read_only, expected="ro", observed=",".join(mount.options))
        )
        if seen.device is not None:
            checks.append(Check.equal("volume-unchanged", *seen.device))
    return checks


def sound(seen: Observation, mount: Mount, state: State, checks: Sequence[Check]) -> Verdict:
    if "rw" in seen.options_asked and mount.read_only:
        right = "rw" in MAY_REFUSE[state]
        outcome = Outcome.PASS if right else Outcome.UNSUPPORTED
        reason = f"read-only: asked for rw, got ro ({state.value} volume)"
        return Verdict(outcome, reason, tuple(checks), Finding.READ_ONLY, facts=seen.facts)
    return Verdict(Outcome.PASS, "", tuple(checks), Finding.CORRECT, facts=seen.facts)
