"""The sound volumes that mutations are done to: small, and each with no more than what is to be spoiled in it.

A driver that misreads one feature must not look bad on all hostile volumes: compression, links and the like have
bases of their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lab.ntfs.ondisk.extended_attribute import ExtendedAttribute
from lab.ntfs.ondisk.reparse import symlink
from lab.ntfs.ondisk.security import EVERYONE, FULL, READ_AND_EXECUTE, USERS, Ace, descriptor, sid
from lab.ntfs.ondisk.standard_information import ARCHIVE, REPARSE
from lab.ntfs.volumes.content import random, sparse, text
from lab.ntfs.volumes.mixture import KIB, UNIT
from lab.ntfs.volumes.tree import Directory, Extras, File, Item

__all__ = [
    "BASES",
    "BYSTANDER",
    "DEEP",
    "EAS",
    "FOLDER",
    "GUARDED",
    "INNER",
    "LINK",
    "PACKED",
    "SHREDS",
    "SMALL",
    "SPARSE",
    "STREAMS",
    "VICTIM",
    "Base",
]

VICTIM = "victim.bin"
"""20 clusters in one run."""
BYSTANDER = "bystander.bin"
SMALL = "small.txt"
"""Resident."""
FOLDER = "broken"
"""Of several index blocks."""
INNER = f"{FOLDER}/inner"
DEEP = f"{INNER}/deep"
SHREDS = "shreds.bin"
"""With an attribute list."""
STREAMS = "streams.txt"
PACKED = "packed/text.txt"
SPARSE = "sparse.bin"
LINK = "link"
EAS = "attributes.txt"
GUARDED = "guarded.txt"

_REST = ", a name so long that few of them fill a block of the index"


@dataclass(frozen=True, slots=True)
class Base:
    """What stands on the volume besides the bystanders that are on each."""

    items: tuple[Item, ...]
    cluster: int = 4 * KIB


_BYSTANDERS: tuple[Item, ...] = (
    File(BYSTANDER, random("bystander", 40 * KIB)),
    File(SMALL, text("small", 200)),
    Directory("beside"),
    File("beside/leaf.txt", text("leaf", 3000)),
)

_SOMEBODY = sid(5, 21, 1111111111, 2222222222, 3333333333, 1001)

_OWN: Mapping[str, Base] = {
    "plain": Base((File(VICTIM, random("victim", 80 * KIB)),)),
    "index": Base(
        (
            Directory(FOLDER),
            *(File(f"{FOLDER}/{number:02d}{_REST}", text(f"{number}", 40)) for number in range(28)),
            Directory(INNER),
            File(f"{INNER}/leaf.txt", text("inner leaf", 100)),
            Directory(DEEP),
        )
    ),
    "list": Base((File(SHREDS, random("shreds", 400 * KIB), step=KIB),), cluster=KIB),
    "streams": Base((File(STREAMS, text("streams", 100), (("one", text("one", 50)), ("two", random("two", 9000)))),)),
    "packed": Base((Directory("packed", compressed=True), File(PACKED, text("packed", 200 * KIB)))),
    "sparse": Base((File(SPARSE, sparse("sparse", 4 * UNIT, (0, 5000), (3 * UNIT, 6000))),)),
    "links": Base(
        (
            File(
                LINK,
                extras=Extras(
                    attributes=ARCHIVE | REPARSE,
                    reparse=symlink("beside\\leaf.txt", relative=True),
                    target="beside\\leaf.txt",
                ),
            ),
        )
    ),
    "eas": Base(
        (
            File(
                EAS,
                text("eas", 80),
                extras=Extras(eas=tuple(ExtendedAttribute(f"NAME{one}", bytes(range(16 + one))) for one in range(4))),
            ),
        )
    ),
    "guarded": Base(
        (
            File(
                GUARDED,
                text("guarded", 80),
                extras=Extras(
                    security=descriptor(_SOMEBODY, USERS, (Ace(_SOMEBODY, FULL), Ace(EVERYONE, READ_AND_EXECUTE)))
                ),
            ),
        )
    ),
}

BASES: Mapping[str, Base] = {name: Base((*_BYSTANDERS, *base.items), base.cluster) for name, base in _OWN.items()}
"""The bases by name."""
