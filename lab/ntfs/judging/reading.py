"""From what a volume holds and what a driver showed of it to a verdict. Pure; DESIGN.md names the findings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lab.ntfs.difference import TIMES, Difference
from lab.ntfs.judging.account import account
from lab.ntfs.judging.mounting import crash_or_hang, log_check, mount_checks, not_mounted, sound, trouble, write_checks
from lab.ntfs.manifest import Feature, Manifest
from lab.ntfs.naming import shown
from lab.ntfs.observation import Mount, Observation, ReadError
from lab.ntfs.volumes.recipe import State
from lab.verdict import Check, Finding, Outcome, Verdict

__all__ = ["CHECKS", "differences", "judge"]

CHECKS: Mapping[str, frozenset[str]] = {
    "names": frozenset({"missing", "extra", "kind"}),
    "sizes": frozenset({"size"}),
    "bytes": frozenset({"bytes"}),
    "links": frozenset({"target"}),
    "times": frozenset(TIMES),
    "attributes": frozenset({"attributes"}),
    "holes": frozenset({"hole"}),
    "metadata": frozenset({"ea", "reparse-data", "security", "object-id", "short-name", "name-count"}),
}
"""Which check each kind of difference breaks; one in a named stream breaks ``streams`` instead."""


def differences(manifest: Manifest, observation: Mapping[str, Any]) -> tuple[Difference, ...]:
    """Where the probe's document parts from the manifest; nothing if the volume was never mounted.

    Raises:
        LabError: ``observation`` is not the probe's document.
    """
    seen = Observation.parse(observation)
    if seen.mount is None or not seen.mount.ok or observation.get("operation") == "mount":
        return ()
    return account(manifest, seen)


def judge(manifest: Manifest, state: State, observation: Mapping[str, Any], *, log: Sequence[str] = ()) -> Verdict:
    """The verdict on one cell. ``log`` is the guest's console or kernel log, besides what the probe itself caught.

    Raises:
        LabError: ``observation`` is not the probe's document, or the probe itself failed.
    """
    seen = Observation.parse(observation)
    lines = (*log, *seen.kernel_log)
    sick = crash_or_hang(seen, lines)
    if sick is not None:
        return sick
    if seen.mount is None:
        return trouble(seen, seen.trouble or f"the probe ended ({seen.ended}) before it mounted anything")
    checks = [log_check(lines), *write_checks(seen, lines)]
    if not seen.mount.ok:
        return not_mounted(seen, seen.mount, state, checks)
    if seen.ended != "complete":
        return trouble(seen, seen.trouble or f"the probe ended: {seen.ended}")
    checks += mount_checks(seen, seen.mount)
    if observation.get("operation") == "mount":
        return _of_mount(seen, seen.mount, state, checks)
    return _of_unknown(seen, checks) if manifest.is_unsure("") else _of_content(seen, manifest, state, checks)


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


_DECLINED = ("unsupported reparse tag ", "unsupported reparse point")
"""How the target begins of the link that ntfs-3g shows in the place of what it has no plugin for (seen with 2022.10.3,
and with 2017.3.23): nobody can take that for what the file holds, and nobody can read it.
"""


def _declined(observed: Manifest) -> Mapping[str, str]:
    """The names of which the driver says in the stead of what they are that it does not support that."""
    return {
        entry.path: entry.target
        for entry in observed.entries
        if entry.target is not None and entry.target.startswith(_DECLINED)
    }


def _unreadable(errors: Sequence[ReadError]) -> frozenset[str]:
    """The links that lead nowhere, by an error: what they stand for nobody gets, nor what is behind them."""
    return frozenset(error.path for error in errors if error.operation == "readlink")


def _is_told(one: Difference, declined: Mapping[str, str], unreadable: frozenset[str]) -> bool:
    """Whether all that is seen of the name, or of one above it, is that it cannot be had."""
    if one.path in declined or (one.path in unreadable and one.what == "kind"):
        return True
    return any(one.path.startswith(f"{folder}/") for folder in (*declined, *unreadable))


def _reparse_checks(declined: Mapping[str, str]) -> Sequence[Check]:
    said = [f"{shown(path)}: {target}" for path, target in sorted(declined.items())]
    return [Check("reparse-points", Outcome.UNSUPPORTED, "shown as what they are", _first_of(said))] if said else []


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
    return sound(seen, mount, state, checks)


def _of_unknown(seen: Observation, checks: Sequence[Check]) -> Verdict:
    """Not even the root's names are known: what can be told is how it mounts, and that it does no harm."""
    broken = [check for check in checks if check.outcome is Outcome.FAIL]
    if broken:
        finding = Finding.DAMAGED if _was_written(broken) else Finding.DEGRADED
        return _verdict(seen, finding, Outcome.FAIL, checks, broken)
    return _no_truth(seen, "nobody knows what the volume holds", checks)


def _no_truth(seen: Observation, why: str, checks: Sequence[Check]) -> Verdict:
    shows = f"it shows {len(seen.manifest.entries)} names, with {len(seen.errors)} errors"
    return Verdict(Outcome.UNSUPPORTED, f"no-truth: {why}; {shows}", tuple(checks), facts=seen.facts)


def _of_content(seen: Observation, manifest: Manifest, state: State, before: Sequence[Check]) -> Verdict:
    declined, unreadable = _declined(seen.manifest), _unreadable(seen.errors)
    differences = (one for one in account(manifest, seen) if not _is_told(one, declined, unreadable))
    found = _silent(tuple(differences), seen.errors, manifest)
    checks = (*before, *_content_checks(found, seen.errors, manifest, seen.manifest), *_reparse_checks(declined))
    broken = [check for check in checks if check.outcome is Outcome.FAIL]
    if found and not _was_written(broken):
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
        return _no_truth(seen, "readers agree on no name in the volume", checks)
    told = [check for check in checks if check.name == "read-errors"]
    if told:
        return _verdict(seen, Finding.DEGRADED, Outcome.PASS, checks, told)
    return sound(seen, seen.mount or Mount(ok=True), state, checks)


def _was_written(broken: Sequence[Check]) -> bool:
    return any(check.name in {"volume-unchanged", "nothing-written"} for check in broken)


def _verdict(
    seen: Observation, finding: Finding, outcome: Outcome, checks: Sequence[Check], broken: Sequence[Check]
) -> Verdict:
    reason = f"{finding.value}: " + "; ".join(f"{check.name}: {check.observed}" for check in broken)
    return Verdict(outcome, reason, tuple(checks), finding, facts=seen.facts)
