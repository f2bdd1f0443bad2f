"""From what a driver was asked to do to a volume, and what the volume is afterwards, to a verdict. Pure.

The truth is the model of the steps. It is asked of the driver itself, after a remount; of readers that know nothing of
the driver; and of checkers, whose findings count where they were not there before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lab.ntfs.difference import TIMES, Difference
from lab.ntfs.filetime import from_nanoseconds
from lab.ntfs.inspection import Inspection
from lab.ntfs.judging.account import account
from lab.ntfs.judging.after import checker_checks, flag_check, label_check, reader_checks
from lab.ntfs.judging.mounting import crash_or_hang, log_check, mount_checks, not_mounted, sound, trouble
from lab.ntfs.judging.steps import Moment, is_known_limit, part_checks, step_faults
from lab.ntfs.judging.witnesses import Hearing, complemented, hear, lenient
from lab.ntfs.manifest import Feature, Manifest
from lab.ntfs.observation import Mount, Observation, ReadError
from lab.ntfs.operations.expectation import Expectation, expect
from lab.ntfs.operations.source import Source
from lab.ntfs.operations.step import Result, Step
from lab.ntfs.volumes.recipe import State
from lab.verdict import Check, Finding, Outcome, Verdict

__all__ = ["Judgement", "Written", "judge_written"]

_ACCUSED = {"fuse": frozenset({"ntfs-3g"})}
"""Readers of the driver's own make, by the kind of driver."""

_GRAVITY = (Finding.DAMAGED, Finding.WRONG_DATA, Finding.DEGRADED)


_MOST_NAMED = 3

_FULL = 16
"""Of a volume of which only so small a part is free a driver may say that it is full: drivers keep some for the MFT."""


@dataclass(frozen=True, slots=True)
class Written:
    """One cell. ``before`` and ``after`` are the volume file from outside; ``source`` reads it as it was before.

    ``changed`` says whether a byte of it is another one now.
    """

    manifest: Manifest = field(repr=False)
    state: State
    steps: tuple[Step, ...] = field(repr=False)
    source: Source = field(repr=False)
    before: Inspection = field(repr=False)
    after: Inspection = field(repr=False)
    changed: bool = True


@dataclass(frozen=True, slots=True)
class Judgement:
    """The verdict, and what it rests on: what was expected, and each difference with who saw it."""

    verdict: Verdict
    expected: Manifest | None = field(default=None, repr=False)
    differences: tuple[tuple[str, Difference], ...] = field(default=(), repr=False)

    @property
    def in_doubt(self) -> bool:
        """Whether one more reader might settle something."""
        return any(check.name == "readers-agree" for check in self.verdict.checks)


def judge_written(case: Written, document: Mapping[str, Any], *, log: Sequence[str] = ()) -> Judgement:
    """The judgement on one cell. ``log`` is the guest's console or kernel log, besides what the probe itself caught.

    Raises:
        LabError: ``document`` is not the probe's, or the volume held other bytes than its manifest says.
    """
    seen = Observation.parse(document)
    lines = (*log, *seen.kernel_log)
    sick = crash_or_hang(seen, lines)
    if sick is not None:
        return Judgement(sick)
    if seen.mount is None:
        return Judgement(trouble(seen, seen.trouble or f"the probe ended ({seen.ended}) before it mounted anything"))
    checks = [log_check(lines)]
    if not seen.mount.ok:
        return Judgement(_untouched(not_mounted(seen, seen.mount, case.state, checks), case))
    if seen.ended != "complete":
        return Judgement(trouble(seen, seen.trouble or f"the probe ended: {seen.ended}"))
    checks += mount_checks(seen, seen.mount)
    if seen.mount.read_only:
        return Judgement(_untouched(sound(seen, seen.mount, case.state, checks), case))
    return _of_steps(case, document, seen, checks)


