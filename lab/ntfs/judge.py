"""From what a volume holds and what a driver showed of it to a verdict. Pure; DESIGN.md names the findings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lab.ntfs.difference import Difference, diff
from lab.ntfs.kernel_log import crash_in, hang_in
from lab.ntfs.manifest import Feature, Manifest
from lab.ntfs.naming import shown
from lab.ntfs.observation import Mount, Observation, ReadError
from lab.ntfs.volumes.recipe import State
from lab.verdict import FINDING_OUTCOMES, Check, Finding, Outcome, Verdict

__all__ = ["CHECKS", "differences", "judge"]

CHECKS: Mapping[str, frozenset[str]] = {
    "names": frozenset({"missing", "extra", "kind"}),
    "sizes": frozenset({"size"}),
    "bytes": frozenset({"bytes"}),
    "links": frozenset({"target"}),
    "times": frozenset({"created", "modified", "changed", "accessed"}),
    "attributes": frozenset({"attributes"}),
    "holes": frozenset({"hole"}),
    "metadata": frozenset({"ea", "reparse-data", "security", "object-id", "short-name", "name-count"}),
}
"""Which check each kind of difference breaks; one in a named stream breaks ``streams`` instead."""

_MAY_REFUSE: Mapping[State, frozenset[str]] = {
    State.CLEAN: frozenset(),
    State.UNKNOWN: frozenset(),
    State.DIRTY: frozenset({"rw"}),
    State.HIBERNATED: frozenset({"rw"}),
    State.UNCLEAN_LOG: frozenset({"rw"}),
    State.DAMAGED: frozenset({"ro", "rw"}),
}
"""The ways of mounting that a driver is right to refuse, by the state of the volume."""


def differences(manifest: Manifest, observation: Mapping[str, Any]) -> tuple[Difference, ...]:
    """Where the probe's document parts from the manifest; nothing if the volume was never mounted.

    Raises:
        LabError: ``observation`` is not the probe's document.
    """
    seen = Observation.parse(observation)
    if seen.mount is None or not seen.mount.ok or observation.get("operation") == "mount":
        return ()
    return diff(manifest, seen.manifest)


def judge(manifest: Manifest, state: State, observation: Mapping[str, Any], *, log: Sequence[str] = ()) -> Verdict:
    """The verdict on one cell. ``log`` is the guest's console or kernel log, besides what the probe itself caught.

    Raises:
        LabError: ``observation`` is not the probe's document, or the probe itself failed.
    """
    seen = Observation.parse(observation)
    lines = (*log, *seen.kernel_log)
    sick = _crash_or_hang(seen, lines)
    if sick is not None:
        return sick
    if seen.mount is None:
        return _trouble(seen, seen.trouble or f"the probe ended ({seen.ended}) before it mounted anything")
    checks = [_log_check(lines)]
    if not seen.mount.ok:
        return _not_mounted(seen, seen.mount, state, checks)
    if seen.ended != "complete":
        return _trouble(seen, seen.trouble or f"the probe ended: {seen.ended}")
    checks += _mount_checks(seen, seen.mount)
    if observation.get("operation") == "mount":
        return _of_mount(seen, seen.mount, state, checks)
    return _of_unknown(seen, checks) if manifest.is_unsure("") else _of_content(seen, manifest, state, checks)


def _crash_or_hang(seen: Observation, lines: Sequence[str]) -> Verdict | None:
    crash, hang = crash_in(lines), hang_in(lines)
    if crash or (seen.ended == "died" and seen.kind == "kernel"):
        reason = crash or f"the kernel killed the reader during {seen.last_step or 'its start'}"
        return _failed(seen, Finding.CRASH, reason, Check("kernel-log", Outcome.FAIL, "no oops", reason))
    if seen.signal:  # after which every name fails, loudly: that must not count as an error on a damaged file
        reason = f"{seen.driver} was ended by signal {seen.signal}"
        return _failed(seen, Finding.CRASH, reason, Check("program-lives", Outcome.FAIL, "until it is told", reason))
    if hang or seen.ended == "deadline":
        reason = f"no answer from the driver during: {shown(seen.last_step)}" + (f"; {hang}" if hang else "")
        return _failed(seen, Finding.HANG, reason, Check("mounted", Outcome.FAIL, "an answer in time", reason))
    return None


def _failed(seen: Observation, finding: Finding, reason: str, check: Check) -> Verdict:
    return Verdict(FINDING_OUTCOMES[finding], f"{finding.value}: {reason}", (check,), finding, facts=seen.facts)


def _trouble(seen: Observation, reason: str) -> Verdict:
    return Verdict(Outcome.ERROR, f"probe: {reason}", facts=seen.facts)


def _log_check(lines: Sequence[str]) -> Check:
    warning = next((line for line in lines if "WARNING: " in line and " at " in line), "")
    return Check.that(
        "kernel-log", not warning, expected="no oops, no warning", observed=warning or f"{len(lines)} lines"
    )


def _not_mounted(seen: Observation, mount: Mount, state: State, checks: list[Check]) -> Verdict:
    said = mount.text.strip().replace("\n", " / ")
    if mount.cause == "no-device":
        return _trouble(seen, f"the device is not there: {said}")
    if mount.cause == "no-driver":
        said = "; ".join(filter(None, (said, seen.facts.get("loading"))))
        reason = f"driver-not-in-kernel: {seen.driver} is not in {seen.facts['kernel_version']} ({said})"
        if seen.kind == "fuse":
            reason = f"driver-not-installed: {seen.driver} ({said})"
        return Verdict(Outcome.UNSUPPORTED, reason, (), None, facts=seen.facts)
    asked = "rw" if "rw" in seen.options_asked else "ro"
    right = asked in _MAY_REFUSE[state]
    outcome = Outcome.PASS if right else Outcome.UNSUPPORTED
    expected = f"refused or mounted, for the volume is {state.value}" if right else "mounted"
    checks = [Check("mounted", outcome, expected, f"refused: {said}"), *checks]
    return Verdict(
        outcome, f"refused ({asked}, {state.value} volume): {said}", tuple(checks), Finding.REFUSED, facts=seen.facts
    )


def _mount_checks(seen: Observation, mount: Mount) -> list[Check]:
    expected = {"fuse", "fuseblk"} if seen.kind == "fuse" else {seen.type_asked}
    checks = [
        Check("mounted", Outcome.PASS, "mounted", f"{mount.type}, {','.join(mount.options)}"),
        Check.that(
            "type-in-force", mount.type in expected, expected=" or ".join(sorted(expected)), observed=mount.type
        ),
    ]
    if "ro" in seen.options_asked:
        checks.append(
            Check.that("read-only-in-force", mount.read_only, expected="ro", observed=",".join(mount.options))
        )
        if seen.device is not None:
            checks.append(Check.equal("volume-unchanged", *seen.device))
    return checks


def _content_checks(
    found: Sequence[Difference], errors: Sequence[ReadError], expected: Manifest, observed: Manifest
) -> list[Check]:
    missing_features = expected.uses() - observed.sees
    checks = [_check_of(name, [one for one in found if _breaks(name, one)]) for name in (*CHECKS, "streams")]
    for feature, name in ((Feature.STREAMS, "streams"), (Feature.LINKS, "links")):
        if feature in missing_features:
            checks = [check for check in checks if check.name != name]
            checks.append(Check(name, Outcome.UNSUPPORTED, "shown", "the driver does not show them"))
    for outcome, wanted, some in _by_weight(errors, expected):
        checks.append(Check("read-errors", outcome, wanted, _first_of(some)))
    return checks


def _breaks(name: str, difference: Difference) -> bool:
    return name == "streams" if difference.stream else difference.what in CHECKS.get(name, ())


def _check_of(name: str, broken: Sequence[Difference]) -> Check:
    return Check.that(name, not broken, expected="as the volume has them", observed=_first_of(broken) or "the same")


_WEIGHTS = {Outcome.PASS: "none but on what is damaged", Outcome.UNSUPPORTED: "none", Outcome.FAIL: "none"}
"""What is expected of errors, by what they come to."""


def _by_weight(errors: Sequence[ReadError], expected: Manifest) -> Iterable[tuple[Outcome, str, list[ReadError]]]:
    for outcome, wanted in _WEIGHTS.items():
        if some := [error for error in errors if _weight(error, expected) is outcome]:
            yield outcome, wanted, some


def _weight(error: ReadError, expected: Manifest) -> Outcome:
    on_name = error.operation in _LOUD or error.operation.startswith("xattr ")
    if on_name and expected.is_fragile(error.path):
        return Outcome.PASS
    return Outcome.UNSUPPORTED if _may_fail(error, expected) else Outcome.FAIL


_LOUD = frozenset({"list", "stat", "read", "readlink"})
"""Operations whose failure nobody can overlook who wants what is there."""


def _silent(found: Sequence[Difference], errors: Sequence[ReadError], expected: Manifest) -> tuple[Difference, ...]:
    """The differences that no error tells of; where the volume is sound an error tells of no difference."""
    loud = {error.path for error in errors if error.operation in _LOUD and expected.is_fragile(error.path)}
    return tuple(one for one in found if one.path not in loud)


def _may_fail(error: ReadError, expected: Manifest) -> bool:
    """Whether a driver may fail there: it lacks the feature and says so, or nobody knows better what is there."""
    if error.not_supported or expected.is_unsure(error.path):
        return True
    entry = expected.by_path.get(error.path)
    return error.operation == "read" and entry is not None and entry.sha256 is None


def _first_of(things: Sequence[object]) -> str:
    if not things:
        return ""
    return f"{things[0]}" + (f" (and {len(things) - 1} more)" if len(things) > 1 else "")


def _of_mount(seen: Observation, mount: Mount, state: State, checks: Sequence[Check]) -> Verdict:
    broken = [check for check in checks if check.outcome is Outcome.FAIL]
    if broken:
        return _verdict(
            seen, Finding.DAMAGED if _was_written(broken) else Finding.DEGRADED, Outcome.FAIL, checks, broken
        )
    return _sound(seen, mount, state, checks)


def _of_unknown(seen: Observation, checks: Sequence[Check]) -> Verdict:
    """Not even the root's names are known: what can be told is how it mounts, and that it does no harm."""
    broken = [check for check in checks if check.outcome is Outcome.FAIL]
    if broken:
        finding = Finding.DAMAGED if _was_written(broken) else Finding.DEGRADED
        return _verdict(seen, finding, Outcome.FAIL, checks, broken)
    shows = f"it shows {len(seen.manifest.entries)} names, with {len(seen.errors)} errors"
    return Verdict(
        Outcome.UNSUPPORTED, f"no-truth: nobody knows what the volume holds; {shows}", tuple(checks), facts=seen.facts
    )


