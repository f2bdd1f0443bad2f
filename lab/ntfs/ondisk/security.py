"""Self-relative security descriptors: owner, group, and who may do what.

Sources: [MS-DTYP] 2.4.2 (SID), 2.4.4 (ACE), 2.4.5 (ACL), 2.4.6 (SECURITY_DESCRIPTOR).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

__all__ = ["ADMINISTRATORS", "EVERYONE", "FULL", "READ_AND_EXECUTE", "USERS", "Ace", "descriptor", "sid"]

FULL = 0x1F01FF
READ_AND_EXECUTE = 0x1200A9

_SELF_RELATIVE = 0x8000
_DACL_PRESENT, _SACL_PRESENT = 0x4, 0x10
_ACL_REVISION = 2


def sid(authority: int, *parts: int) -> bytes:
    """A security identifier: revision 1, count, 6 bytes of authority (big endian), 4 for each part."""
    return struct.pack("<BB", 1, len(parts)) + authority.to_bytes(6, "big") + struct.pack(f"<{len(parts)}I", *parts)


EVERYONE = sid(1, 0)
ADMINISTRATORS = sid(5, 32, 544)
USERS = sid(5, 32, 545)


@dataclass(frozen=True, slots=True)
class Ace:
    """``kind`` 0 allows, 1 denies, 2 audits; ``flags`` 1 and 2 inherit to files and to directories, 0x40 on success."""

    who: bytes
    mask: int
    kind: int = 0
    flags: int = 0

    def encode(self) -> bytes:
        """Type, flags, length, mask, SID."""
        return struct.pack("<BBHI", self.kind, self.flags, 8 + len(self.who), self.mask) + self.who


def descriptor(owner: bytes, group: bytes, allowed: tuple[Ace, ...], audited: tuple[Ace, ...] = ()) -> bytes:
    """The descriptor: its header, the SACL if there is one, the DACL, owner, group."""
    control = _SELF_RELATIVE | _DACL_PRESENT | (_SACL_PRESENT if audited else 0)
    system = _list(audited) if audited else b""
    access = _list(allowed)
    start = 0x14
    access_at = start + len(system)
    owner_at = access_at + len(access)
    head = struct.pack("<BBHIIII", 1, 0, control, owner_at, owner_at + len(owner), start if audited else 0, access_at)
    return head + system + access + owner + group


def _list(entries: tuple[Ace, ...]) -> bytes:
    packed = b"".join(entry.encode() for entry in entries)
    return struct.pack("<BBHHH", _ACL_REVISION, 0, 8 + len(packed), len(entries), 0) + packed
