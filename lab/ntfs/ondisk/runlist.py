"""Packed runlists ("mapping pairs"): which clusters hold a non-resident value."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from lab.errors import ImageError

__all__ = ["Run", "pack", "runs"]


@dataclass(frozen=True, slots=True)
class Run:
    """``length`` clusters from ``start``; a start of None is a hole."""

    start: int | None
    length: int


def runs(packed: bytes, *, place: str) -> Iterator[Run]:
    """The runs, their relative starts added up.

    Each run is a byte (low half: bytes of the length, high half: bytes of the signed start, relative to the run
    before; no bytes: a hole), the length, the start; a zero byte ends the list (``run_unpack`` in fs/ntfs3/run.c).

    Raises:
        ImageError: the list has no end, or a run has no length or lies before the volume.
    """
    at, start = 0, 0
    while at < len(packed) and packed[at]:
        length_bytes, start_bytes = packed[at] & 0xF, packed[at] >> 4
        end = at + 1 + length_bytes + start_bytes
        length = int.from_bytes(packed[at + 1 : at + 1 + length_bytes], "little")
        if end > len(packed) or not length:
            raise ImageError(f"{place}+{at:#x}: broken run {packed[at:end].hex()}")
        if start_bytes:
            start += int.from_bytes(packed[at + 1 + length_bytes : end], "little", signed=True)
            if start < 0:
                raise ImageError(f"{place}+{at:#x}: run at cluster {start}, before the volume")
        yield Run(start if start_bytes else None, length)
        at = end
    if at >= len(packed):
        raise ImageError(f"{place}: the runlist has no end")


def pack(listed: Iterable[Run]) -> bytes:
    """The runs packed, each number in as few bytes as hold it; what :func:`runs` undoes.

    Raises:
        ValueError: a run has no length.
    """
    packed, before = bytearray(), 0
    for run in listed:
        if run.length <= 0:
            raise ValueError(f"a run of {run.length} clusters")
        length = _signed(run.length)
        start = b""
        if run.start is not None:
            start, before = _signed(run.start - before), run.start
        packed += bytes([len(start) << 4 | len(length)]) + length + start
    return bytes(packed) + b"\0"


def _signed(number: int) -> bytes:
    """Lengths are signed on disk too: a top bit that is set would make them negative."""
    return number.to_bytes(number.bit_length() // 8 + 1, "little", signed=True)
