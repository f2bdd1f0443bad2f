"""Sizes of clusters, sectors and MFT records; the content is the same mixture on each."""

from __future__ import annotations

from lab.ntfs.volumes.mixture import KIB, MIB, mixture
from lab.ntfs.volumes.recipe import Recipe, recipes

__all__: list[str] = []


def _shown(size: int) -> str:
    if size >= MIB:
        return f"{size // MIB} MiB"
    return f"{size // KIB} KiB" if size >= KIB else f"{size} bytes"


def _clusters() -> None:
    for name, cluster in (
        ("512", 512),
        ("1k", KIB),
        ("2k", 2 * KIB),
        ("4k", 4 * KIB),
        ("16k", 16 * KIB),
        ("64k", 64 * KIB),
        ("128k", 128 * KIB),
        ("1m", MIB),
        ("2m", 2 * MIB),
    ):
        large = cluster >= MIB  # with 32 or 64 clusters in all, a file may have one or two
        size = 64 * MIB if cluster >= 64 * KIB else 24 * MIB
        items = mixture(min(cluster, 64 * KIB) if large else cluster, most=cluster if large else 4 * MIB)
        recipes.add(Recipe(f"cluster-{name}", f"clusters of {_shown(cluster)}", items, size=size, cluster=cluster))


def _sectors() -> None:
    for sector in (256, 1024, 2048, 4096):
        recipes.add(
            Recipe(f"sector-{sector}", f"sectors of {sector} bytes", mixture(4096), size=24 * MIB, sector=sector)
        )


def _records() -> None:
    for name, cluster in (("", 4 * KIB), ("-cluster-16k", 16 * KIB), ("-cluster-64k", 64 * KIB)):
        recipes.add(
            Recipe(
                f"record-4096{name}",
                f"MFT records of 4096 bytes on sectors of 512, clusters of {_shown(cluster)}",
                mixture(cluster),
                size=(64 if cluster > 4 * KIB else 24) * MIB,
                cluster=cluster,
                record=4096,
            )
        )
    recipes.add(
        Recipe(
            "sector-4096-cluster-64k",
            "sectors and MFT records of 4096 bytes, clusters of 64 KiB",
            mixture(64 * KIB),
            size=64 * MIB,
            cluster=64 * KIB,
            sector=4096,
        )
    )


_clusters()
_sectors()
_records()
