"""What the readers outside say of a volume that was written to, and when that counts against a driver. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from lab.ntfs.difference import Difference
from lab.ntfs.manifest import Attachment, Entry, Feature, Kind, Manifest
from lab.ntfs.readers import Readings, distrust, traits, verify

__all__ = ["Hearing", "complemented", "hear", "lenient"]

_OPEN_BITS = 0x20 | 0x200 | 0x2000
"""Archive, which a write may set or leave; sparse, which a hole may; not indexed, which a directory hands on or not."""

_READ_ONLY, _WRITERS = 0x1, 0o222
"""The attribute that means, to Linux, that no bit of these is in a file's mode."""

_NOBODYS = frozenset({Kind.SYMLINK, Kind.JUNCTION, Kind.OTHER})

Key = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Hearing:
    """``proven`` counts: no trusted reader who can see it says otherwise, or two see it. ``doubtful`` is what one alone
    sees and another contradicts; ``lost`` are readers that read the volume before and cannot any more, with the reason.
    """

    proven: tuple[tuple[str, Difference], ...]
    doubtful: tuple[tuple[str, Difference], ...]
    lost: Mapping[str, str]
    readers: tuple[str, ...]


def hear(  # noqa: PLR0913 - before and after, by whom, and against whom
    expected: Manifest,
    before: Manifest,
    readings: Readings,
    earlier: Readings,
    *,
    touched: frozenset[str],
    modes: Mapping[str, int] = MappingProxyType({}),
    accused: frozenset[str] = frozenset(),
    seen: Iterable[Difference] = (),
) -> Hearing:
    """Weigh what the readers say of a volume that should hold ``expected``.

    What a reader said of an untouched path before the write too, it does not say against the write. ``modes`` are those
    that paths were given. ``accused`` readers are of the driver's own make: they may confirm, and contradict nobody.
    ``seen`` is what the driver itself shows.
    """
    found: dict[str, dict[Key, Difference]] = {}
    for name, manifest in sorted(readings.manifests.items()):
        said = verify(name, _for_outsiders(lenient(expected, manifest, touched, modes)), manifest).wrong
        standing = _standing(name, before, earlier)
        found[name] = {_key(one): one for one in said if one.path in touched or _key(one) not in standing}
    shown = {_key(one) for one in seen}
    proven: list[tuple[str, Difference]] = []
    doubtful: list[tuple[str, Difference]] = []
    for name, differences in found.items():
        for key, one in differences.items():
            others = [other for other in found if other != name]
            confirmed = key in shown or any(key in found[other] for other in others)
            contradicted = any(
                other not in accused and key not in found[other] and _can_tell(other, one, expected, readings)
                for other in others
            )
            (proven if confirmed or not contradicted else doubtful).append((name, one))
    refused = readings.refusals.keys() - readings.silent
    lost = {name: readings.refusals[name] for name in refused if name in earlier.manifests}
    return Hearing(tuple(proven), tuple(doubtful), lost, tuple(found))


def _key(one: Difference) -> Key:
    return one.path, one.stream, one.what


def _standing(name: str, before: Manifest, earlier: Readings) -> frozenset[Key]:
    manifest = earlier.manifests.get(name)
    if manifest is None:
        return frozenset()
    return frozenset(_key(one) for one in verify(name, before, manifest).wrong)


_FEATURES: Mapping[str, Feature] = {
    "missing": Feature.NAMES,
    "extra": Feature.NAMES,
    "size": Feature.SIZES,
    "bytes": Feature.BYTES,
    "target": Feature.LINKS,
    "attributes": Feature.ATTRIBUTES,
    **dict.fromkeys(("created", "modified", "changed", "accessed"), Feature.TIMES),
}


def _can_tell(reader: str, one: Difference, expected: Manifest, readings: Readings) -> bool:
    """Whether that reader's silence about a difference says that there is none."""
    feature = Feature.STREAMS if one.stream else _FEATURES.get(one.what)
    manifest = readings.manifests[reader]
    if feature is None or feature not in manifest.sees or manifest.is_unsure(one.path):
        return False
    known = [side.by_path[one.path] for side in (expected, manifest) if one.path in side.by_path]
    return not distrust(reader, feature, traits(known))


def _for_outsiders(expected: Manifest) -> Manifest:
    """Links and special files as drivers write them are Interix' or WSL's: what they are, no outsider is sure of."""

    def as_seen(entry: Entry) -> Entry:
        return replace(entry, kind=Kind.UNKNOWN) if entry.streams is None and entry.kind in _NOBODYS else entry

    return replace(expected, entries=tuple(as_seen(entry) for entry in expected.entries))


def lenient(
    expected: Manifest, observed: Manifest, touched: frozenset[str], modes: Mapping[str, int] = MappingProxyType({})
) -> Manifest:
    """``expected``, with the attributes that a write may change as they were seen, and what Linux adds of its own.

    Where ``modes`` has the mode that a path was given, a driver may keep in the attributes whether anybody may write.
    """

    def as_seen(entry: Entry) -> Entry:
        seen = observed.by_path.get(entry.path)
        if entry.path not in touched or seen is None:
            return entry
        entry = replace(entry, eas=_with_unix_eas(entry.eas, seen.eas))
        if entry.attributes is None or seen.attributes is None:
            return entry
        bits = _OPEN_BITS | (_READ_ONLY if _tells_the_mode(seen.attributes, modes.get(entry.path)) else 0)
        return replace(entry, attributes=entry.attributes & ~bits | seen.attributes & bits)

    return replace(expected, entries=tuple(as_seen(entry) for entry in expected.entries))


def _tells_the_mode(attributes: int, mode: int | None) -> bool:
    """Whether the read-only bit is as drivers have it of that mode (ntfs3_setattr, ntfs_setattr)."""
    return mode is not None and bool(attributes & _READ_ONLY) is not bool(mode & _WRITERS)


_UNIX_EAS = frozenset({"$LXUID", "$LXGID", "$LXMOD", "$LXDEV"})
"""Owner, group, mode and device of a file, as the Linux subsystem of Windows keeps them, and ntfs3 of all that it makes
(fs/ntfs3/xattr.c): how a driver keeps what every file of Linux has is its own affair.
"""


def _with_unix_eas(
    expected: tuple[Attachment, ...] | None, seen: tuple[Attachment, ...] | None
) -> tuple[Attachment, ...] | None:
    if expected is None or seen is None:
        return expected
    known = {one.name for one in expected}
    return (*expected, *(one for one in seen if one.name in _UNIX_EAS - known))


def complemented(manifest: Manifest, readings: Readings) -> Manifest:
    """The manifest, with attributes and times that it does not know as the most complete reader saw them: it is of no
    importance what they are, only that they stay.
    """
    seen = readings.manifests.get("libfsntfs")
    if seen is None:
        return manifest

    def known(entry: Entry) -> Entry:
        found = seen.by_path.get(entry.path)
        if found is None or found.kind is not entry.kind:
            return entry
        times = replace(
            entry.times,
            **{
                name: getattr(found.times, name)
                for name in ("created", "modified", "changed", "accessed")
                if getattr(entry.times, name) is None
            },
        )
        attributes = found.attributes if entry.attributes is None else entry.attributes
        return replace(entry, times=times, attributes=attributes)

    return replace(manifest, entries=tuple(known(entry) for entry in manifest.entries))