def _untouched(verdict: Verdict, case: Written) -> Verdict:
    """A driver that declines must have left every byte alone."""
    if verdict.outcome is Outcome.ERROR:
        return verdict
    same = Check.that("image-untouched", not case.changed, expected="every byte as it was", observed=_bytes(case))
    if not case.changed:
        return Verdict(verdict.outcome, verdict.reason, (*verdict.checks, same), verdict.finding, facts=verdict.facts)
    reason = f"damaged: {same}; {verdict.reason}"
    return Verdict(Outcome.FAIL, reason, (*verdict.checks, same), Finding.DAMAGED, facts=verdict.facts)


def _bytes(case: Written) -> str:
    return "other bytes" if case.changed else "every byte as it was"


def _of_steps(case: Written, document: Mapping[str, Any], seen: Observation, checks: list[Check]) -> Judgement:
    before = complemented(case.manifest, case.before.readings)
    results = [Result.from_json(result) for result in document.get("steps", ())]
    expected = expect(before, case.source, case.steps, results, streams=document["streams_as"] == "xattr")
    weighed = _Weighing(case, document, seen, expected, checks)
    weighed.weigh(before)
    return Judgement(weighed.verdict(), expected.manifest, tuple(weighed.differences))


@dataclass
class _Weighing:
    """Checks as they come, each with the finding that it would make."""

    case: Written
    document: Mapping[str, Any]
    seen: Observation
    expected: Expectation
    checks: list[Check]
    found: list[tuple[Check, Finding]] = field(default_factory=list)
    differences: list[tuple[str, Difference]] = field(default_factory=list)

    def weigh(self, before: Manifest) -> None:
        """Put every check."""
        self.found += [(check, Finding.DEGRADED) for check in self.checks]
        if self.case.state is State.HIBERNATED:
            finding = Finding.DAMAGED if self.case.changed else Finding.DEGRADED
            self._add(Check("hibernated", Outcome.FAIL, "not mounted for writing", _bytes(self.case)), finding)
        own: tuple[Difference, ...] = ()
        if self._remounted():
            own = account(lenient(self.expected.manifest, self.seen.manifest, self._touched, self._modes), self.seen)
            self.differences += [("driver", one) for one in own]
        testimony = self._testimony(before, own)
        self.differences += [*testimony.proven, *testimony.doubtful]
        self._own(own, testimony)
        self.found += reader_checks(self.expected, testimony)
        if self.case.state is not State.DAMAGED:
            self.found += checker_checks(self.case.before, self.case.after)
        for check, finding in (
            (flag_check(self.case.before, self.case.after, self.case.state), Finding.DAMAGED),
            (label_check(self.expected, self.case.after), Finding.WRONG_DATA),
        ):
            if check is not None:
                self._add(check, finding)
        if self.case.after.broken:
            self._add(Check("volume-flags", Outcome.FAIL, "to be read", self.case.after.broken), Finding.DAMAGED)

    @property
    def _touched(self) -> frozenset[str]:
        return frozenset(self.expected.touched)

    @property
    def _accused(self) -> frozenset[str]:
        return _ACCUSED.get(self.seen.kind, frozenset())

    @property
    def _modes(self) -> dict[str, int]:
        return {path: node.mode for path, node in self.expected.touched.items() if node.mode is not None}

    def _add(self, check: Check, finding: Finding) -> None:
        self.found.append((check, finding))

    def _remounted(self) -> bool:
        again = self.document.get("remount")
        if again is not None and again["ok"]:
            self._add(Check("remounted", Outcome.PASS, "mounted", "mounted"), Finding.DAMAGED)
            return True
        why = f"the program ended with status {self.document.get('daemon_status')}" if again is None else again["text"]
        self._add(Check("remounted", Outcome.FAIL, "mounted", f"not any more: {why}"), Finding.DAMAGED)
        return False

    @property
    def _full(self) -> bool:
        free, capacity = (self.document.get(key, 0) for key in ("free", "capacity"))
        return bool(free < capacity / _FULL)

    def _testimony(self, before: Manifest, own: tuple[Difference, ...]) -> Hearing:
        return hear(
            self.expected.manifest,
            before,
            self.case.after.readings,
            self.case.before.readings,
            touched=self._touched,
            modes=self._modes,
            accused=self._accused,
            seen=own,
        )

    def _own(self, own: tuple[Difference, ...], testimony: Hearing) -> None:
        """The driver's own account: part by part, and of what no step was about."""
        moment = Moment(*(from_nanoseconds(self.document.get(key, 0)) for key in ("began", "ended_writing")))
        blamed: list[Difference] = []
        others: list[Difference] = []
        for one in own:
            apart = not self.expected.part_of(one.path) or self._is_misread(one, testimony)
            (others if apart else blamed).append(one)
        faults = list(
            step_faults(
                self.expected,
                self.seen.manifest,
                self.document["entries"],
                blamed,
                self.seen.errors,
                moment,
                full=self._full,
            )
        )
        gravest = {fault.part: fault.finding for fault in sorted(faults, key=lambda one: -_GRAVITY.index(one.finding))}
        for check in part_checks(self.expected, faults):
            self._add(check, gravest.get(check.name.removeprefix("step:"), Finding.WRONG_DATA))
        errors = [one for one in self.seen.errors if not self.expected.part_of(one.path) and not is_known_limit(one)]
        self._add(self._untouched_check(others, errors, testimony), Finding.DAMAGED)

    def _is_misread(self, one: Difference, testimony: Hearing) -> bool:
        """Whether it is a time that no step has changed, and that outsiders see as it was: such as those before 1970,
        which drivers show wrong of every file, whatever is done to it.
        """
        readings, accused = self.case.after.readings.manifests, self._accused
        witnessed = any(Feature.TIMES in readings[name].sees for name in readings if name not in accused)
        if one.what not in TIMES or not witnessed:
            return False
        if any((one.path, one.what) == (other.path, other.what) for _, other in testimony.proven):
            return False
        node = self.expected.touched.get(one.path)
        if node is None:  # it came along with a directory
            return True
        before = self.expected.before.by_path.get(node.origin)
        return before is not None and getattr(before.times, one.what) == getattr(node.entry.times, one.what)

    def _untouched_check(self, others: Sequence[Difference], errors: Sequence[ReadError], testimony: Hearing) -> Check:
        """What the driver shows otherwise, and outsiders as it was, it misreads: that is what the operation read says
        of it, and no harm was done.
        """
        wrong = {(one.path, one.stream, one.what) for _, one in testimony.proven}
        harmed = [one for one in others if (one.path, one.stream, one.what) in wrong]
        name, wanted, said = "untouched", "every other file as it was", [*harmed, *others, *errors]
        if not said:
            return Check(name, Outcome.PASS, wanted, "the same")
        more = f" (and {len(said) - len(harmed) - 1} more)" if len(said) - len(harmed) > 1 else ""
        outcome = Outcome.FAIL if harmed or not testimony.readers else Outcome.UNSUPPORTED
        why = "" if outcome is Outcome.FAIL else "; readers outside see it as it was: compare the operation read"
        return Check(name, outcome, wanted, f"{said[0]}{more}{why}")

    def verdict(self) -> Verdict:
        """The gravest finding decides, and the reason names the checks that make it."""
        checks = tuple(check for check, _ in self.found)
        for outcome in (Outcome.FAIL, Outcome.UNSUPPORTED):
            for finding in _GRAVITY:
                broken = [check for check, its in self.found if check.outcome is outcome and its is finding]
                if broken and outcome is Outcome.FAIL:
                    return self._blame(finding, outcome, broken, checks)
            broken = [check for check in checks if check.outcome is outcome]
            if broken:
                return self._blame(Finding.DEGRADED, outcome, broken, checks)
        return sound(self.seen, self.seen.mount or Mount(ok=True), self.case.state, checks)

    def _blame(self, finding: Finding, outcome: Outcome, broken: Sequence[Check], checks: tuple[Check, ...]) -> Verdict:
        named = "; ".join(f"{check.name}: {check.observed}" for check in broken[:_MOST_NAMED])
        more = f" (and {len(broken) - _MOST_NAMED} more checks)" if len(broken) > _MOST_NAMED else ""
        reason = f"{finding.value}: {named}{more}"
        return Verdict(outcome, reason, checks, finding, facts=self.seen.facts)
