"""What a file holds, described instead of stored: the same description gives the same bytes for ever."""

from __future__ import annotations

import builtins
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from lab.ntfs.manifest import digest
from lab.ntfs.ondisk.wof import FORMATS, pack

__all__ = ["EMPTY", "Content", "Extent", "literal", "random", "sparse", "text"]

_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Extent:
    """``length`` bytes at ``offset``. ``noise`` is incompressible, otherwise the bytes are repetitive lines.

    ``raw`` bytes stand for themselves.
    """

    offset: int
    length: int
    seed: str
    noise: bool = True
    raw: bytes = b""

    def bytes(self) -> builtins.bytes:
        """The bytes. SHAKE-256 and not Python's random: its output is fixed by a standard (FIPS 202)."""
        if self.raw:
            return self.raw
        if self.noise:
            return hashlib.shake_256(self.seed.encode()).digest(self.length)
        word = hashlib.sha256(self.seed.encode()).hexdigest()[:12]
        count = self.length // 64 + 1
        lines = (f"{number:08x} {word} the same words on every line but one number\n" for number in range(count))
        return "".join(lines).encode()[: self.length]


@dataclass(frozen=True, slots=True)
class Content:
    """``size`` bytes: the extents, in order and apart, and zeros between them."""

    size: int = 0
    extents: tuple[Extent, ...] = ()

    def chunks(self) -> Iterator[bytes]:
        """Every byte in order, zeros included."""
        at = 0
        for extent in self.extents:
            yield from _zeros(extent.offset - at)
            yield extent.bytes()
            at = extent.offset + extent.length
        yield from _zeros(self.size - at)

    def digest(self) -> tuple[str, tuple[int, ...]]:
        """SHA-256 and block checksums, as a manifest holds them."""
        return _digest(self)

    def packed(self, form: str) -> bytes:
        """The bytes as the overlay filter packs them (``form`` is a name in :data:`lab.ntfs.ondisk.wof.FORMATS`)."""
        return _packed(self, form)

    @property
    def holes(self) -> tuple[tuple[int, int], ...]:
        """(offset, length) of what no extent covers."""
        found, at = [], 0
        for extent in self.extents:
            if extent.offset > at:
                found.append((at, extent.offset - at))
            at = extent.offset + extent.length
        if self.size > at:
            found.append((at, self.size - at))
        return tuple(found)


@cache
def _digest(content: Content) -> tuple[str, tuple[int, ...]]:
    return digest(content.chunks(), content.size)


@cache
def _packed(content: Content, form: str) -> bytes:
    return pack(b"".join(content.chunks()), FORMATS[form])


def _zeros(length: int) -> Iterator[bytes]:
    whole, rest = divmod(max(0, length), _CHUNK)
    block = bytes(_CHUNK)
    for _ in range(whole):
        yield block
    if rest:
        yield bytes(rest)


EMPTY = Content()


def random(seed: str, size: int) -> Content:
    """Incompressible bytes."""
    return Content(size, (Extent(0, size, seed),)) if size else EMPTY


def text(seed: str, size: int) -> Content:
    """Bytes that compress well."""
    return Content(size, (Extent(0, size, seed, noise=False),)) if size else EMPTY


def sparse(seed: str, size: int, *pieces: tuple[int, int]) -> Content:
    """``size`` bytes with noise only in ``pieces``, (offset, length) pairs in order; the rest are holes."""
    return Content(size, tuple(Extent(offset, length, f"{seed}@{offset}") for offset, length in pieces))


def literal(raw: bytes) -> Content:
    """These bytes."""
    return Content(len(raw), (Extent(0, len(raw), "", raw=raw),)) if raw else EMPTY
