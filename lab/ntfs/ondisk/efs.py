"""The Encrypting File System's marks on a file: what makes a driver see that it cannot read it.

The $EFS stream keeps the file's key, encrypted for each user who may read it ([MS-EFSR] 2.2.2.1, EFSRPC metadata). The
lab writes a stream of the right shape whose key nobody has.
"""

from __future__ import annotations

import hashlib
import struct

from lab.ntfs.ondisk import attribute, data_stream, standard_information
from lab.ntfs.ondisk.attribute import insert, resident

__all__ = ["with_encryption"]

_HEADER = 84
_VERSION = 2


def with_encryption(record: bytes, seed: str, *, place: str) -> bytes:
    """The record marked as encrypted: its attributes, its $DATA, and a $EFS stream.

    Raises:
        ImageError: there is no $DATA, or no room.
    """
    flags = standard_information.attributes_of(record, place=place) | standard_information.ENCRYPTED
    marked = standard_information.with_attributes(record, flags, place=place)
    marked = data_stream.with_flags(marked, data_stream.ENCRYPTED, place=place)
    stream = resident(attribute.LOGGED_UTILITY_STREAM, _metadata(seed), name="$EFS")
    return insert(marked, stream, place=place)


def _metadata(seed: str) -> bytes:
    """Length, reserved, version, reserved, id of the file, two hashes, reserved; then one list of one key."""
    identity = hashlib.shake_256(seed.encode()).digest(48)
    key = hashlib.shake_256(f"{seed}: key".encode()).digest(128)
    field = struct.pack("<5I", 20 + len(key), 0, len(key), 20, 0) + key
    fields = struct.pack("<I", 1) + field
    head = struct.pack("<4I", _HEADER + len(fields), 0, _VERSION, 0) + identity + bytes(8)
    lists = struct.pack("<III", _HEADER, 0, 0)  # where the users' keys are, and that no recovery agent has one
    return (head + lists).ljust(_HEADER, b"\0") + fields
