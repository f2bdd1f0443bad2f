"""What a file holds, in memory and in pages, so that a hole of half a gigabyte takes no room."""

from __future__ import annotations

import re
from collections.abc import Iterator

from lab.ntfs.manifest import digest

__all__ = ["Bytes"]

_PAGE = 1 << 16
_ZEROS = bytes(_PAGE)

_LEAST_HOLE = 512
"""No file system keeps a smaller hole, but for one that the end of the file cuts off."""

_RUN = re.compile(rb"\0{%d,}" % _LEAST_HOLE)


class Bytes:
    """``size`` bytes that can be changed. Pages that were never written are zeros."""

    def __init__(self) -> None:
        self.size = 0
        self._pages: dict[int, bytearray] = {}

    @classmethod
    def of(cls, raw: bytes) -> Bytes:
        """These bytes."""
        made = cls()
        made.write(0, raw)
        return made

    def write(self, offset: int, raw: bytes) -> None:
        """Put ``raw`` there; what lies between the old end and it is zeros. Nothing changes where ``raw`` is empty."""
        if not raw:
            return
        self.size = max(self.size, offset + len(raw))
        for number, start, end, at in _split(offset, len(raw)):
            piece = raw[at : at + end - start]
            if number in self._pages or piece != _ZEROS[: len(piece)]:
                self._page(number)[start:end] = piece

    def clear(self, offset: int, length: int) -> None:
        """Zeros there; the size stays."""
        for number, start, end, _ in _split(offset, min(length, max(0, self.size - offset))):
            if (start, end) == (0, _PAGE):
                self._pages.pop(number, None)
            elif number in self._pages:
                self._pages[number][start:end] = bytes(end - start)

    def resize(self, size: int) -> None:
        """Cut off what is behind ``size``, or have zeros up to it."""
        if size < self.size:
            self.clear(size, self.size - size)
        self.size = size

    def chunks(self) -> Iterator[bytes]:
        """Every byte in order."""
        for at in range(0, self.size, _PAGE):
            yield bytes(self._pages.get(at // _PAGE, _ZEROS))[: self.size - at]

    def digest(self) -> tuple[str, tuple[int, ...]]:
        """As a manifest has it."""
        return digest(self.chunks(), self.size)

    def zeros(self) -> tuple[tuple[int, int], ...]:
        """(offset, length) of each run of zeros that a hole may lie in: of 512 bytes and more, or at the end."""
        found: list[tuple[int, int]] = []
        for at in range(0, self.size, _PAGE):
            page = self._pages.get(at // _PAGE)
            length = min(_PAGE, self.size - at)
            for start, end in ((0, length),) if page is None else _runs(bytes(page[:length])):
                if found and sum(found[-1]) == at + start:
                    found[-1] = (found[-1][0], found[-1][1] + end - start)
                else:
                    found.append((at + start, end - start))
        return tuple(found)

    def _page(self, number: int) -> bytearray:
        return self._pages.setdefault(number, bytearray(_PAGE))


def _runs(page: bytes) -> Iterator[tuple[int, int]]:
    last = 0
    for run in _RUN.finditer(page):
        yield run.span()
        last = run.end()
    tail = len(page.rstrip(b"\0"))
    if last < len(page) and tail < len(page):
        yield tail, len(page)


def _split(offset: int, length: int) -> Iterator[tuple[int, int, int, int]]:
    """(page, first byte in it, end in it, how far into the whole) of each page that a range touches."""
    at = offset
    while at < offset + length:
        number, start = divmod(at, _PAGE)
        end = min(_PAGE, start + offset + length - at)
        yield number, start, end, at - offset
        at += end - start
