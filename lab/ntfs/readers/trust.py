"""Which reader is trusted with what: measured, as data, each distrust with its reason.

Not trusted means only that a reader's word does not count where the trait applies; everywhere else it does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum

from lab.ntfs.manifest import Entry, Feature, Geometry, Kind
from lab.ntfs.ondisk.reparse import Tag

__all__ = ["Trait", "distrust", "may_hide", "refuses", "traits", "volume_traits"]


class Trait(Enum):
    """What may be special about an entry, as far as any reader can tell."""

    COMPRESSED = "compressed"
    ENCRYPTED = "encrypted"
    LINK = "link"
    REPARSE = "reparse"
    SPARSE = "sparse"
    SPECIAL = "special"
    """A pipe, a socket or a device, as far as any reader can tell; a reparse point that says so; or an empty file with
    a mode of Linux's, by which ntfs3 means such a one (docs/findings/0010-devices-without-numbers.md).
    """
    ODD_NAME = "odd-name"
    """Control characters, or what textual listings write for themselves (``:``, ``|``, ``^``)."""
    SMALL_INDEX = "small-index"
    """Every entry of a volume whose index blocks are smaller than its clusters."""
    LARGE_CLUSTER = "large-cluster"
    """Every entry of a volume with clusters of 128 KiB and more."""
    SMALL_SECTOR = "small-sector"
    """Every entry of a volume with sectors of 256 bytes."""
    DEEP = "deep"
    """128 directories down, and further."""


_ATTRIBUTES = {Trait.SPARSE: 0x200, Trait.REPARSE: 0x400, Trait.COMPRESSED: 0x800, Trait.ENCRYPTED: 0x4000}

_CIPHERTEXT = "EFS: shows the ciphertext, or refuses"
_PLAIN = "calls pipes, sockets and devices files"

_DISTRUST: Mapping[str, Mapping[tuple[Trait, Feature], str]] = {
    "libfsntfs": {
        (Trait.ENCRYPTED, Feature.BYTES): _CIPHERTEXT,
        (Trait.SPECIAL, Feature.REPARSE): _PLAIN,
        (
            Trait.SMALL_INDEX,
            Feature.NAMES,
        ): "drops names where index blocks are smaller than clusters (16 KiB and more)",
    },
    "ntfs-3g": {
        (Trait.ENCRYPTED, Feature.BYTES): _CIPHERTEXT,
        (Trait.REPARSE, Feature.BYTES): "shows a placeholder where a reparse plug-in is missing (WOF, dedup, cloud)",
        (Trait.REPARSE, Feature.SIZES): "the placeholder's size",
        (Trait.REPARSE, Feature.REPARSE): "calls reparse points that it does not know links",
        (Trait.SPECIAL, Feature.REPARSE): "tells pipes and devices of Interix, which are files to everybody else",
        (Trait.LINK, Feature.LINKS): "rewrites targets to paths below the mount point",
    },
    "sleuthkit": {
        (Trait.ENCRYPTED, Feature.BYTES): _CIPHERTEXT,
        (Trait.REPARSE, Feature.BYTES): "shows zeros for WOF files",
        (Trait.SPARSE, Feature.SIZES): "shows an empty file where a hole is longer than the volume",
        (Trait.LINK, Feature.LINKS): "shows no target",
        (Trait.SPECIAL, Feature.REPARSE): _PLAIN,
        (Trait.LINK, Feature.REPARSE): "shows a link as a file or a directory",
        (Trait.REPARSE, Feature.REPARSE): "shows a reparse point as a file or a directory",
        (Trait.REPARSE, Feature.SIZES): "shows no bytes of what is packed in a named stream",
        (Trait.DEEP, Feature.NAMES): "stops 128 directories down",
        (Trait.ODD_NAME, Feature.NAMES): "its listing writes ^ for control characters and : before streams",
    },
}

_HIDES: Mapping[str, Mapping[Trait, str]] = {
    "ntfs-3g": {Trait.REPARSE: "hides directories of cloud providers, or shows them as links with nothing in them"},
}
"""What a reader may leave out of its listing: that it is not there then says nothing; that it is, does."""


def distrust(reader: str, feature: Feature, found: Iterable[Trait]) -> str:
    """Why ``reader`` is not to be believed about ``feature`` of an entry with these traits, or an empty string."""
    table = _DISTRUST.get(reader, {})
    return next((table[trait, feature] for trait in sorted(found, key=str) if (trait, feature) in table), "")


def may_hide(reader: str, found: Iterable[Trait]) -> str:
    """Why it means nothing that ``reader`` does not list an entry with these traits, or an empty string."""
    table = _HIDES.get(reader, {})
    return next((table[trait] for trait in sorted(found, key=str) if trait in table), "")


_REFUSES: Mapping[str, Mapping[Trait, str]] = {
    "sleuthkit": {
        Trait.LARGE_CLUSTER: "takes no clusters of 128 KiB and more",
        Trait.SMALL_SECTOR: "takes no sectors of less than 512 bytes",
    },
}


def refuses(reader: str, found: Iterable[Trait]) -> str:
    """Why ``reader`` does not read volumes with these traits at all, or an empty string."""
    table = _REFUSES.get(reader, {})
    return next((table[trait] for trait in sorted(found, key=str) if trait in table), "")


def volume_traits(geometry: Geometry) -> frozenset[Trait]:
    """The traits that every entry of a volume has for its geometry."""
    holds = {
        Trait.SMALL_INDEX: geometry.index_block < geometry.cluster,
        Trait.LARGE_CLUSTER: geometry.cluster >= _LARGE,
        Trait.SMALL_SECTOR: geometry.sector < 512,
    }
    return frozenset(trait for trait, applies in holds.items() if applies)


_LINUX_MODE = "$LXMOD"
_SPECIALS = frozenset({Tag.AF_UNIX, Tag.LX_FIFO, Tag.LX_CHR, Tag.LX_BLK})
_LARGE = 128 << 10
_DEEP = 128


def traits(entries: Iterable[Entry]) -> frozenset[Trait]:
    """The traits any of ``entries`` (one path, as several readers saw it) shows."""
    found: set[Trait] = set()
    for entry in entries:
        found |= {trait for trait, bit in _ATTRIBUTES.items() if (entry.attributes or 0) & bit}
        if entry.kind in (Kind.SYMLINK, Kind.JUNCTION):
            found.add(Trait.LINK)
        if _may_be_special(entry):
            found.add(Trait.SPECIAL)
        if entry.reparse is not None:
            found.add(Trait.REPARSE)
        if any(one in ":|^" or not one.isprintable() for one in entry.path):
            found.add(Trait.ODD_NAME)
        if entry.path.count("/") >= _DEEP:
            found.add(Trait.DEEP)
    return frozenset(found)


def _may_be_special(entry: Entry) -> bool:
    tagged = entry.reparse is not None and entry.reparse.tag in _SPECIALS
    moded = entry.size == 0 and any(one.name == _LINUX_MODE for one in entry.eas or ())
    return entry.kind is Kind.OTHER or tagged or moded
