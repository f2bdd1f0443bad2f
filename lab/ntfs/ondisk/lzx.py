"""LZX as WIM files and WOF have it: chunks of 32 KiB, each one verbatim block with codes of its own.

Sources: [MS-PATCH] "LZX DELTA" 2.1 to 2.6 for the codes, fs/ntfs3/lib/lzx_decompress.c for what WIM changes: sizes of
16 bits, no header, and x86 calls always translated. The repeated-offset slots are not used: they are never needed.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import accumulate, groupby

from lab.ntfs.ondisk.huffman import code_lengths, codes
from lab.ntfs.ondisk.matching import parse

__all__ = ["CHUNK", "compress"]

CHUNK = 1 << 15
_SLOTS = 30
_MAIN, _LENGTHS, _PRE = 256 + 8 * _SLOTS, 249, 20
_LONGEST_CODE, _LONGEST_PRE = 16, 15
_VERBATIM = 1
_LEAST, _LONGEST = 2, 257
_EXTRA = [0, 0, *(max(0, slot // 2 - 1) for slot in range(2, _SLOTS))]
_BASE = [0, *accumulate(1 << extra for extra in _EXTRA)][:_SLOTS]
_CALL = 0xE8
_PRETENDED_SIZE = 12_000_000
"""Of the program whose calls are translated; the same for every file."""


def compress(chunk: bytes) -> bytes:
    """A chunk of up to 32 KiB packed; it may come out longer than it was."""
    items = list(parse(_translated(chunk), longest=_LONGEST, farthest=CHUNK - 3))
    main = [_main_symbol(length, rest) for length, rest in items]
    tails = Counter(length - _LEAST - 7 for length, _ in items if length - _LEAST >= 7)
    main_lengths = code_lengths(Counter(main), _MAIN, _LONGEST_CODE)
    tail_lengths = code_lengths(tails, _LENGTHS, _LONGEST_CODE)
    stream = _Words()
    stream.bits(_VERBATIM, 3)
    if len(chunk) == CHUNK:
        stream.bits(1, 1)
    else:
        stream.bits(len(chunk), 17)  # a zero bit, then 16 of size
    for part in (main_lengths[:256], main_lengths[256:], tail_lengths):
        _put_lengths(stream, part)
    _put_items(stream, main, items, codes(main_lengths), codes(tail_lengths))
    return stream.close()


def _put_items(
    stream: _Words,
    main: Sequence[int],
    items: Sequence[tuple[int, int]],
    main_code: dict[int, tuple[int, int]],
    tail_code: dict[int, tuple[int, int]],
) -> None:
    for symbol, (length, offset) in zip(main, items, strict=True):
        stream.bits(*main_code[symbol])
        if length:
            if length - _LEAST >= 7:
                stream.bits(*tail_code[length - _LEAST - 7])
            slot = _slot(offset)
            stream.bits(offset + 2 - _BASE[slot], _EXTRA[slot])


def _slot(offset: int) -> int:
    return bisect_right(_BASE, offset + 2) - 1


def _main_symbol(length: int, rest: int) -> int:
    return 256 + 8 * _slot(rest) + min(length - _LEAST, 7) if length else rest


def _put_lengths(stream: _Words, lengths: Sequence[int]) -> None:
    """Code lengths, themselves Huffman coded: as the difference from 0, runs of zeros as 17 and 18."""
    listed = list(_runs(lengths))
    pre_lengths = code_lengths(Counter(symbol for symbol, _, _ in listed), _PRE, _LONGEST_PRE)
    for length in pre_lengths:
        stream.bits(length, 4)
    code = codes(pre_lengths)
    for symbol, value, count in listed:
        stream.bits(*code[symbol])
        stream.bits(value, count)


def _runs(lengths: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    """Pretree symbol, what follows it, in how many bits."""
    for length, same in groupby(lengths):
        count = len(list(same))
        while not length and count >= 4:
            taken = min(count, 51)
            yield (18, taken - 20, 5) if taken >= 20 else (17, taken - 4, 4)
            count -= taken
        yield from [(-length % 17, 0, 0)] * count


def _translated(chunk: bytes) -> bytes:
    """Relative targets of what look like x86 calls made absolute, as the decoder will undo them."""
    raw = bytearray(chunk)
    at = 0
    while at < len(raw) - 10:
        if raw[at] != _CALL:
            at += 1
            continue
        (relative,) = struct.unpack_from("<i", raw, at + 1)
        if -at <= relative < _PRETENDED_SIZE:
            absolute = relative + at if relative < _PRETENDED_SIZE - at else relative - _PRETENDED_SIZE
            struct.pack_into("<i", raw, at + 1, absolute)
        at += 5
    return bytes(raw)


class _Words:
    """16-bit little-endian words, most significant bit first."""

    def __init__(self) -> None:
        self._out = bytearray()
        self._pending, self._count = 0, 0

    def bits(self, value: int, count: int) -> None:
        self._pending = self._pending << count | value
        self._count += count
        while self._count >= 16:
            self._count -= 16
            self._out += struct.pack("<H", self._pending >> self._count & 0xFFFF)
        self._pending &= (1 << self._count) - 1

    def close(self) -> bytes:
        if self._count:
            self.bits(0, 16 - self._count)
        return bytes(self._out)
