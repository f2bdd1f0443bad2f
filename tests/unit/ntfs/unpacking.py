"""Decoders for what the lab packs, written from the readers' side of the formats: an oracle that is not the encoder."""

from __future__ import annotations

import struct
from itertools import accumulate

Code = dict[tuple[int, int], int]


def decoding(lengths: list[int]) -> Code:
    """(length, code) to symbol, canonical."""
    found: Code = {}
    code = 0
    for length in range(1, 17):
        for symbol, one in enumerate(lengths):
            if one == length:
                found[length, code] = symbol
                code += 1
        code <<= 1
    return found


class Bits:
    """16-bit little-endian words, most significant bit first; ``ahead`` words are taken before they are needed."""

    def __init__(self, raw: bytes, ahead: int) -> None:
        self.raw, self.at, self.value, self.count, self.ahead = raw, 0, 0, 0, ahead
        self.refill()

    def refill(self) -> None:
        while self.count < 16 * self.ahead:
            word = self.raw[self.at : self.at + 2].ljust(2, b"\0")
            self.value = self.value << 16 | int.from_bytes(word, "little")
            self.at, self.count = self.at + 2, self.count + 16

    def take(self, count: int) -> int:
        while self.count < count:
            word = self.raw[self.at : self.at + 2].ljust(2, b"\0")
            self.value = self.value << 16 | int.from_bytes(word, "little")
            self.at, self.count = self.at + 2, self.count + 16
        self.count -= count
        taken = self.value >> self.count
        self.value &= (1 << self.count) - 1
        # [MS-XCA]: a reader never holds fewer than 16 bits once it had two words.
        if self.ahead and self.count < 16:
            word = self.raw[self.at : self.at + 2].ljust(2, b"\0")
            self.value = self.value << 16 | int.from_bytes(word, "little")
            self.at, self.count = self.at + 2, self.count + 16
        return taken

    def symbol(self, code: Code) -> int:
        value = 0
        for length in range(1, 17):
            value = value << 1 | self.take(1)
            if (length, value) in code:
                return code[length, value]
        raise AssertionError("no such code")

    def byte(self) -> int:
        self.at += 1
        return self.raw[self.at - 1]


def copy(out: bytearray, offset: int, length: int) -> None:
    assert 0 < offset <= len(out)
    for _ in range(length):
        out.append(out[-offset])


def xpress(packed: bytes, size: int) -> bytes:
    code = decoding([half for byte in packed[:256] for half in (byte & 15, byte >> 4)])
    bits, out = Bits(packed[256:], 2), bytearray()
    while len(out) < size:
        symbol = bits.symbol(code)
        if symbol < 256:
            out.append(symbol)
            continue
        length, power = symbol & 15, symbol - 256 >> 4
        if length == 15:
            more = bits.byte()
            length = 15 + more if more < 255 else bits.byte() | bits.byte() << 8
        copy(out, (1 << power) + bits.take(power), length + 3)
    return bytes(out)


EXTRA = [0, 0, *(max(0, slot // 2 - 1) for slot in range(2, 30))]
BASE = [0, *accumulate(1 << extra for extra in EXTRA)]


def lzx_lengths(bits: Bits, count: int) -> list[int]:
    pretree = decoding([bits.take(4) for _ in range(20)])
    found: list[int] = []
    while len(found) < count:
        symbol = bits.symbol(pretree)
        match symbol:
            case 17:
                found += [0] * (4 + bits.take(4))
            case 18:
                found += [0] * (20 + bits.take(5))
            case _:
                found.append(-symbol % 17)
    return found


def lzx(packed: bytes, size: int) -> bytes:
    bits, out = Bits(packed, 0), bytearray()
    assert bits.take(3) == 1
    assert (32768 if bits.take(1) else bits.take(16)) == size
    main = lzx_lengths(bits, 256)
    main += lzx_lengths(bits, 240)
    main_code, tail_code = decoding(main), decoding(lzx_lengths(bits, 249))
    while len(out) < size:
        symbol = bits.symbol(main_code)
        if symbol < 256:
            out.append(symbol)
            continue
        slot, length = divmod(symbol - 256, 8)
        if length == 7:
            length += bits.symbol(tail_code)
        copy(out, BASE[slot] + bits.take(EXTRA[slot]) - 2, length + 2)
    return calls_restored(out)


def calls_restored(out: bytearray) -> bytes:
    at = 0
    while at < len(out) - 10:
        if out[at] == 0xE8:
            (absolute,) = struct.unpack_from("<i", out, at + 1)
            if 0 <= absolute < 12_000_000:
                struct.pack_into("<i", out, at + 1, absolute - at)
            elif -at <= absolute < 0:
                struct.pack_into("<i", out, at + 1, absolute + 12_000_000)
            at += 4
        at += 1
    return bytes(out)
