"""What a file has besides names and bytes: streams, extended attributes, object ids, security, attributes, times."""

from __future__ import annotations

import hashlib

from lab.ntfs.filetime import UNIX_EPOCH
from lab.ntfs.manifest import Times
from lab.ntfs.ondisk import standard_information as si
from lab.ntfs.ondisk.extended_attribute import ExtendedAttribute
from lab.ntfs.ondisk.security import ADMINISTRATORS, EVERYONE, FULL, READ_AND_EXECUTE, USERS, Ace, descriptor, sid
from lab.ntfs.volumes.content import EMPTY, random, sparse, text
from lab.ntfs.volumes.mixture import MIB, UNIT
from lab.ntfs.volumes.recipe import Recipe, recipes
from lab.ntfs.volumes.tree import Directory, Extras, File

__all__: list[str] = []

_SMALL = 16 * MIB

STREAMS = recipes.add(
    Recipe(
        "named-streams",
        "named streams: small, large, empty, sparse, with odd names, on directories and on empty files",
        (
            File("zone.exe", random("program", 3000), (("Zone.Identifier", text("zone", 26)),)),
            File("empty.txt", EMPTY, (("not empty", text("not empty", 100)),)),
            File("hollow.txt", text("hollow", 100), (("empty", EMPTY),)),
            File(
                "large.bin", random("large", 5000), (("large", random("large stream", 200_000)), ("tiny", text("t", 1)))
            ),
            File("sparse.txt", text("sparse", 10), (("holes", sparse("stream holes", 4 * UNIT, (3 * UNIT, 100))),)),
            File(
                "names.txt",
                text("names", 10),
                tuple(
                    (name, text(name, 20)) for name in ("\u6f22\u5b57", "\U0001f600", "with blank", "UPPER", "n" * 200)
                ),
            ),
            Directory("folder", streams=(("on a folder", text("on a folder", 300)), ("more", random("more", 4000)))),
        ),
        size=_SMALL,
    )
)

EXTENDED_ATTRIBUTES = recipes.add(
    Recipe(
        "extended-attributes",
        "extended attributes as OS/2 and WSL have them: one, several, large, with the flag that they are needed",
        (
            File("one.txt", text("one", 50), extras=Extras(eas=(ExtendedAttribute("NOTE", b"a value"),))),
            File(
                "wsl.txt",
                text("wsl", 50),
                extras=Extras(
                    eas=(
                        ExtendedAttribute("$LXUID", (1000).to_bytes(4, "little")),
                        ExtendedAttribute("$LXGID", (1000).to_bytes(4, "little")),
                        ExtendedAttribute("$LXMOD", (0o100640).to_bytes(4, "little")),
                    )
                ),
            ),
            File(
                "large.bin",
                random("large", 5000),
                extras=Extras(eas=(ExtendedAttribute("BIG", random("ea", 20_000).extents[0].bytes()),)),
            ),
            File("needed.txt", text("needed", 50), extras=Extras(eas=(ExtendedAttribute("MUST", b"\0\xff", 0x80),))),
            File(
                "several.txt",
                text("several", 50),
                extras=Extras(eas=tuple(ExtendedAttribute(f"NAME{one}", bytes(range(one + 1))) for one in range(12))),
            ),
            Directory("folder", extras=Extras(eas=(ExtendedAttribute("FOLDER", b"a directory's"),))),
        ),
        size=_SMALL,
    )
)


def _identity(seed: str) -> bytes:
    return hashlib.sha256(seed.encode()).digest()[:16]


OBJECT_IDS = recipes.add(
    Recipe(
        "object-ids",
        "object ids, with and without the ids of where the file was born",
        (
            *(
                File(f"plain-{one}.txt", text(f"{one}", 50), extras=Extras(object_id=_identity(f"{one}")))
                for one in range(5)
            ),
            File(
                "born.txt",
                text("born", 50),
                extras=Extras(object_id=b"".join(_identity(word) for word in ("id", "volume", "object", "domain"))),
            ),
            Directory("folder", extras=Extras(object_id=_identity("folder"))),
            File("none.txt", text("none", 50)),
        ),
        size=_SMALL,
    )
)

_SOMEBODY = sid(5, 21, 1111111111, 2222222222, 3333333333, 1001)

