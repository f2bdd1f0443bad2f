"""Runlists that lead outside, backwards, nowhere, or to the same clusters twice."""

from __future__ import annotations

import struct
from collections.abc import Callable

from lab.ntfs.ondisk.attribute import DATA, replace
from lab.ntfs.ondisk.mft import Mft
from lab.ntfs.ondisk.runlist import Run, pack, runs
from lab.ntfs.volumes.content import Content, Extent, random
from lab.ntfs.volumes.hostile.base import VICTIM
from lab.ntfs.volumes.hostile.change import beyond_volume, of_attribute, one, register, total_clusters
from lab.ntfs.volumes.hostile.dice import Dice
from lab.ntfs.volumes.hostile.mutation import Change, Good, Mutation
from lab.ntfs.volumes.hostile.place import record
from lab.ntfs.volumes.tree import File

__all__: list[str] = []

_STRUCTURE = "packed runs behind struct ATTR_NONRESIDENT (fs/ntfs3/ntfs.h), unpacked by run_unpack (fs/ntfs3/run.c)"
_CLUSTERS = 20
_HALF = _CLUSTERS // 2

Packed = Callable[[int, Dice, Mft], bytes]
"""The runlist that is to stand there; the first argument is the cluster where the victim begins."""


def _with(packed: Packed) -> Change:
    def change(raw: bytearray, dice: Dice, mft: Mft) -> None:
        old = of_attribute(raw, DATA)
        (only,) = runs(old.runlist, place=VICTIM)
        runlist = packed(only.start or 0, dice, mft)
        runlist = runlist.ljust(-(-len(runlist) // 8) * 8, b"\0")
        (at,) = struct.unpack_from("<H", old.raw, 0x20)
        head = bytearray(old.raw[:at])
        struct.pack_into("<I", head, 4, at + len(runlist))
        raw[:] = replace(bytes(raw), old, bytes(head) + runlist, place=VICTIM)

    return change


def _runs(name: str, breaks: str, packed: Packed, *, shows: tuple[File, ...] = ()) -> Mutation:
    edits = one(record(VICTIM), _with(packed))
    return Mutation(name, breaks, _STRUCTURE, Good.ERROR, edits, (VICTIM,), shows=shows)


def _le(value: int, size: int) -> bytes:
    return value.to_bytes(size, "little", signed=value < 0)


def _pair(length: bytes, start: bytes) -> bytes:
    return bytes([len(start) << 4 | len(length)]) + length + start


def _twice() -> File:
    """The first half of the victim, and the same again: what such a runlist means."""
    half = random("victim", _CLUSTERS * 4096).extents[0].bytes()[: _HALF * 4096]
    return File(VICTIM, Content(len(half) * 2, (Extent(0, len(half) * 2, "", raw=half * 2),)))


def _no_end(start: int, _: Dice, __: Mft) -> bytes:
    """Eight bytes to the very end of the attribute, and no zero byte."""
    return _pair(_le(_CLUSTERS, 3), _le(start, 4))


def _before(start: int, dice: Dice, _: Mft) -> bytes:
    return _pair(_le(_HALF, 1), _le(start, 4)) + _pair(_le(_HALF, 1), _le(-start - dice.between(1, 1 << 20), 4)) + b"\0"


register(
    _runs("runs-no-end", "a runlist that ends with its attribute, without an end mark", _no_end),
    _runs(
        "runs-cut",
        "a run whose numbers run over the end of the attribute",
        lambda start, _, __: pack((Run(start, _HALF),))[:-1] + b"\x88",
    ),
    _runs(
        "runs-fifteen",
        "a run of numbers of 15 bytes",
        lambda _, dice, __: _pair(dice.bytes(15), dice.bytes(15)) + b"\0",
    ),
    _runs(
        "runs-nine",
        "numbers of 9 bytes: one more than 64 bits hold",
        lambda start, _, __: _pair(_le(_CLUSTERS, 9), _le(start + (1 << 64), 9)) + b"\0",
    ),
    _runs("runs-before", "clusters before the start of the volume", _before),
    _runs(
        "runs-across-end",
        "clusters from inside the volume to behind its end",
        lambda _, dice, mft: pack((Run(total_clusters(mft) - dice.between(1, 10), _CLUSTERS),)),
    ),
    _runs(
        "runs-behind",
        "a second run past the end of the volume",
        lambda start, dice, mft: pack((Run(start, _HALF), Run(beyond_volume(dice, mft), _HALF))),
    ),
    _runs(
        "runs-zero-length",
        "a run of no clusters",
        lambda start, _, __: _pair(b"\0", _le(start, 4)) + pack((Run(start, _CLUSTERS),)),
    ),
    _runs("runs-no-length", "a run without a length", lambda start, _, __: _pair(b"", _le(start, 4)) + b"\0"),
    _runs(
        "runs-negative-length",
        "a run of a negative number of clusters",
        lambda start, dice, _: _pair(_le(-dice.between(1, 100), 1), _le(start, 4)) + b"\0",
    ),
    _runs(
        "runs-wrap",
        "two runs that are zero clusters together in 64 bits",
        lambda start, _, __: (
            _pair(_le((1 << 63) - 1, 8), _le(start, 4))
            + _pair(_le((1 << 63) - 1, 8), b"\1")
            + _pair(b"\x02", b"\1")
            + b"\0"
        ),
    ),
    _runs(
        "runs-too-few",
        "fewer clusters than the attribute says",
        lambda start, dice, _: pack((Run(start, dice.between(1, _CLUSTERS - 1)),)),
    ),
    _runs(
        "runs-too-many",
        "more clusters than the attribute says",
        lambda start, dice, _: pack((Run(start, _CLUSTERS), Run(start + _CLUSTERS, dice.between(1, 200)))),
    ),
    _runs(
        "runs-twice",
        "the same clusters twice in one file",
        lambda start, _, __: pack((Run(start, _HALF), Run(start, _HALF))),
        shows=(_twice(),),
    ),
)
