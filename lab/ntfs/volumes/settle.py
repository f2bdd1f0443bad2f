"""What a driver leaves to chance, settled: times nobody set, and the serial number. Same recipe, same bytes."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from lab.ntfs.filetime import UNIX_EPOCH
from lab.ntfs.ondisk import standard_information
from lab.ntfs.ondisk.attribute import in_order
from lab.ntfs.ondisk.boot import rewrite
from lab.ntfs.ondisk.index import Slot, children, edit_entries, lookup
from lab.ntfs.ondisk.mft import USER, Mft
from lab.ntfs.ondisk.standard_information import Moments
from lab.ntfs.volumes.tree import Crowd, usual_times

__all__ = ["settle"]

_BASE_RECORD = 0x20
_SERIAL = 0x48
_KEY_TIMES = 0x18


def settle(path: Path, *, serial: int, changed: Mapping[str, int], crowds: Iterable[Crowd] = ()) -> None:
    """Give everything that the tree does not say a fixed value.

    ``changed`` are times of the last change of an MFT record, by path; elsewhere it is that of the last modification.
    The files of ``crowds`` get their usual times: to set each of them through a driver takes longer than all else.
    NTFS' own files and the root are from 1970. The copies of times in $FILE_NAME and in the directories follow.

    Raises:
        ImageError: the volume is not sound.
    """
    rewrite(path, lambda raw: struct.pack_into("<Q", raw, _SERIAL, serial))
    place = str(path)
    with Mft.open(path, write=True) as mft:
        records = dict(mft.used())
        wanted = {lookup(mft, name, place=place): moment for name, moment in changed.items()}
        times = {
            number: _times(number, record, wanted, place) for number, record in records.items() if not _base_of(record)
        }
        for crowd in crowds:
            times.update(_times_in(mft, crowd, place))
        for number, record in records.items():
            _settle_record(mft, number, record, times, place)


def _without_rest(record: bytes) -> bytes:
    """What is left over behind a record's last attribute from earlier times becomes zeros."""
    (used,) = struct.unpack_from("<I", record, 0x18)
    return record[:used].ljust(len(record), b"\0")


def _times_in(mft: Mft, crowd: Crowd, place: str) -> Iterator[tuple[int, Moments]]:
    for slot in children(mft, lookup(mft, crowd.path, place=place), place=place):
        usual = usual_times(f"{crowd.path}/{slot.name}")
        if usual.created is not None and usual.modified is not None and usual.accessed is not None:
            yield slot.record, (usual.created, usual.modified, usual.modified, usual.accessed)


def _base_of(record: bytes) -> int:
    """The record that this one extends, or 0."""
    return int(struct.unpack_from("<Q", record, _BASE_RECORD)[0]) & 0xFFFF_FFFF_FFFF


def _times(number: int, record: bytes, wanted: Mapping[int, int], place: str) -> Moments:
    if number < USER:
        return (UNIX_EPOCH,) * 4
    created, modified, _, accessed = standard_information.moments(record, place=f"{place}: MFT record {number}")
    return created, modified, wanted.get(number, modified), accessed


def _settle_record(mft: Mft, number: int, record: bytes, times: Mapping[int, Moments], place: str) -> None:
    def settled(slot: Slot) -> bytes:
        raw = slot.unpadded
        if slot.record not in times:
            return raw
        packed = struct.pack("<4Q", *times[slot.record])
        return raw[:_KEY_TIMES] + packed + raw[_KEY_TIMES + len(packed) :]

    own = times.get(_base_of(record) or number)
    if own is None:  # an extension that nothing extends: a driver let go of it
        return
    changed = standard_information.with_moments(_without_rest(record), own, place=place)
    if not _base_of(record):
        changed = in_order(changed, place=place)
    changed = edit_entries(mft, number, changed, settled, place=place)
    if changed != record:
        mft.write(number, changed)
