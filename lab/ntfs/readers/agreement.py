"""The truth about a volume nobody here made: what two trusted readers say alike. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lab.ntfs.manifest import COMPARED_ATTRIBUTES, Entry, Feature, Kind, Manifest, Times
from lab.ntfs.naming import shown
from lab.ntfs.readers.trust import Trait, distrust, may_hide, traits

__all__ = ["WITNESSES", "Disagreement", "agreement"]

WITNESSES = 2

_FIELDS: Mapping[str, Feature] = {
    "kind": Feature.REPARSE,
    "size": Feature.SIZES,
    "sha256": Feature.BYTES,
    "blocks": Feature.BYTES,
    "target": Feature.LINKS,
    "streams": Feature.STREAMS,
    "attributes": Feature.ATTRIBUTES,
}

_TIMES = ("created", "modified", "changed", "accessed")


@dataclass(frozen=True, slots=True)
class Disagreement:
    """Trusted readers say different things of ``path``: ``what`` is a field's name, or ``exists``."""

    path: str
    what: str
    values: Mapping[str, str]

    def __str__(self) -> str:
        said = ", ".join(f"{reader}: {value}" for reader, value in sorted(self.values.items()))
        return f"{shown(self.path)}: readers disagree on {self.what}: {said}"


def agreement(
    manifests: Mapping[str, Manifest], *, always: frozenset[Trait] = frozenset()
) -> tuple[Manifest, tuple[Disagreement, ...]]:
    """The truth by reader name -> manifest, and where trusted readers part.

    A value counts when at least two trusted readers say it and more say it than any other; otherwise it is unknown
    and compared with nothing. A path on whose existence they part is unsure. ``always`` are traits of
    every entry.
    """
    entries: list[Entry] = []
    unsure: set[str] = set()
    quarrels: list[Disagreement] = []
    for path in sorted({path for manifest in manifests.values() for path in manifest.by_path}):
        seen = {name: manifest.by_path[path] for name, manifest in manifests.items() if path in manifest.by_path}
        found = traits(seen.values()) | always
        present, quarrel = _exists(path, seen, manifests, found)
        quarrels.extend(quarrel)
        if present:
            entry, more = _agreed(path, seen, manifests, found)
            entries.append(entry)
            quarrels.extend(more)
        elif present is None:
            unsure.add(path)
    sees = frozenset[Feature]().union(*(manifest.sees for manifest in manifests.values()))
    unsure |= {
        path for manifest in manifests.values() for path in manifest.unsure if _sure_of(path, manifests) < WITNESSES
    }
    return Manifest(tuple(entries), sees, frozenset(unsure)), tuple(quarrels)


def _sure_of(path: str, manifests: Mapping[str, Manifest]) -> int:
    return sum(not manifest.is_unsure(path) for manifest in manifests.values())


def _exists(
    path: str, seen: Mapping[str, Entry], manifests: Mapping[str, Manifest], found: frozenset[Trait]
) -> tuple[bool | None, tuple[Disagreement, ...]]:
    judges = [
        name
        for name, manifest in manifests.items()
        if not distrust(name, Feature.NAMES, found) and not manifest.is_unsure(path)
    ]
    yes = [name for name in judges if name in seen]
    no = [name for name in judges if name not in seen and not may_hide(name, found)]
    quarrel = (
        (Disagreement(path, "exists", {name: "yes" if name in seen else "no" for name in (*yes, *no)}),)
        if yes and no
        else ()
    )
    if len(yes) >= WITNESSES and len(yes) > len(no):
        return True, quarrel
    if len(no) >= WITNESSES and len(no) > len(yes):
        return False, quarrel
    return None, quarrel


def _agreed(
    path: str, seen: Mapping[str, Entry], manifests: Mapping[str, Manifest], found: frozenset[Trait]
) -> tuple[Entry, list[Disagreement]]:
    quarrels: list[Disagreement] = []

    def settle(what: str, feature: Feature, said: Mapping[str, Any]) -> Any:  # noqa: ANN401 - a field of any type
        heard = {
            name: value
            for name, value in said.items()
            if value is not None
            and (feature in manifests[name].sees or what == "kind")  # every reader tells files from directories
            and not distrust(name, feature, found)
        }
        value, parted = _majority(heard)
        if parted:
            quarrels.append(Disagreement(path, what, {name: _short(value) for name, value in heard.items()}))
        return value

    fields = {
        name: settle(name, feature, {reader: _field(entry, name) for reader, entry in seen.items()})
        for name, feature in _FIELDS.items()
    }
    times = {
        which: settle(which, Feature.TIMES, {reader: getattr(entry.times, which) for reader, entry in seen.items()})
        for which in _TIMES
    }
    kind = fields.pop("kind") or _kind(seen, found)
    return Entry(path, kind, times=Times(**times), **fields), quarrels


def _field(entry: Entry, name: str) -> object:
    if name == "attributes" and entry.attributes is not None:
        return entry.attributes & COMPARED_ATTRIBUTES
    return getattr(entry, name)


def _kind(seen: Mapping[str, Entry], found: frozenset[Trait]) -> Kind:
    """Where there are no two witnesses, one is enough as long as no other trusted one says otherwise."""
    kinds = {entry.kind for reader, entry in seen.items() if not distrust(reader, Feature.REPARSE, found)}
    return kinds.pop() if len(kinds) == 1 else Kind.UNKNOWN


def _majority(heard: Mapping[str, Any]) -> tuple[Any, bool]:
    counts = Counter(heard.values()).most_common(2)
    if not counts or counts[0][1] < WITNESSES or (len(counts) > 1 and counts[1][1] == counts[0][1]):
        return None, len(counts) > 1
    return counts[0][0], len(counts) > 1


def _short(value: object) -> str:
    text = value.value if isinstance(value, Kind) else str(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
