"""What a volume is after a driver has written to it, as seen from outside: readers, checkers, flags, label. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from lab.ntfs.checker import new_findings
from lab.ntfs.inspection import Inspection
from lab.ntfs.judging.witnesses import Hearing
from lab.ntfs.ondisk.volume_information import DIRTY
from lab.ntfs.operations.expectation import Expectation
from lab.ntfs.volumes.recipe import State
from lab.verdict import Check, Finding, Outcome

__all__ = ["checker_checks", "flag_check", "label_check", "reader_checks"]


def reader_checks(expected: Expectation, testimony: Hearing) -> Iterator[tuple[Check, Finding]]:
    """One a reader, and one more where they part."""
    wanted = "what the steps make of the volume"
    for name in testimony.readers:
        found = [one for reader, one in testimony.proven if reader == name]
        broken = [one for one in found if not expected.part_of(one.path)]
        worst = (broken or found)[:1]
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        after = "".join(f" (after {part})" for one in worst if (part := expected.part_of(one.path)))
        observed = f"{worst[0]}{after}{more}" if worst else "the same"
        check = Check.that(f"reader:{name}", not found, expected=wanted, observed=observed)
        yield check, Finding.DAMAGED if broken else Finding.WRONG_DATA
    for name, why in sorted(testimony.lost.items()):
        observed = f"could read it before, and no more: {why}"
        yield Check(f"reader:{name}", Outcome.FAIL, wanted, observed), Finding.DAMAGED
    if testimony.doubtful:
        (name, one), *more_doubts = testimony.doubtful
        more = f" (and {len(more_doubts)} more)" if more_doubts else ""
        observed = f"{name} alone: {one}{more}"
        yield Check("readers-agree", Outcome.UNSUPPORTED, "no reader contradicts another", observed), Finding.DEGRADED


def checker_checks(before: Inspection, after: Inspection) -> Iterator[tuple[Check, Finding]]:
    """One a checker that gave an answer both times."""
    for name, report in after.reports.items():
        earlier = before.reports.get(name)
        if earlier is None or earlier.silent or report.silent:
            continue
        found = new_findings(earlier, report)
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        known = f"nothing but {len(earlier.findings)} that were there before" if earlier.findings else "nothing"
        observed = f"{found[0]}{more}" if found else known
        yield Check.that(f"checker:{name}", not found, expected="nothing new", observed=observed), Finding.DAMAGED


_IN_DOUBT = frozenset({State.UNCLEAN_LOG, State.HIBERNATED, State.DAMAGED})
"""States in which a driver that writes all the same does well to have the volume checked afterwards."""


def flag_check(before: Inspection, after: Inspection, state: State) -> Check | None:
    """The dirty flag is as it was: a driver that sets it for its own time takes it back, and no other's.

    A volume that was in doubt before may be left dirty.
    """
    if before.flags is None or after.flags is None:
        return None
    was, now = ("dirty" if flags & DIRTY else "clean" for flags in (before.flags, after.flags))
    warned = state in _IN_DOUBT and now == "dirty"
    return Check.that("volume-flags", warned or was == now, expected=was, observed=f"{now} ({after.flags:#06x})")


def label_check(expected: Expectation, after: Inspection) -> Check | None:
    """What $Volume says."""
    about = expected.manifest.about
    if about is None or about.label is None or after.label is None:
        return None
    return Check.equal("label", ascii(about.label), ascii(after.label))
