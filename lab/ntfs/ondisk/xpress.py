"""XPRESS with Huffman codes, one chunk at a time: what WOF's XPRESS4K, 8K and 16K are.

Source: [MS-XCA] 2.1 (LZ77+Huffman compression). A chunk is 512 code lengths of 4 bits, then 16-bit little-endian words
of codes, most significant bit first. A reader holds two words in advance; extra bytes of long lengths stand where it
then is, between the words.
"""

from __future__ import annotations

import struct
from collections import Counter

from lab.ntfs.ondisk.huffman import code_lengths, codes
from lab.ntfs.ondisk.matching import LEAST, parse

__all__ = ["compress"]

_SYMBOLS, _LONGEST_CODE = 512, 15
_END = 256
_BYTE, _WORD = 15, 15 + 255
"""Lengths (less the least) that take an extra byte, and two more behind it."""


def compress(chunk: bytes) -> bytes:
    """The chunk packed; it may come out longer than it was."""
    items = list(parse(chunk, longest=1 << 15, farthest=(1 << 16) - 1))
    symbols = [_symbol(length, rest) for length, rest in items]
    lengths = code_lengths(Counter((*symbols, _END)), _SYMBOLS, _LONGEST_CODE)
    table = bytes(low | high << 4 for low, high in zip(lengths[::2], lengths[1::2], strict=True))
    code = codes(lengths)
    stream = _Stream()
    for symbol, (length, offset) in zip(symbols, items, strict=True):
        stream.bits(*code[symbol])
        if length:
            _put_length(stream, length - LEAST)
            power = offset.bit_length() - 1
            stream.bits(offset - (1 << power), power)
    stream.bits(*code[_END])
    return table + stream.close()


def _symbol(length: int, rest: int) -> int:
    if not length:
        return rest
    return 256 + min(length - LEAST, _BYTE) + ((rest.bit_length() - 1) << 4)


def _put_length(stream: _Stream, length: int) -> None:
    if length >= _WORD:
        stream.between(b"\xff" + struct.pack("<H", length))
    elif length >= _BYTE:
        stream.between(bytes([length - _BYTE]))


class _Stream:
    """Words and bytes mixed: two words are always reserved ahead of where the next byte goes."""

    def __init__(self) -> None:
        self._out = bytearray(4)
        self._slots = [0, 2]
        self._pending, self._count = 0, 0

    def bits(self, value: int, count: int) -> None:
        self._pending = self._pending << count | value
        self._count += count
        if self._count > 16:
            self._count -= 16
            self._flush(self._pending >> self._count)
            self._pending &= (1 << self._count) - 1
            self._slots.append(len(self._out))
            self._out += b"\0\0"

    def between(self, raw: bytes) -> None:
        self._out += raw

    def close(self) -> bytes:
        self._flush(self._pending << (16 - self._count))
        return bytes(self._out)

    def _flush(self, word: int) -> None:
        struct.pack_into("<H", self._out, self._slots.pop(0), word & 0xFFFF)
