"""Where two manifests part: each difference named, with the first byte where there is one."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from lab.ntfs import filetime
from lab.ntfs.manifest import (
    COMPARED_ATTRIBUTES,
    Attachment,
    Entry,
    Feature,
    Kind,
    Manifest,
    Reparse,
    Stream,
    Times,
    block_size,
)
from lab.ntfs.naming import shown

__all__ = ["TIMES", "Difference", "diff"]

TIMES = ("created", "modified", "changed", "accessed")
"""What a difference in a time is called."""

_ABSOLUTE = re.compile(r"/\?\?/([A-Za-z]:/|UNC/)?|[A-Za-z]:/|/")
"""What an absolute target begins with, before the path on its drive."""

_LINKS = frozenset({Kind.SYMLINK, Kind.JUNCTION})


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that is not as expected. ``stream`` is empty for the default stream.

    ``what`` is missing, extra, kind, size, bytes, target, attributes, hole, created, modified, changed, accessed, ea,
    reparse-data, security, object-id, short-name or name-count.
    ``first_differing_byte`` is exact to the checksum block: the bytes before it are equal.
    """

    path: str
    stream: str
    what: str
    expected: str
    observed: str
    first_differing_byte: int | None = None

    def __str__(self) -> str:
        name = f"{self.path}:{self.stream}" if self.stream else self.path
        at = "" if self.first_differing_byte is None else f" from byte {self.first_differing_byte}"
        expected, observed = self.expected or "nothing", self.observed or "nothing"
        return f"{shown(name)}: {self.what}{at}: expected {expected}, observed {observed}"

    def to_json(self) -> dict[str, Any]:
        """For the evidence file."""
        return {
            "path": self.path,
            "stream": self.stream,
            "what": self.what,
            "expected": self.expected,
            "observed": self.observed,
            "first_differing_byte": self.first_differing_byte,
        }


def diff(expected: Manifest, observed: Manifest) -> tuple[Difference, ...]:
    """All differences in features that both sides see, in the order of the paths."""
    seen = expected.sees & observed.sees
    found: list[Difference] = []
    for path in sorted(expected.by_path.keys() | observed.by_path.keys()):
        if expected.is_unsure(path) or observed.is_unsure(path):
            continue
        left, right = expected.by_path.get(path), observed.by_path.get(path)
        if left is None or right is None:
            found.append(_presence(path, left, right))
        elif Kind.UNKNOWN not in {left.kind, right.kind}:
            found.extend(_between(left, right, seen))
    return tuple(found)


def _presence(path: str, expected: Entry | None, observed: Entry | None) -> Difference:
    what = "missing" if observed is None else "extra"
    return Difference(path, "", what, _describe(expected), _describe(observed))


def _describe(entry: Entry | None) -> str:
    if entry is None:
        return ""
    return entry.kind.value if entry.size is None else f"{entry.kind.value} of {entry.size} bytes"


def _between(expected: Entry, observed: Entry, seen: frozenset[Feature]) -> Iterator[Difference]:
    path = expected.path
    if _kind_differs(expected.kind, observed.kind, seen):
        yield Difference(path, "", "kind", expected.kind.value, observed.kind.value)
        return
    if {expected.kind, observed.kind} & _LINKS and Feature.LINKS not in seen:
        return
    if Feature.SIZES in seen and _both_differ(expected.size, observed.size):
        yield Difference(path, "", "size", str(expected.size), str(observed.size), _first_byte(expected, observed))
    elif Feature.BYTES in seen and _both_differ(expected.sha256, observed.sha256):
        first = _first_byte(expected, observed)
        yield Difference(path, "", "bytes", str(expected.sha256), str(observed.sha256), first)
    if Feature.LINKS in seen and not _same_target(expected.target, observed.target):
        yield Difference(path, "", "target", ascii(expected.target), ascii(observed.target))
    if Feature.STREAMS in seen and expected.streams is not None and observed.streams is not None:
        yield from _streams(path, expected.streams, observed.streams)
    if Feature.TIMES in seen:
        yield from _times(path, expected.times, observed.times)
    if Feature.ATTRIBUTES in seen:
        yield from _attributes(path, expected.attributes, observed.attributes)
    if Feature.HOLES in seen:
        yield from _holes(expected, observed)
    yield from _metadata(expected, observed, seen)


def _both_differ(expected: object, observed: object) -> bool:
    return expected is not None and observed is not None and expected != observed


def _same_target(expected: str | None, observed: str | None) -> bool:
    """Whether one may stand for the other: with slashes either way, and for absolute ones, below a mount point.

    A driver cannot know where the other system's drives are mounted; it must not lose the path on the drive. Whether it
    shows the name that counts or the one that is there to be shown is left to it: both end in that path.
    """
    if expected is None or observed is None:
        return True
    left, right = (side.replace("\\", "/") for side in (expected, observed))
    if left == right:
        return True
    found = _ABSOLUTE.match(left)
    if found is None:
        return False
    path = left[found.end() :].rstrip("/")
    return right.endswith((f"/{path}", f"/{path}/"))