def _of_content(seen: Observation, manifest: Manifest, state: State, before: Sequence[Check]) -> Verdict:
    found = _silent(diff(manifest, seen.manifest), seen.errors, manifest)
    checks = (*before, *_content_checks(found, seen.errors, manifest, seen.manifest))
    broken = [check for check in checks if check.outcome is Outcome.FAIL]
    if found:
        reason = f"wrong-data: {_first_of(found)}"
        return Verdict(Outcome.FAIL, reason, tuple(checks), Finding.WRONG_DATA, facts=seen.facts)
    if broken:
        # A sound volume that cannot be read is no known refusal, however loud: the finding is mild, the outcome is not.
        outcome = Outcome.UNSUPPORTED if state is State.DAMAGED and not _was_written(broken) else Outcome.FAIL
        return _verdict(seen, Finding.DAMAGED if _was_written(broken) else Finding.DEGRADED, outcome, checks, broken)
    poorer = [check for check in checks if check.outcome is Outcome.UNSUPPORTED]
    if poorer:
        return _verdict(seen, Finding.DEGRADED, Outcome.UNSUPPORTED, checks, poorer)
    if not manifest.entries and seen.manifest.entries:
        return Verdict(Outcome.ERROR, "no truth to compare with", tuple(checks), facts=seen.facts)
    told = [check for check in checks if check.name == "read-errors"]
    if told:
        return _verdict(seen, Finding.DEGRADED, Outcome.PASS, checks, told)
    return _sound(seen, seen.mount or Mount(ok=True), state, checks)


def _was_written(broken: Sequence[Check]) -> bool:
    return any(check.name == "volume-unchanged" for check in broken)


def _verdict(
    seen: Observation, finding: Finding, outcome: Outcome, checks: Sequence[Check], broken: Sequence[Check]
) -> Verdict:
    reason = f"{finding.value}: " + "; ".join(f"{check.name}: {check.observed}" for check in broken)
    return Verdict(outcome, reason, tuple(checks), finding, facts=seen.facts)


def _sound(seen: Observation, mount: Mount, state: State, checks: Sequence[Check]) -> Verdict:
    if "rw" in seen.options_asked and mount.read_only:
        right = "rw" in _MAY_REFUSE[state]
        outcome = Outcome.PASS if right else Outcome.UNSUPPORTED
        reason = f"read-only: asked for rw, got ro ({state.value} volume)"
        return Verdict(outcome, reason, tuple(checks), Finding.READ_ONLY, facts=seen.facts)
    return Verdict(Outcome.PASS, "", tuple(checks), Finding.CORRECT, facts=seen.facts)
