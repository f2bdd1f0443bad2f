"""Repeated bytes found, greedily: what XPRESS and LZX turn into lengths and offsets."""

from __future__ import annotations

from collections.abc import Iterator

__all__ = ["LEAST", "parse"]

LEAST = 3
"""The shortest repetition worth an offset."""


def parse(raw: bytes, *, longest: int, farthest: int) -> Iterator[tuple[int, int]]:
    """(length, offset) of each repetition of at least three bytes, (0, byte) of what is none, in order."""
    seen: dict[bytes, int] = {}
    at, end = 0, len(raw)
    while at < end:
        word = raw[at : at + LEAST]
        before = seen.get(word, -1)
        seen[word] = at
        if len(word) < LEAST or before < 0 or at - before > farthest:
            yield 0, raw[at]
            at += 1
            continue
        length = _common(raw, before, at, min(longest, end - at))
        yield length, at - before
        at += length


def _common(raw: bytes, before: int, at: int, most: int) -> int:
    """How many bytes are alike; the two may overlap."""
    length, step = LEAST, 64
    while length < most:
        step = min(step, most - length)
        if raw[before + length : before + length + step] == raw[at + length : at + length + step]:
            length += step
        elif step == 1:
            break
        else:
            step //= 2
    return length
