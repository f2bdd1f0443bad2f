"""Checkers: programs that look for what is wrong with a volume, and mend nothing."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lab.deadline import Deadline
from lab.errors import DeadlineError, MissingToolError
from lab.process import Completed, run

__all__ = ["NTFSFIX", "Checker", "Report", "damage", "new_findings"]


@dataclass(frozen=True, slots=True)
class Report:
    """What a checker found: nothing if it is content. ``silent`` says why it gave no answer at all."""

    findings: tuple[str, ...] = ()
    silent: str = ""


@dataclass(frozen=True, slots=True)
class Checker:
    """``words`` is the program and what it is told; the volume's path comes last. ``found`` reads its answer."""

    name: str
    words: Callable[[], Sequence[str]]
    found: Callable[[Completed], tuple[str, ...]]

    def check(self, volume: Path, deadline: Deadline) -> Report:
        """What it finds in a volume file, which it does not change."""
        try:
            done = run(*self.words(), str(volume), deadline=deadline, env={"LC_ALL": "C.UTF-8"})
        except (MissingToolError, DeadlineError) as silent:
            return Report(silent=silent.message)
        return Report(self.found(done))


def new_findings(before: Report, after: Report) -> tuple[str, ...]:
    """Findings of a kind that was not there before: checkers raise false alarms on healthy volumes.

    Numbers in them are left out of account: the next record's false alarm is not another one.
    """
    known = {_kind(finding) for finding in before.findings}
    return tuple(finding for finding in after.findings if _kind(finding) not in known)


_HARMLESS = re.compile(r"bitmap|^it ended with status ", re.IGNORECASE)
"""A bitmap that counts clusters or records wrongly is in nobody's way who reads. How the checker ended is no word on
the volume.
"""


def damage(report: Report) -> tuple[str, ...]:
    """The findings for which a volume may be called damaged: those of more than a bitmap.

    Only a checker that is content with what is sound may be asked. ntfsck 1.0.0 is with all sound volumes of the lab's
    own recipes, and with the foreign ones that are known to be valid but for bitmaps.
    """
    return tuple(finding for finding in report.findings if not _HARMLESS.search(finding))


def _kind(finding: str) -> str:
    return re.sub(r"0x[0-9a-fA-F]+|\d+", "#", finding)


_FIXABLE = re.compile(r"FAILED|error|corrupt|differs|mismatch|inconsistent|dirty", re.IGNORECASE)


def _of_ntfsfix(done: Completed) -> tuple[str, ...]:
    """It ends with 0 where it has nothing to do; what it would do is on its standard output."""
    if done:
        return ()
    lines = [line.strip() for line in (done.stdout + done.stderr).decode("utf-8", "backslashreplace").splitlines()]
    return tuple(line for line in lines if _FIXABLE.search(line)) or (f"it ended with status {done.status}",)


NTFSFIX = Checker("ntfsfix", lambda: ("ntfsfix", "--no-action"), _of_ntfsfix)
"""Of ntfs-3g: boot sector, MFT mirror, log, and whether it mounts."""
