"""Which recipes cover which feature: every row that the lab promises to have a volume for, as data.

A test holds this list and the registry together; documentation is made from it.
"""

from __future__ import annotations

from dataclasses import dataclass

from lab.ntfs.volumes.recipe import recipes

__all__ = ["ROWS", "Row", "table"]


@dataclass(frozen=True, slots=True)
class Row:
    """A feature, and the recipes that have it; a name that ends in ``*`` stands for all that begin so."""

    area: str
    feature: str
    patterns: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The registered recipes that it stands for, in the order of their names."""
        return tuple(name for name in recipes if any(_fits(name, pattern) for pattern in self.patterns))


def _fits(name: str, pattern: str) -> bool:
    return name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern


_COVERED: dict[str, dict[str, str]] = {
    "geometry": {
        "cluster of 512 bytes": "cluster-512 compressed-cluster-512",
        "cluster of 1 KiB": "cluster-1k compressed-cluster-1k attribute-list",
        "cluster of 2 KiB": "cluster-2k",
        "cluster of 4 KiB": "cluster-4k clean",
        "cluster of 16 KiB": "cluster-16k record-4096-cluster-16k",
        "cluster of 64 KiB": "cluster-64k record-4096-cluster-64k sector-4096-cluster-64k",
        "cluster of 128 KiB": "cluster-128k",
        "cluster of 1 MiB": "cluster-1m",
        "cluster of 2 MiB": "cluster-2m",
        "sector of 256 bytes": "sector-256",
        "sector of 512 bytes": "cluster-4k clean",
        "sector of 1024 bytes": "sector-1024",
        "sector of 2048 bytes": "sector-2048",
        "sector of 4096 bytes": "sector-4096 sector-4096-cluster-64k",
        "MFT record of 1024 bytes": "cluster-4k clean",
        "MFT record of 4096 bytes on sectors of 512": "record-4096*",
        "MFT record of 4096 bytes on sectors of 4096": "sector-4096*",
        "index block smaller than a cluster": "cluster-16k cluster-64k cluster-128k cluster-1m cluster-2m",
    },
    "content": {
        "resident": "resident clean",
        "non-resident": "non-resident clean",
        "fragmented": "fragmented",
        "attribute list": "attribute-list*",
        "sparse with holes": "sparse sparse-odd",
        "a hole of 512 MB": "sparse-512m",
        "LZNT1": "compressed*",
        "WOF XPRESS4K": "wof-xpress4k",
        "WOF XPRESS8K": "wof-xpress8k",
        "WOF XPRESS16K": "wof-xpress16k",
        "WOF LZX": "wof-lzx",
        "EFS": "efs",
        "valid data length less than the size": "valid-length",
        "deduplicated stub": "dedup",
        "cloud placeholder": "cloud",
    },
    "names": {
        "CJK": "names-cjk unicode-names",
        "emoji (non-BMP)": "names-emoji unicode-names",
        "255 units": "names-255 unicode-names",
        "trailing dot or blank": "names-trailing unicode-names",
        "reserved": "names-reserved unicode-names",
        "pairs that differ by case": "names-case unicode-names",
        "8.3 aliases": "names-short",
    },
    "links": {
        "hard links": "hard-links attribute-list-names",
        "relative symlinks": "symlinks-relative",
        "absolute symlinks": "symlinks-absolute",
        "junctions": "junctions",
        "WSL (LX)": "wsl",
        "Interix": "interix",
    },
    "metadata": {
        "named streams": "named-streams attribute-list-streams",
        "extended attributes": "extended-attributes",
        "object ids": "object-ids",
        "security descriptors": "security",
        "DOS attributes": "attributes",
        "times from 1900 to 2100 at 100 ns": "times",
    },
    "directories": {
        "1 500 entries": "directory-1500",
        "10 000 entries": "directory-10000",
        "100 000 entries": "directory-100000",
        "deep": "directory-deep",
    },
    "states": {
        "clean": "clean clean-log resumed",
        "dirty": "dirty",
        "hibernated": "hibernated hibernated-upper",
        "unclean log": "unclean-log",
        "unclean log of version 2.0": "unclean-log-2",
        "read-only medium": "read-only-medium",
        "wrong boot sector": "boot-*",
        "damaged metadata": "damaged-*",
        "hostile metadata": "hostile-*",
    },
    "sizes": {"1 MiB": "size-1m", "1 TB, sparse": "size-1t"},
}

ROWS: tuple[Row, ...] = tuple(
    Row(area, feature, tuple(patterns.split()))
    for area, features in _COVERED.items()
    for feature, patterns in features.items()
)


def table() -> str:
    """The rows as a Markdown table, for the documentation."""
    lines = ["| area | feature | volumes |", "|---|---|---|"]
    lines += [f"| {row.area} | {row.feature} | {', '.join(f'`{name}`' for name in row.names)} |" for row in ROWS]
    return "\n".join(lines) + "\n"
