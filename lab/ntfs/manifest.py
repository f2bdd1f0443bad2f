"""What a volume holds, as a frozen value: written by a recipe, by a reader, or by a driver under test.

A field that is None is not known to whoever wrote the manifest, and is compared with nothing. ``sees`` says which
features the writer can see at all: a driver that cannot list streams is poorer, not wrong.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from enum import Enum
from functools import cached_property
from typing import Any

__all__ = [
    "COMPARED_ATTRIBUTES",
    "FEATURES",
    "SCHEMA",
    "About",
    "Attachment",
    "Entry",
    "Feature",
    "Geometry",
    "Kind",
    "Manifest",
    "Reparse",
    "Stream",
    "Times",
    "block_size",
    "digest",
]

SCHEMA = "lab.ntfs.manifest/1"

COMPARED_ATTRIBUTES = 0x7F27
"""Read-only, hidden, system, archive, temporary ... encrypted. Directory and normal bits are left out: $FILE_NAME
keeps them in other places than $STANDARD_INFORMATION does, and drivers and readers show either."""


class Kind(Enum):
    """What a name stands for."""

    FILE = "file"
    DIRECTORY = "directory"
    SYMLINK = "symlink"
    JUNCTION = "junction"
    OTHER = "other"
    UNKNOWN = "unknown"
    """The name is there; what it stands for could not be found out, or readers part on it."""


class Feature(Enum):
    """What an observer may or may not be able to see."""

    NAMES = "names"
    SIZES = "sizes"
    BYTES = "bytes"
    LINKS = "links"
    REPARSE = "reparse"
    """Tells a junction from a symlink."""
    STREAMS = "streams"
    TIMES = "times"
    ATTRIBUTES = "attributes"
    HOLES = "holes"
    EAS = "eas"
    REPARSE_DATA = "reparse-data"
    SECURITY = "security"
    OBJECT_IDS = "object-ids"
    SHORT_NAMES = "short-names"
    NAME_COUNTS = "name-counts"


FEATURES = frozenset(Feature)


@dataclass(frozen=True, slots=True)
class Times:
    """FILETIME ints (100 ns steps since 1601). ``changed`` is that of the MFT record."""

    created: int | None = None
    modified: int | None = None
    changed: int | None = None
    accessed: int | None = None


@dataclass(frozen=True, slots=True)
class Stream:
    """A named data stream; without a size if all that is known is that it is there."""

    name: str
    size: int | None
    sha256: str | None


@dataclass(frozen=True, slots=True)
class Attachment:
    """An extended attribute."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Reparse:
    """A reparse point: its tag, and the SHA-256 of its buffer, the header left out, if that is known."""

    tag: int
    sha256: str | None


@dataclass(frozen=True, slots=True)
class Geometry:
    """Sizes in bytes, as the boot sector has them."""

    sector: int
    cluster: int
    record: int
    index_block: int
    size: int


@dataclass(frozen=True, slots=True)
class About:
    """What is known of the volume itself; ``flags`` are those of $VOLUME_INFORMATION."""

    label: str | None = None
    flags: int | None = None
    serial: int | None = None
    geometry: Geometry | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """One name. ``path`` is relative to the root of the volume, its parts joined by ``/``.

    ``blocks`` are the CRC-32 of the default stream's blocks of :func:`block_size` bytes: they say where two
    contents part, which a hash of the whole cannot. ``holes`` are (offset, length) pairs. ``security`` is the SHA-256
    of the self-relative descriptor, ``object_id`` hexadecimal, ``short_name`` the 8.3 alias, ``names`` how many names
    (hard links) the file has, its alias not counted. ``target`` of a link is as on disk, the name that counts.
    """

    path: str
    kind: Kind
    size: int | None = None
    sha256: str | None = None
    blocks: tuple[int, ...] | None = None
    target: str | None = None
    streams: tuple[Stream, ...] | None = None
    times: Times = Times()
    attributes: int | None = None
    holes: tuple[tuple[int, int], ...] | None = None
    eas: tuple[Attachment, ...] | None = None
    reparse: Reparse | None = None
    security: str | None = None
    object_id: str | None = None
    short_name: str | None = None
    names: int | None = None

    def to_json(self) -> dict[str, Any]:
        """Known fields only, in a fixed order."""
        document: dict[str, Any] = {"path": self.path, "kind": self.kind.value}
        for name in ("size", "sha256", "target", "attributes", "security", "object_id", "short_name", "names"):
            if (value := getattr(self, name)) is not None:
                document[name] = value
        if self.blocks is not None:
            document["blocks"] = list(self.blocks)
        if self.streams is not None:
            document["streams"] = [asdict(stream) for stream in self.streams]
        if times := {name: value for name, value in asdict(self.times).items() if value is not None}:
            document["times"] = times
        if self.holes is not None:
            document["holes"] = [list(hole) for hole in self.holes]
        if self.eas is not None:
            document["eas"] = [asdict(one) for one in self.eas]
        if self.reparse is not None:
            document["reparse"] = asdict(self.reparse)
        return document

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Entry:
        """The entry of one parsed object; unknown keys are refused by the constructor."""
        fields = dict(document)
        fields["kind"] = Kind(fields["kind"])
        fields["times"] = Times(**fields.get("times", {}))
        if fields.get("blocks") is not None:
            fields["blocks"] = tuple(fields["blocks"])
        if fields.get("streams") is not None:
            found = (Stream(**stream) for stream in fields["streams"])
            fields["streams"] = tuple(sorted(found, key=lambda stream: stream.name))
        if fields.get("holes") is not None:
            fields["holes"] = tuple((offset, length) for offset, length in fields["holes"])
        if fields.get("eas") is not None:
            fields["eas"] = tuple(Attachment(**one) for one in fields["eas"])
        if fields.get("reparse") is not None:
            fields["reparse"] = Reparse(**fields["reparse"])
        return cls(**fields)


