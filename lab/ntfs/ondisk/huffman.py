"""Canonical Huffman codes of limited length, as XPRESS and LZX want them: each code follows from the lengths of all."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence

__all__ = ["code_lengths", "codes"]


def code_lengths(counts: Mapping[int, int], size: int, longest: int) -> list[int]:
    """The length of the code of each of ``size`` symbols, 0 for those that do not occur.

    At least two symbols are given a code: an incomplete code is an error to most decoders.
    """
    used = {symbol: count for symbol, count in counts.items() if count}
    for spare in range(size):
        if len(used) >= 2:
            break
        used.setdefault(spare, 1)
    while True:
        lengths = _lengths(used, size)
        if max(lengths) <= longest:
            return lengths
        used = {symbol: (count + 1) // 2 for symbol, count in used.items()}  # flatter, until the deepest fits


def _lengths(used: Mapping[int, int], size: int) -> list[int]:
    lengths = [0] * size
    # The smallest symbol breaks ties, so that the same counts give the same tree.
    heap: list[tuple[int, int, tuple[int, ...]]] = [(count, symbol, (symbol,)) for symbol, count in used.items()]
    heapq.heapify(heap)
    while len(heap) > 1:
        (first, least, left), (second, other, right) = heapq.heappop(heap), heapq.heappop(heap)
        for symbol in (*left, *right):
            lengths[symbol] += 1
        heapq.heappush(heap, (first + second, min(least, other), (*left, *right)))
    return lengths


def codes(lengths: Sequence[int]) -> dict[int, tuple[int, int]]:
    """Symbol to (code, length): shorter codes first, among equals the smaller symbol."""
    found: dict[int, tuple[int, int]] = {}
    code, before = 0, 0
    for length, symbol in sorted((length, symbol) for symbol, length in enumerate(lengths) if length):
        code <<= length - before
        found[symbol] = (code, length)
        code, before = code + 1, length
    return found