_DESCRIPTORS = {
    "everyone": descriptor(ADMINISTRATORS, ADMINISTRATORS, (Ace(EVERYONE, FULL),)),
    "readers": descriptor(_SOMEBODY, USERS, (Ace(_SOMEBODY, FULL), Ace(USERS, READ_AND_EXECUTE))),
    "denied": descriptor(_SOMEBODY, USERS, (Ace(USERS, FULL, kind=1), Ace(_SOMEBODY, FULL))),
    "audited": descriptor(ADMINISTRATORS, USERS, (Ace(USERS, FULL),), (Ace(EVERYONE, FULL, kind=2, flags=0x40),)),
    "nobody": descriptor(_SOMEBODY, _SOMEBODY, ()),
    "many": descriptor(
        _SOMEBODY, USERS, tuple(Ace(sid(5, 21, 7, 8, 9, 2000 + one), READ_AND_EXECUTE) for one in range(60))
    ),
}

SECURITY = recipes.add(
    Recipe(
        "security",
        "security descriptors: open to all, to some, denied, audited, empty, long, inherited; shared by two files",
        (
            *(File(f"{name}.txt", text(name, 80), extras=Extras(security=raw)) for name, raw in _DESCRIPTORS.items()),
            File("readers too.txt", text("too", 80), extras=Extras(security=_DESCRIPTORS["readers"])),
            Directory(
                "folder",
                extras=Extras(
                    security=descriptor(ADMINISTRATORS, USERS, (Ace(USERS, FULL, flags=3), Ace(ADMINISTRATORS, FULL)))
                ),
            ),
        ),
        size=_SMALL,
    )
)

_FLAGS = {
    "none": 0x80,  # FILE_ATTRIBUTE_NORMAL: no other
    "read-only": si.READ_ONLY,
    "hidden": si.HIDDEN,
    "system": si.SYSTEM,
    "archive": si.ARCHIVE,
    "temporary": si.TEMPORARY,
    "offline": si.OFFLINE,
    "not-indexed": si.NOT_INDEXED,
    "all": si.READ_ONLY | si.HIDDEN | si.SYSTEM | si.ARCHIVE | si.TEMPORARY | si.OFFLINE | si.NOT_INDEXED,
}

ATTRIBUTES = recipes.add(
    Recipe(
        "attributes",
        "each DOS attribute alone and all together, on files and on a directory",
        (
            *(File(f"{name}.txt", text(name, 40), extras=Extras(attributes=flags)) for name, flags in _FLAGS.items()),
            Directory("folder", extras=Extras(attributes=si.HIDDEN | si.SYSTEM | si.READ_ONLY)),
        ),
        size=_SMALL,
    )
)

_DAY = 86400 * 10_000_000


def _filetime(days: int, ticks: int = 0) -> int:
    """``days`` since 1970, and 100 ns steps."""
    return UNIX_EPOCH + days * _DAY + ticks


_MOMENTS = {
    "1900-01-01": _filetime(-25567),
    "1901-12-13 20.45.51.9999999, the last before 32 bits": _filetime(-24856, 747_519_999_999),
    "1969-12-31 23.59.59.9999999": _filetime(0, -1),
    "1970-01-01": _filetime(0),
    "1980-01-01, the first of FAT": _filetime(3652),
    "1999-12-31 23.59.59.0000001": _filetime(10956, 863_990_000_001),
    "2000-02-29": _filetime(11016),
    "2024-02-29 12.00.00.1234567": _filetime(19782, 432_001_234_567),
    "2038-01-19 03.14.08, past 32 bits": _filetime(24855, 116_480_000_000),
    "2100-02-28 23.59.59.9999999": _filetime(47540, 863_999_999_999),
    "2100-12-31": _filetime(47846),
}


def _four(moment: int) -> Times:
    """Four times, 100 ns apart each."""
    return Times(moment, moment + 1, moment + 2, moment + 3)


TIMES = recipes.add(
    Recipe(
        "times",
        "times from 1900 to 2100, exact to 100 ns, all four of them apart",
        (
            *(
                File(f"{name}.txt", text(name, 40), extras=Extras(times=_four(moment)))
                for name, moment in _MOMENTS.items()
            ),
            Directory("folder of 1900", extras=Extras(times=_four(_filetime(-25567, 7)))),
            Directory("folder of 2100", extras=Extras(times=_four(_filetime(47482, 1)))),
        ),
        size=_SMALL,
    )
)