@dataclass(frozen=True)  # no slots: by_path is cached on the instance
class Manifest:
    """Entries in the order of their paths, and what their writer sees.

    ``unsure`` are paths of which nobody knows whether they exist (readers disagree); nothing at or below them counts.
    ``fragile`` are paths at and below which an error is as good an answer as the truth; a wrong answer is not.
    """

    entries: tuple[Entry, ...]
    sees: frozenset[Feature] = FEATURES
    unsure: frozenset[str] = field(default_factory=frozenset)
    about: About | None = None
    fragile: frozenset[str] = field(default_factory=frozenset)

    def __post_init__(self) -> None:
        object.__setattr__(self, "entries", tuple(sorted(self.entries, key=lambda entry: entry.path)))

    def is_unsure(self, path: str) -> bool:
        """Whether ``path`` or a directory above it, up to the root (the empty path), is unsure."""
        return _covers(self.unsure, path)

    def is_fragile(self, path: str) -> bool:
        """Whether ``path`` or a directory above it, up to the root (the empty path), is fragile."""
        return _covers(self.fragile, path)

    @cached_property
    def by_path(self) -> Mapping[str, Entry]:
        """Entries by their path."""
        return {entry.path: entry for entry in self.entries}

    def uses(self) -> frozenset[Feature]:
        """The features without which something in here cannot be seen."""
        used = {Feature.NAMES, Feature.SIZES, Feature.BYTES} if self.entries else set()
        if any(entry.kind in (Kind.SYMLINK, Kind.JUNCTION) for entry in self.entries):
            used.add(Feature.LINKS)
        if any(entry.streams for entry in self.entries):
            used.add(Feature.STREAMS)
        return frozenset(used)

    def to_json(self) -> dict[str, Any]:
        """The document; equal manifests give equal text."""
        about = {} if self.about is None else {"about": asdict(self.about)}
        fragile = {"fragile": sorted(self.fragile)} if self.fragile else {}
        return {
            "schema": SCHEMA,
            "sees": sorted(feature.value for feature in self.sees),
            "unsure": sorted(self.unsure),
            **fragile,
            **about,
            "entries": [entry.to_json() for entry in self.entries],
        }

    def to_text(self) -> str:
        """The document as text. Escaped to ASCII: NTFS names may hold half a surrogate pair, UTF-8 may not."""
        return json.dumps(self.to_json(), ensure_ascii=True, indent=1) + "\n"

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Manifest:
        """The manifest of a parsed document.

        Raises:
            ValueError: another schema, or a field that is missing or unknown.
        """
        if document.get("schema") != SCHEMA:
            raise ValueError(f"schema {document.get('schema')!r} is not {SCHEMA!r}")
        try:
            return cls(
                tuple(Entry.from_json(entry) for entry in document["entries"]),
                frozenset(Feature(name) for name in document["sees"]),
                frozenset(document.get("unsure", ())),
                _about(document["about"]) if "about" in document else None,
                frozenset(document.get("fragile", ())),
            )
        except (KeyError, TypeError) as broken:
            raise ValueError(f"not a {SCHEMA} document: {broken}") from broken


def _covers(paths: frozenset[str], path: str) -> bool:
    if not paths:
        return False
    parts = path.split("/")
    return any("/".join(parts[:depth]) in paths for depth in range(len(parts) + 1))


def _about(document: Mapping[str, Any]) -> About:
    geometry = document.get("geometry")
    return About(**{**document, "geometry": None if geometry is None else Geometry(**geometry)})


def block_size(size: int) -> int:
    """The length of a checksum block for ``size`` bytes: at least a usual cluster, and never more than 256 blocks."""
    return max(4096, 1 << max(0, (size + 255) // 256 - 1).bit_length())


def digest(chunks: Iterable[bytes], size: int) -> tuple[str, tuple[int, ...]]:
    """SHA-256 of all bytes and the CRC-32 of each block; ``size`` chooses the block length only."""
    whole, step, count = hashlib.sha256(), block_size(size), 0
    blocks: list[int] = []
    for chunk in chunks:
        whole.update(chunk)
        rest = memoryview(chunk)
        while rest:
            inside = count % step
            part, rest = rest[: step - inside], rest[step - inside :]
            if not inside:
                blocks.append(0)
            blocks[-1] = zlib.crc32(part, blocks[-1])
            count += len(part)
    return whole.hexdigest(), tuple(blocks)
