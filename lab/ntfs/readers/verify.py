"""A volume of ours against a reader: whether it holds what its recipe says, as far as that reader is to be believed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from lab.ntfs.difference import Difference, diff
from lab.ntfs.manifest import Feature, Manifest
from lab.ntfs.readers.trust import Trait, distrust, may_hide, traits, volume_traits

__all__ = ["Verification", "verify"]

_FEATURES: Mapping[str, Feature] = {
    "missing": Feature.NAMES,
    "extra": Feature.NAMES,
    "kind": Feature.REPARSE,
    "size": Feature.SIZES,
    "bytes": Feature.BYTES,
    "target": Feature.LINKS,
    "created": Feature.TIMES,
    "modified": Feature.TIMES,
    "changed": Feature.TIMES,
    "accessed": Feature.TIMES,
    "attributes": Feature.ATTRIBUTES,
    "hole": Feature.HOLES,
    "ea": Feature.EAS,
    "reparse-data": Feature.REPARSE_DATA,
    "security": Feature.SECURITY,
    "object-id": Feature.OBJECT_IDS,
    "short-name": Feature.SHORT_NAMES,
    "name-count": Feature.NAME_COUNTS,
}
"""Which feature a kind of difference is about; one in a named stream is about streams."""


@dataclass(frozen=True, slots=True)
class Verification:
    """``wrong`` is where a trusted reader sees something else than the recipe says; ``excused`` has a reason each."""

    wrong: tuple[Difference, ...]
    excused: tuple[tuple[Difference, str], ...]


def verify(reader: str, expected: Manifest, observed: Manifest) -> Verification:
    """Compare what ``reader`` found with a recipe's manifest, each difference weighed by the trust table."""
    always = frozenset[Trait]()
    if expected.about is not None and expected.about.geometry is not None:
        always = volume_traits(expected.about.geometry)
    wrong: list[Difference] = []
    excused: list[tuple[Difference, str]] = []
    for one in diff(expected, observed):
        if why := _excuse(reader, one, expected, observed, always):
            excused.append((one, why))
        else:
            wrong.append(one)
    return Verification(tuple(wrong), tuple(excused))


def _excuse(reader: str, one: Difference, expected: Manifest, observed: Manifest, always: frozenset[Trait]) -> str:
    feature = Feature.STREAMS if one.stream else _FEATURES[one.what]
    paths = [one.path]
    if one.what == "missing":  # a directory that is not shown as one hides all that is in it
        paths += _above(one.path)
    for path in paths:
        found = always | _traits(path, (expected, observed))
        if why := distrust(reader, feature, found) or (one.what == "missing" and may_hide(reader, found)):
            return why
    return ""


def _above(path: str) -> Iterable[str]:
    parts = path.split("/")
    return ("/".join(parts[:depth]) for depth in range(1, len(parts)))


def _traits(path: str, manifests: Iterable[Manifest]) -> frozenset[Trait]:
    return traits(manifest.by_path[path] for manifest in manifests if path in manifest.by_path)
