"""What ntfs-3g cannot write into a file, written into its MFT record afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from lab.ntfs.ondisk import attribute
from lab.ntfs.ondisk.attribute import insert, replace, resident
from lab.ntfs.ondisk.data_stream import with_valid_size
from lab.ntfs.ondisk.efs import with_encryption
from lab.ntfs.ondisk.index import lookup
from lab.ntfs.ondisk.mft import Mft
from lab.ntfs.ondisk.standard_information import with_attributes
from lab.ntfs.volumes.tree import Directory, File, Special

__all__ = ["finish"]

_BARE_ID = 16

Change = Callable[[bytes, str], bytes]
"""An MFT record, and where it stands for messages, to what it is to be."""


def finish(items: Iterable[Directory | File | Special], path: Path) -> None:
    """Attributes, valid lengths and encryption, each in the record of its file.

    Raises:
        ImageError: a record has no room, or a stream is not what was asked for.
    """
    with Mft.open(path, write=True) as mft:
        for item in items:
            if not isinstance(item, Directory | File) or not (changes := _changes(item)):
                continue
            number = lookup(mft, item.path, place=str(path))
            record, place = mft.read(number), f"{path}: {item.path!a}"
            for change in changes:
                record = change(record, place)
            mft.write(number, record)


def _changes(item: Directory | File) -> list[Change]:
    changes: list[Change] = []
    if item.extras.attributes is not None:
        changes.append(partial(_set_attributes, item.extras.attributes))
    if len(item.extras.object_id) > _BARE_ID:
        changes.append(partial(_set_object_id, item.extras.object_id))
    if isinstance(item, File):
        # The overlay filter's $DATA is one hole, and all of it valid: fs/ntfs3 shows zeros otherwise.
        valid = item.content.size if item.wof else item.valid
        if valid is not None:
            changes.append(partial(_set_valid_size, valid))
        if item.encrypted:
            changes.append(partial(_encrypt, item.path))
    return changes


def _set_object_id(value: bytes, record: bytes, place: str) -> bytes:
    """ntfs-3g keeps the ids of the birth in the index of object ids alone; Windows keeps them here too."""
    old = attribute.find(record, attribute.OBJECT_ID, place=place)
    return insert(replace(record, old, b"", place=place), resident(attribute.OBJECT_ID, value), place=place)


def _set_attributes(flags: int, record: bytes, place: str) -> bytes:
    return with_attributes(record, flags, place=place)


def _set_valid_size(valid: int, record: bytes, place: str) -> bytes:
    return with_valid_size(record, valid, place=place)


def _encrypt(seed: str, record: bytes, place: str) -> bytes:
    return with_encryption(record, seed, place=place)
