"""Boot sectors that no driver may believe, besides those of :mod:`lab.ntfs.volumes.boot_sectors`.

The spare in the last sector stays right: a driver may find its way by it.
"""

from __future__ import annotations

from lab.ntfs.ondisk.mft import Mft
from lab.ntfs.volumes.hostile.change import Field, Number, either, field, noise, one, register, total_clusters
from lab.ntfs.volumes.hostile.dice import Dice
from lab.ntfs.volumes.hostile.mutation import Good, Mutation
from lab.ntfs.volumes.hostile.place import boot_sector

__all__: list[str] = []

_STRUCTURE = "{} in struct NTFS_BOOT (fs/ntfs3/ntfs.h), read by ntfs_init_from_boot (fs/ntfs3/super.c)"


def _boot(name: str, breaks: str, what: str, where: Field, value: Number) -> Mutation:
    return Mutation(name, breaks, _STRUCTURE.format(what), Good.REFUSE, one(boot_sector(), field(*where, value)))


def _same_as_mft(_: Dice, mft: Mft) -> int:
    return mft.boot.mft_cluster


def _last_cluster(_: Dice, mft: Mft) -> int:
    return total_clusters(mft) - 1


def _behind(dice: Dice, mft: Mft) -> int:
    return total_clusters(mft) + dice.between(1, 1000)


register(
    _boot("boot-sector-zero", "sectors of no bytes", "bytes_per_sector", (0x0B, "H"), 0),
    _boot("boot-cluster-odd", "clusters of 3, 5 or 7 sectors", "sectors_per_clusters", (0x0D, "B"), either(3, 5, 7)),
    _boot(
        "boot-cluster-huge",
        "clusters of 2 to the power of 17 and more sectors",
        "sectors_per_clusters",
        (0x0D, "B"),
        noise(0x81, 0xEF),
    ),
    _boot("boot-record-zero", "MFT records of no clusters", "record_size", (0x40, "B"), 0),
    _boot("boot-record-many", "MFT records of 65 to 127 clusters", "record_size", (0x40, "B"), noise(65, 127)),
    _boot("boot-record-tiny", "MFT records of 2 to 16 bytes", "record_size", (0x40, "B"), noise(0xFC, 0xFF)),
    _boot(
        "boot-index-huge",
        "index blocks of 2 to the power of 32 and more bytes",
        "index_size",
        (0x44, "B"),
        noise(0x80, 0xE0),
    ),
    _boot("boot-mirror-is-mft", "$MFTMirr in the clusters of $MFT", "mft2_clst", (0x38, "Q"), _same_as_mft),
    _boot("boot-mirror-outside", "$MFTMirr past the end of the volume", "mft2_clst", (0x38, "Q"), _behind),
    _boot("boot-mft-last", "$MFT in the last cluster of the volume", "mft_clst", (0x30, "Q"), _last_cluster),
    _boot("boot-mft-negative", "$MFT at a negative cluster", "mft_clst", (0x30, "Q"), noise(1 << 63, (1 << 64) - 1)),
    _boot("boot-volume-empty", "a volume of no sectors", "sectors_per_volume", (0x28, "Q"), 0),
    _boot(
        "boot-volume-negative",
        "a negative number of sectors",
        "sectors_per_volume",
        (0x28, "Q"),
        noise(1 << 63, (1 << 64) - 1),
    ),
)
