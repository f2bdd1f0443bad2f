"""Where a driver's account of a volume parts from the truth; what stat(2) says is part of it. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from lab.ntfs import filetime
from lab.ntfs.difference import Difference, diff
from lab.ntfs.manifest import Feature, Kind, Manifest
from lab.ntfs.observation import Observation

__all__ = ["account"]

Key = tuple[str, str, str]


def account(expected: Manifest, seen: Observation) -> tuple[Difference, ...]:
    """All differences, in the order of the paths, and each once.

    ntfs-3g tells its times twice, in an attribute as they are stored and by stat(2), which is what programs see: both
    have to be right. A time that cannot be is wrong whether or not the truth knows better.
    """
    found = diff(expected, seen.manifest)
    told = frozenset(_key(one) for one in found)
    more = {_key(one): one for one in _by_stat(expected, seen, told)}
    kept = (one for one in found if _key(one) not in more)
    return tuple(sorted((*kept, *more.values()), key=lambda one: one.path))


def _key(one: Difference) -> Key:
    return one.path, one.stream, one.what


def _by_stat(expected: Manifest, seen: Observation, told: frozenset[Key]) -> Iterator[Difference]:
    """What is ``told`` already comes once more only if the number tells more."""
    if Feature.TIMES not in expected.sees:
        return
    for path, stamps in seen.stat.items():
        left, right = expected.by_path.get(path), seen.manifest.by_path.get(path)
        if left is None or right is None or expected.is_unsure(path):
            continue
        if Kind.UNKNOWN in {left.kind, right.kind} or (path, "", "kind") in told:
            continue
        for which, stamp in stamps.items():
            wanted = getattr(left.times, which)
            wrong = (path, "", which) not in told and wanted not in {None, stamp.filetime}
            if wrong or not stamp.possible:
                shown = "0 to 999999999 ns" if wanted is None else filetime.show(wanted)
                yield Difference(path, "", which, shown, f"{stamp} by stat(2)")