def _kind_differs(expected: Kind, observed: Kind, seen: frozenset[Feature]) -> bool:
    if expected is observed:
        return False
    links = {expected, observed} & _LINKS
    if links and Feature.LINKS not in seen:
        return False
    return not (links == {expected, observed} and Feature.REPARSE not in seen)


def _first_byte(expected: Entry, observed: Entry) -> int | None:
    if expected.blocks is None or observed.blocks is None or expected.size is None or observed.size is None:
        return None
    step = block_size(expected.size)
    if step != block_size(observed.size):
        return None
    pairs = zip(expected.blocks, observed.blocks, strict=False)  # one may be shorter
    equal = next((index for index, (left, right) in enumerate(pairs) if left != right), None)
    if equal is not None:
        return equal * step
    return min(expected.size, observed.size) if expected.size != observed.size else None


def _streams(path: str, expected: tuple[Stream, ...], observed: tuple[Stream, ...]) -> Iterator[Difference]:
    left, right = ({stream.name: stream for stream in side} for side in (expected, observed))
    for name in sorted(left.keys() | right.keys()):
        a, b = left.get(name), right.get(name)
        if a is None or b is None:
            left_size, right_size = ("" if side is None else _stream(side) for side in (a, b))
            yield Difference(path, name, "missing" if b is None else "extra", left_size, right_size)
        elif _both_differ(a.size, b.size):
            yield Difference(path, name, "size", str(a.size), str(b.size))
        elif _both_differ(a.sha256, b.sha256):
            yield Difference(path, name, "bytes", str(a.sha256), str(b.sha256))


def _stream(stream: Stream) -> str:
    return "stream" if stream.size is None else f"stream of {stream.size} bytes"


def _times(path: str, expected: Times, observed: Times) -> Iterator[Difference]:
    for which in TIMES:
        left, right = getattr(expected, which), getattr(observed, which)
        if _both_differ(left, right):
            yield Difference(path, "", which, filetime.show(left), filetime.show(right))


def _attributes(path: str, expected: int | None, observed: int | None) -> Iterator[Difference]:
    if expected is None or observed is None:
        return
    left, right = expected & COMPARED_ATTRIBUTES, observed & COMPARED_ATTRIBUTES
    if left != right:
        yield Difference(path, "", "attributes", f"{left:#06x}", f"{right:#06x}")


def _holes(expected: Entry, observed: Entry) -> Iterator[Difference]:
    """A hole that is not reported is lawful (lseek(2) may call everything data); one where bytes lie is a lie."""
    if expected.holes is None or observed.holes is None:
        return
    for offset, length in observed.holes:
        if not any(start <= offset and offset + length <= start + size for start, size in expected.holes):
            known = ", ".join(f"{start}+{size}" for start, size in expected.holes)
            yield Difference(expected.path, "", "hole", known, f"{offset}+{length}", offset)


_METADATA: Mapping[str, tuple[str, Feature]] = {
    "security": ("security", Feature.SECURITY),
    "object_id": ("object-id", Feature.OBJECT_IDS),
    "short_name": ("short-name", Feature.SHORT_NAMES),
}
"""Fields that are compared as they are: what they are called, and who can see them."""


def _metadata(expected: Entry, observed: Entry, seen: frozenset[Feature]) -> Iterator[Difference]:
    path = expected.path
    if Feature.EAS in seen and expected.eas is not None and observed.eas is not None:
        yield from _attachments(path, expected.eas, observed.eas)
    if Feature.REPARSE_DATA in seen and expected.reparse is not None and observed.reparse is not None:
        left, right = expected.reparse, observed.reparse
        if left.tag != right.tag or _both_differ(left.sha256, right.sha256):
            yield Difference(path, "", "reparse-data", _reparse(left), _reparse(right))
    for name, (what, feature) in _METADATA.items():
        left_value, right_value = getattr(expected, name), getattr(observed, name)
        if feature in seen and _both_differ(left_value, right_value):
            yield Difference(path, "", what, str(left_value), str(right_value))
    # Whether an 8.3 alias counts as a name of its own, drivers do not agree, nor need they.
    if Feature.NAME_COUNTS in seen and not expected.short_name and _both_differ(expected.names, observed.names):
        yield Difference(path, "", "name-count", str(expected.names), str(observed.names))


def _reparse(point: Reparse) -> str:
    return f"{point.tag:#010x} {point.sha256 or ''}".rstrip()


def _attachments(path: str, expected: tuple[Attachment, ...], observed: tuple[Attachment, ...]) -> Iterator[Difference]:
    left, right = ({one.name: one for one in side} for side in (expected, observed))
    for name in sorted(left.keys() | right.keys()):
        if left.get(name) != right.get(name):
            yield Difference(path, "", "ea", _attachment(name, left.get(name)), _attachment(name, right.get(name)))


def _attachment(name: str, one: Attachment | None) -> str:
    return "" if one is None else f"{name} of {one.size} bytes, {one.sha256}"
